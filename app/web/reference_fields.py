"""JSON schemas as tables to be read: of each field its name, its type, what it may be, and the fields inside it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]

_CHOICES = ("anyOf", "oneOf", "allOf")
_FORMATS = {"binary": "file", "date-time": "date and time (RFC 3339)"}


@dataclass(frozen=True)
class Fields:
    """Of one object. `repeated`: it stands inside itself, so its fields are not told again."""

    title: str
    fields: Sequence["Field"]
    repeated: bool = False


@dataclass(frozen=True)
class Field:
    name: str
    type: str
    required: bool
    description: str
    notes: Sequence[str]
    inside: Sequence[Fields]


@dataclass(frozen=True)
class Described:
    """A whole schema: `type`, and the objects that it is made of."""

    type: str
    objects: Sequence[Fields]


class Schemas:
    """Reads schemas (OpenAPI 3.1, thus JSON Schema 2020-12) whose references point into `named`."""

    def __init__(self, named: dict[str, Schema]) -> None:
        self._named = named

    def describe(self, schema: Schema) -> Described:
        return Described(self.type_of(schema), list(self._objects(schema, frozenset())))

    def type_of(self, schema: Schema) -> str:
        """`string`, `list of JobOut`, `integer or null`."""
        if name := reference(schema):
            return name if self._named[name].get("properties") else self.type_of(self._named[name])
        for choice in _CHOICES:
            if options := schema.get(choice):
                return " or ".join(dict.fromkeys(self.type_of(option) for option in options))
        if "const" in schema:
            return str(schema["const"])
        if items := schema.get("items"):
            return f"list of {self.type_of(items)}"
        values = schema.get("additionalProperties")
        if isinstance(values, dict) and values and not schema.get("properties"):
            return f"object of {self.type_of(values)}"
        kind = schema.get("type", "any JSON")
        return _FORMATS.get(schema.get("format", ""), " or ".join(kind) if isinstance(kind, list) else str(kind))

    def notes(self, schema: Schema) -> list[str]:
        """What the value must be beyond its type, and its default."""
        found = [note for part in self._plain(schema) for note in _limits(part)]
        if schema.get("default") not in (None, "", [], {}):
            found.append(f"default {_written(schema['default'])}")
        return list(dict.fromkeys(found))

    def _plain(self, schema: Schema) -> Iterator[Schema]:
        """The schema and its alternatives, but no object's fields."""
        if (name := reference(schema)) and not self._named[name].get("properties"):
            yield from self._plain(self._named[name])
        yield schema
        for choice in _CHOICES:
            for option in schema.get(choice, ()):
                yield from self._plain(option)

    def _objects(self, schema: Schema, around: frozenset[str]) -> Iterator[Fields]:
        """`around`: names of the objects that this is inside of."""
        if name := reference(schema):
            if name in around:
                yield Fields(name, (), repeated=True)
            else:
                yield from self._objects({"title": name, **self._named[name]}, around | {name})
            return
        if properties := schema.get("properties"):
            required = set(schema.get("required", ()))
            fields = [self._field(name, part, name in required, around) for name, part in properties.items()]
            yield Fields(schema.get("title", "object"), fields)
        parts = [option for choice in _CHOICES for option in schema.get(choice, ())]
        parts += [schema[name] for name in ("items", "additionalProperties", "contentSchema") if isinstance(schema.get(name), dict)]
        for part in parts:
            yield from self._objects(part, around)

    def _field(self, name: str, schema: Schema, required: bool, around: frozenset[str]) -> Field:
        inside = list(self._objects(schema, around))
        return Field(name, self.type_of(schema), required, self._description(schema), self.notes(schema), inside)

    def _description(self, schema: Schema) -> str:
        name = reference(schema)
        return str(schema.get("description") or (name and self._named[name].get("description")) or "")


def reference(schema: Schema) -> str | None:
    """The name that a `$ref` points to."""
    found = schema.get("$ref")
    return found.rpartition("/")[2] if found else None


def _limits(schema: Schema) -> Iterator[str]:
    if "enum" in schema:
        yield "one of " + ", ".join(_written(value) for value in schema["enum"])
    for name, text in (
        ("minimum", "at least {}"),
        ("exclusiveMinimum", "more than {}"),
        ("maximum", "at most {}"),
        ("exclusiveMaximum", "less than {}"),
        ("minLength", "at least {} characters"),
        ("maxLength", "at most {} characters"),
        ("minItems", "at least {} items"),
        ("maxItems", "at most {} items"),
    ):
        if name in schema:
            bound = schema[name]
            written = f"{bound:g}" if isinstance(bound, float) else str(bound)
            yield text.format(written).replace(" 1 characters", " 1 character").replace(" 1 items", " 1 item")
    if "pattern" in schema:
        yield f"matches `{schema['pattern']}`"


def _written(value: Any) -> str:
    return f"`{value}`" if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
