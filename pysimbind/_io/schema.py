"""Typed reading of JSON: a ``msgspec.Struct`` of an object, or an error that names the place."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

import msgspec

from ..errors import InputError, nearest

T = TypeVar("T")

Finite = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
"""A number; no infinity and no NaN, which JSON has no words for but Python's parser takes."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A whole number from 0 on, that an array of numpy holds."""

_WORDS = {
    "float": "a finite number",
    "int": "an integer",
    "str": "a string",
    "bool": "true or false",
    "object": "a JSON object",
    "array": "a list",
    "null": "null",
}
_EXPECTED = re.compile(r"Expected `([^`]+)`(?: of length ([\d>=< ]+))?( [<>]=? [-+.\de]+)?")
_STEP = re.compile(r"\.(?P<key>[^.\[\]]+)|\[(?P<index>\d+)\]|\[(?P<any>\.\.\.)\]")
_OF_KEY = "key` in `"
_FIELD = re.compile(r"(missing required|unknown) field `(.*?)`", re.DOTALL)


def decode(obj: object, kind: type[T], where: str, error: type[InputError], at: str = "") -> T:
    """Return ``obj``, parsed JSON, as a ``kind``. Integers become floats where floats are wanted.

    Raises ``error``: ``where``, then the path of the key, what it must be, and what it is. ``at``:
    the path of ``obj`` itself. An unknown key comes with the nearest known one.
    """
    try:
        return msgspec.convert(obj, kind)
    except msgspec.ValidationError as exc:
        text = str(exc)
    except UnicodeEncodeError as exc:
        what = f"{at}: " if at else ""
        raise error(f"{where}: {what}a key holds half of a character: {exc.reason}") from exc
    try:
        told = _told(obj, kind, text, at)
    except (AssertionError, LookupError, StopIteration, TypeError, UnicodeError):  # odd keys
        told = f"{at or 'the file'}: {text!r}"
    raise error(f"{where}: {told}")


def _told(obj: object, kind: type[Any], text: str, at: str) -> str:
    """Say what msgspec's message says: the place, what must be there, and what is."""
    message, _, place = text.partition(" - at `")
    path = list(_path(obj, kind, place.removeprefix(_OF_KEY).rstrip("`"), text))
    if place.startswith(_OF_KEY):  # YAML has such keys
        key = next(key for key in _value(obj, path) if not isinstance(key, str))
        return f"{_place(at, path)}: keys must be strings, got {_short(key)}"
    found = _FIELD.search(message)
    if found is not None and found[1] == "unknown":
        structs = [each for each in _types(kind, path) if hasattr(each, "fields")]
        names = [field.encode_name for each in structs for field in each.fields]
        return f"{_place(at, [*path, found[2]])}: unknown key{nearest(found[2], names)}"
    if found is not None:
        return f"{_place(at, [*path, found[2]])}: missing"
    value = _value(obj, path)
    if value == [] and "of length >= 1" in message:
        return f"{_place(at, path)}: must not be empty"
    choices = [each.values for each in _types(kind, path) if hasattr(each, "values")]
    wanted = f"one of {', '.join(choices[0])}" if choices else _wanted(message, value)
    return f"{_place(at, path)}: must be {wanted}, got {_short(value)}"


def _place(at: str, path: list[str | int]) -> str:
    text = at
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            word = step if step.isprintable() else repr(step)
            text += f".{word}" if text else word
    return text or "the file"


def _wanted(message: str, value: object) -> str:
    found = _EXPECTED.match(message)
    if found is None:  # an integer that no float holds
        return "a finite number"
    kinds, length, limit = found.groups()
    words = " or ".join(_WORDS.get(kind, kind) for kind in kinds.split(" | "))
    if length is not None:
        return f"{words} of length {length.strip()}"
    if limit is not None and not (isinstance(value, float) and not math.isfinite(value)):
        bound = float(limit.split()[1])
        return words if abs(bound) == sys.float_info.max else words + limit
    return words


def _short(value: object) -> str:
    return repr(value) if len(repr(value)) <= 40 else f"{value!r:.40}"


def _path(obj: object, kind: type[Any], place: str, message: str) -> Iterator[str | int]:
    """Yield the keys and indices of a place; msgspec does not tell which key of a mapping it is."""
    root = obj
    for step in _STEP.finditer(place):
        if step["any"] is not None:
            assert isinstance(obj, dict)  # only mappings are shown so
            key: str | int = _culprit(root, obj, kind, message)
        elif step["index"] is not None:
            key = int(step["index"])
        else:
            key = step["key"]
        yield key
        obj = obj[key]  # type: ignore[index]  # msgspec went there


def _culprit(root: object, mapping: dict[str, Any], kind: type[Any], message: str) -> str:
    """Return the first key of a mapping that, alone in it, gives the same error."""
    whole = dict(mapping)
    try:
        for key, value in whole.items():
            mapping.clear()
            mapping[key] = value
            try:
                msgspec.convert(root, kind)
            except msgspec.ValidationError as exc:
                if str(exc) == message:
                    return key
    finally:
        mapping.clear()
        mapping.update(whole)
    return next(iter(whole))


def _value(obj: Any, path: list[str | int]) -> Any:
    for step in path:
        obj = obj[step]
    return obj


def _types(kind: type[Any], path: list[str | int]) -> list[Any]:
    """Return what msgspec knows of the types that the value at a path may have."""
    types = _alternatives(msgspec.inspect.type_info(kind))
    for step in path:
        inner: list[Any] = []
        for each in types:
            if isinstance(each, msgspec.inspect.StructType):
                inner += [field.type for field in each.fields if field.encode_name == step]
            elif isinstance(each, msgspec.inspect.DictType):
                inner.append(each.value_type)
            elif isinstance(each, msgspec.inspect.TupleType):
                inner.append(each.item_types[int(step)])
            elif isinstance(each, (msgspec.inspect.ListType, msgspec.inspect.VarTupleType)):
                inner.append(each.item_type)
        types = [each for info in inner for each in _alternatives(info)]
    return types


def _alternatives(info: Any) -> list[Any]:
    return list(info.types) if isinstance(info, msgspec.inspect.UnionType) else [info]
