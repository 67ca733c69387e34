"""Rows of CSV and Parquet files by column name. Errors name the file, line and column."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ExperimentError, nearest
from ._source import Source

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_MISSING = ("", "none", "null")  # and all texts that float() reads as NaN


class Table:
    """Columns of equal length. ``places`` gives the place of each row in the file ``where``."""

    def __init__(
        self, where: str, columns: dict[str, Sequence[Any]], places: Sequence[str]
    ) -> None:
        self.where, self._columns, self._places = where, columns, places
        if not places:
            raise ExperimentError(f"{where}: no rows below the column names")

    @classmethod
    def of_csv(cls, source: Source) -> Table:
        """Read a CSV file; raises ``ExperimentError`` for a row that is too short or too long."""
        reader = csv.reader(io.StringIO(source.text))
        rows, places = [], []
        try:
            names = [name.strip() for name in next(reader)]
            for name in names:
                if names.count(name) > 1:
                    raise ExperimentError(f"{source.where}: line 1: two columns are named {name!r}")
            for row in reader:
                place = f"line {reader.line_num}"
                if not row:
                    continue
                if len(row) != len(names):
                    raise ExperimentError(
                        f"{source.where}: {place}: has {len(row)} fields for {len(names)} columns"
                    )
                rows.append(row)
                places.append(place)
        except csv.Error as exc:
            raise ExperimentError(
                f"{source.where}: line {reader.line_num}: not valid CSV: {exc}"
            ) from exc
        return cls(source.where, dict(zip(names, zip(*rows, strict=True), strict=False)), places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, column: str) -> bool:
        return column in self._columns

    @property
    def names(self) -> tuple[str, ...]:
        """The column names in order."""
        return tuple(self._columns)

    def values(self, column: str) -> Sequence[Any]:
        """Return a column as the file has it."""
        if column not in self._columns:
            raise ExperimentError(
                f"{self.where}: no column {column!r}{nearest(column, self._columns)} "
                f"(columns: {', '.join(self._columns)})"
            )
        return self._columns[column]

    def texts(self, column: str) -> list[str]:
        """Return a column as text, without surrounding spaces."""
        return [str(value).strip() for value in self.values(column)]

    def numbers(self, column: str) -> FloatArray:
        """Return a column of finite numbers; NaN if a cell is empty, nan or null."""
        return np.array(
            [self._number(column, i, value) for i, value in enumerate(self.values(column))],
            dtype=np.float64,
        )

    def counts(self, column: str) -> IntArray:
        """Return a column of token counts: whole numbers >= 0."""
        numbers = self.numbers(column)
        bad = np.flatnonzero(~((numbers >= 0) & (numbers == np.floor(numbers)) & (numbers < 2**53)))
        if bad.size:
            got = self.values(column)[bad[0]]
            raise self._error(column, int(bad[0]), f"must be an integer >= 0, got {got!r:.40}")
        return numbers.astype(np.int64)

    def _number(self, column: str, row: int, value: Any) -> float:
        if value is None or (isinstance(value, str) and value.strip().lower() in _MISSING):
            return math.nan
        try:
            number = math.inf if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.inf
        if math.isinf(number):
            raise self._error(column, row, f"must be a finite number, got {value!r:.40}")
        return number

    def _error(self, column: str, row: int, what: str) -> ExperimentError:
        return ExperimentError(f"{self.where}: {self._places[row]}: {column}: {what}")
