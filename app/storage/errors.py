"""What can go wrong with a store, told apart by what a caller can do about it."""


class TornArtefact(Exception):
    """A file of an artefact is missing or differs from its manifest: drop the artefact and make it anew.

    `key` is the artefact's, or None where the raiser did not know it.
    """

    def __init__(self, detail: str, *, key: str | None = None) -> None:
        super().__init__(detail)
        self.key = key


class StorageAway(OSError):
    """The store does not answer, is too busy, or its bucket is not there: the same call may succeed later."""


STORAGE_AWAY = (StorageAway, ConnectionError, TimeoutError)
"""What `BlobStore` raises when the store is away for a while, for `except` clauses.

s3fs lets botocore's and aiohttp's connection errors through, which are no `OSError`; `BlobStore` turns them, and answers
such as 500 and 503, into `StorageAway`. By then botocore has tried several times (`AWS_MAX_ATTEMPTS`): for some ten seconds
where the connection is refused, for minutes where it is accepted and nothing answers. Network folders raise `OSError`s of
the operating system. What does not pass by itself stays apart: `PermissionError` (also for missing credentials),
`FileNotFoundError`, and `OSError` with ENOSPC for a full disk.
"""
