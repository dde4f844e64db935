"""The headers that tell a browser what it may do with an answer (OWASP Secure Headers Project): nothing, but for our own pages."""

RawHeaders = list[tuple[bytes, bytes]]

SECURITY_HEADERS: RawHeaders = [
    # An answer that is no page may neither load nor run anything, nor be shown within another page.
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]
"""In the form that ASGI sends: they are on every prediction too."""


def secured(headers: RawHeaders) -> RawHeaders:
    """With those of `SECURITY_HEADERS` that the answer does not set itself, as a page does its policy. Names in lower case, as in ASGI."""
    given = {name for name, _ in headers}
    return [*headers, *(header for header in SECURITY_HEADERS if header[0] not in given)]
