"""Checked access to the fields of other tools' measurement files.

Errors name the file, key and request. These files have keys that are not read, and lists of which
some may be missing. The package's own files have a fixed shape; ``_io.schema`` reads those.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ExperimentError, InputError


class Fields:
    """A JSON object of the file ``where``, ``at`` naming its place there (``""`` for the top).

    Raises ``ExperimentError`` if ``obj`` is no object.
    """

    def __init__(self, obj: object, where: str, at: str = "") -> None:
        self.where, self.at = where, at
        if not isinstance(obj, dict):
            raise ExperimentError(f"{where}: {at or 'the file'} must be a JSON object")
        self.obj: dict[str, Any] = obj

    def error(self, key: str, what: str) -> ExperimentError:
        """Return the error that says ``what`` is wrong with ``key``."""
        return ExperimentError(f"{self.where}: {self.at}{'.' if self.at else ''}{key}: {what}")

    def get(self, key: str) -> Any:
        """Return the value of a key that must be there."""
        if key not in self.obj:
            raise self.error(key, "missing")
        return self.obj[key]

    def text(self, key: str) -> str:
        """Return the string at ``key``, which must be there."""
        value = self.get(key)
        if not isinstance(value, str):
            raise self.error(key, f"must be a string, got {value!r:.40}")
        return value

    def child(self, key: str) -> Fields:
        """Return the JSON object at ``key``, which must be there."""
        return Fields(self.get(key), self.where, f"{self.at}{'.' if self.at else ''}{key}")

    def number(self, key: str) -> float:
        """Return the number at ``key``; NaN for null or no such key."""
        value = self.obj.get(key)
        if not (value is None or _is_finite(value)):
            raise self.error(key, f"must be a finite number, got {value!r:.40}")
        return math.nan if value is None else float(value)

    def count(self, key: str) -> int:
        """Return the token count at ``key``, which must be there: an integer >= 0."""
        return self._count(key, self.get(key))

    def items(self, key: str, length: int | None = None) -> list[Any]:
        """Return the list at ``key``; ``length``: how many items it must have."""
        value = self.get(key)
        if not isinstance(value, list):
            raise self.error(key, f"must be a list, got {value!r:.40}")
        if length is not None and len(value) != length:
            raise self.error(key, f"has {len(value)} items for {length} requests")
        return value

    def numbers(
        self, key: str, length: int | None = None, missing: bool = False
    ) -> npt.NDArray[np.float64]:
        """Return a list of finite numbers; with ``missing``, null is allowed and gives NaN."""
        return self._array(key, self.items(key, length), missing)

    def number_lists(self, key: str, length: int) -> list[npt.NDArray[np.float64]]:
        """Return a list of lists of finite numbers."""
        lists = self.items(key, length)
        for i, values in enumerate(lists):
            if not isinstance(values, list):
                raise self.error(f"{key}[{i}]", f"must be a list, got {values!r:.40}")
        return [self._array(f"{key}[{i}]", values) for i, values in enumerate(lists)]

    def integers(self, key: str, length: int | None = None) -> npt.NDArray[np.int64]:
        """Return a list of token counts: integers >= 0."""
        values = self.items(key, length)
        return np.array([self._count(f"{key}[{i}]", v) for i, v in enumerate(values)], np.int64)

    def _count(self, key: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
            raise self.error(key, f"must be an integer >= 0, got {value!r:.40}")
        return value

    def _array(self, key: str, values: list[Any], missing: bool = False) -> npt.NDArray[np.float64]:
        for i, value in enumerate(values):
            if not (_is_finite(value) or (missing and value is None)):
                raise self.error(f"{key}[{i}]", f"must be a finite number, got {value!r:.40}")
        return np.array([math.nan if v is None else v for v in values], dtype=np.float64)


@contextlib.contextmanager
def located(where: str) -> Iterator[None]:
    """Turn any ``InputError`` into an ``ExperimentError`` whose message begins with ``where``."""
    try:
        yield
    except InputError as exc:
        text = str(exc)
        raise ExperimentError(text if text.startswith(where) else f"{where}: {text}") from exc


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the floats
        return False
