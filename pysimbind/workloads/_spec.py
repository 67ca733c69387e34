"""The texts that describe a part of a workload: ``kind:key=value,key=value``.

Values without a key fill the parameters of the kind in order: ``uniform:16,512``. If a value is
itself a kind, its values stand in brackets: ``turns=uniform(1,8),think_s=10``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any, TypeVar, get_args

from ..errors import WorkloadError, nearest

T = TypeVar("T")

_KEYLESS = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.VAR_POSITIONAL)
_BRACKETS = re.compile(r"([^:()]*)\((.*)\)", re.DOTALL)
_COMMA = re.compile(r",(?![^(]*\))")  # no comma inside brackets


def parse_kind(text: str, what: str, kinds: Mapping[str, Callable[..., T]]) -> T:
    """Make the object that ``text`` describes, with one of ``kinds``. Errors begin with ``what``.

    A kind is a class or function. Its parameters are numbers, unless their annotation contains
    ``str``. Raises ``WorkloadError`` for an unknown kind or key, with the nearest known one, and
    for bad values.
    """
    nested = _BRACKETS.fullmatch(text.strip())
    parts = nested.groups() if nested else text.partition(":")[::2]
    kind, rest = (part.strip() for part in parts)
    if kind not in kinds:
        raise WorkloadError(
            f"{what} {text!r}: unknown kind {kind!r}{nearest(kind, kinds)} "
            f"(kinds: {', '.join(kinds)})"
        )
    return parse_values(rest, f"{what} {text!r}", kinds[kind])


def parse_values(text: str, where: str, make: Callable[..., T]) -> T:
    """Call ``make`` with the comma-separated values in ``text``. Errors begin with ``where``."""
    known = inspect.signature(make, eval_str=True).parameters
    keyless: list[Any] = []
    named: dict[str, Any] = {}
    try:
        for word in filter(None, map(str.strip, _COMMA.split(text))):
            key, equals, value = (part.strip() for part in word.partition("="))
            if equals:
                named[key] = _value(word, value, _parameter(key, known, named))
            else:
                keyless.append(_number(word, word))
        _check_call(known, keyless, named)
        return make(*keyless, **named)
    except WorkloadError as exc:
        raise WorkloadError(f"{where}: {exc}") from None


def _parameter(key: str, known: Mapping[str, Parameter], named: Mapping[str, Any]) -> Parameter:
    keys = [k for k, p in known.items() if p.kind is not Parameter.VAR_POSITIONAL]
    if key not in keys:
        raise WorkloadError(f"unknown key {key!r}{nearest(key, keys)} (keys: {', '.join(keys)})")
    if key in named:
        raise WorkloadError(f"{key} is given twice")
    return known[key]


def _value(word: str, value: str, parameter: Parameter) -> Any:
    annotation = parameter.annotation
    takes_text = annotation is str or str in get_args(annotation)
    return value if takes_text else _number(word, value)


def _number(word: str, text: str) -> float | int:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    raise WorkloadError(f"{word!r}: a number is needed, got {text!r}")


def _check_call(
    known: Mapping[str, Parameter], keyless: list[Any], named: Mapping[str, Any]
) -> None:
    """Raise ``WorkloadError`` where Python would raise ``TypeError``."""
    order = [name for name, parameter in known.items() if parameter.kind in _KEYLESS]
    endless = any(known[name].kind is Parameter.VAR_POSITIONAL for name in order)
    if len(keyless) > len(order) and not endless:
        keys = f"keys: {', '.join(known)}" if known else "it takes none"
        raise WorkloadError(f"{keyless[len(order)]} is a value without a key ({keys})")
    filled = [] if endless else order[: len(keyless)]
    twice = next((name for name in filled if name in named), None)
    if twice is not None:
        raise WorkloadError(f"{twice} is given twice, with its key and without")
    missing = [
        name
        for name, parameter in known.items()
        if parameter.default is Parameter.empty
        and parameter.kind is not Parameter.VAR_POSITIONAL
        and name not in (*filled, *named)
    ]
    if missing:
        raise WorkloadError(f"{', '.join(missing)} missing, as in '{missing[0]}=...'")
