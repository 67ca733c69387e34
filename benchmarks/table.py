"""The closing table: time per evaluation, evaluations per second, and how often the old way's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OLD_WAY = "old way: Python -> Go process -> text"
OLD_CHAIN = "old chain: Python -> Python -> Go process -> text"


@dataclass(frozen=True)
class Row:
    """One benchmark: the median seconds of one evaluation."""

    name: str
    seconds: float


def render(rows: Sequence[Row]) -> list[str]:
    """Return the lines of the table; a ratio is "-" where its old way was not measured."""
    seconds = {row.name: row.seconds for row in rows}
    width = max(len(row.name) for row in rows)
    head = ("us each", "evaluations/s", "x old way", "x old chain")
    lines = [f"{'':{width}}" + "".join(f"{title:>15}" for title in head)]
    for row in rows:
        numbers = (
            f"{row.seconds * 1e6:,.2f}",
            f"{1 / row.seconds:,.0f}",
            _ratio(seconds.get(OLD_WAY), row.seconds),
            _ratio(seconds.get(OLD_CHAIN), row.seconds),
        )
        lines.append(f"{row.name:{width}}" + "".join(f"{number:>15}" for number in numbers))
    return lines


def _ratio(old: float | None, new: float) -> str:
    if old is None:
        return "-"
    ratio = old / new
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"
