"""The meaning of a table's columns: the option ``columns``, and the default names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ..errors import ExperimentError, nearest
from ._table import Table

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

UNITS: dict[str, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
"""Units of time in seconds."""

TIMES: dict[str, str] = {
    "arrival": "arrival",
    "ttft": "ttft",
    "e2e": "e2e",
    "first_token": "first_token",
    "finish": "finish",
    "intended": "intended_arrival",
}
"""Role of a time -> its default column, without the unit (``ttft_s``)."""

COUNTS: dict[str, str] = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cached": "cached_tokens",
}
"""Role of a token count -> its default column."""

_ROLES = (*TIMES, *COUNTS)
_GRAMMAR = "arrival=NAME,ttft=NAME:ms,..."


class Columns:
    """A table read by role.

    ``given``: ``ROLE=NAME[:UNIT],...`` or {role: ``NAME[:UNIT]``}. Other roles have their default
    names. A time without a unit uses the unit at the end of its name (``_ms``), else seconds.
    Raises ``ExperimentError`` for an unknown role, unit or column.
    """

    def __init__(self, table: Table, given: str | Mapping[str, str] | None) -> None:
        self._table = table
        self._found = {**_usual(table), **_mapped(table, given)}

    def __contains__(self, role: str) -> bool:
        return role in self._found

    def seconds(self, role: str) -> FloatArray:
        """Return the times of a role [R]; NaN for an empty cell; all NaN without a column."""
        if role not in self:
            return np.full(len(self._table), np.nan)
        column, unit = self._found[role]
        scaled: FloatArray = self._table.numbers(column) * UNITS[unit]
        return scaled

    def tokens(self, role: str) -> IntArray:
        """Return the token counts of a role that has a column."""
        return self._table.counts(self._found[role][0])

    def missing(self, *roles: str) -> ExperimentError:
        """Return the error that names the missing column, and the columns that exist."""
        names = " or ".join(_usual_name(role) for role in roles)
        return ExperimentError(
            f"{self._table.where}: no column {names}: say which it is with "
            f"columns={roles[0]}=NAME (columns: {', '.join(self._table.names)})"
        )


def _usual_name(role: str) -> str:
    return COUNTS[role] if role in COUNTS else f"{TIMES[role]}_s"


def _usual(table: Table) -> dict[str, tuple[str, str]]:
    found = {role: (name, "s") for role, name in COUNTS.items() if name in table}
    for role, name in TIMES.items():
        for unit in UNITS:
            if f"{name}_{unit}" in table:
                found.setdefault(role, (f"{name}_{unit}", unit))
    return found


def _mapped(table: Table, given: str | Mapping[str, str] | None) -> dict[str, tuple[str, str]]:
    if given is None:
        return {}
    pairs = _split(table.where, given) if isinstance(given, str) else dict(given)
    found = {}
    for role, text in pairs.items():
        if role not in _ROLES:
            raise ExperimentError(
                f"{table.where}: columns: unknown role {role!r}{nearest(role, _ROLES)} "
                f"(roles: {', '.join(_ROLES)})"
            )
        name, unit = _name_and_unit(table, text)
        table.values(name)  # raises if there is no such column
        found[role] = (name, unit)
    return found


def _split(where: str, given: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in given.split(","):
        role, equals, name = (part.strip() for part in word.partition("="))
        if not equals or not name or role in pairs:
            problem = "is given twice" if role in pairs else f"expected {_GRAMMAR}"
            raise ExperimentError(f"{where}: columns: {word.strip()!r}: {problem}")
        pairs[role] = name
    return pairs


def _name_and_unit(table: Table, text: str) -> tuple[str, str]:
    name, colon, unit = text.rpartition(":")
    if text in table or not colon:
        ending = text.rpartition("_")[2]
        return text, ending if ending in UNITS else "s"
    if unit not in UNITS:
        raise ExperimentError(
            f"{table.where}: columns: unknown unit {unit!r} of {name!r} ({', '.join(UNITS)})"
        )
    return name, unit
