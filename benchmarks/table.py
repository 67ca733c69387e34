"""The closing tables: time per evaluation beside the old way, and the growth of cost."""

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


@dataclass(frozen=True)
class Check:
    """A measured value, its unit, and its limit, such as ``<= 4``."""

    name: str
    measured: float
    unit: str
    asked: str
    detail: str = ""


def render(rows: Sequence[Row]) -> list[str]:
    """Return the lines of the table. A ratio is "-" if its old way was not measured."""
    if not rows:
        return []
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


def render_checks(checks: Sequence[Check]) -> list[str]:
    """Return the lines of the table of checks."""
    if not checks:
        return []
    width = max(len(check.name) for check in checks)
    lines = [f"{'':{width}}{'measured':>12}     {'asked':<8}"]
    for check in checks:
        number = f"{check.measured:.3g}" if check.measured < 1000 else f"{check.measured:,.0f}"
        line = f"{check.name:{width}}{number:>12} {check.unit:<3} {check.asked:<8} {check.detail}"
        lines.append(line.rstrip())
    return lines


def spell_seconds(seconds: float) -> str:
    """Write a time in a suitable unit: ``12.3 us``."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def _ratio(old: float | None, new: float) -> str:
    if old is None:
        return "-"
    ratio = old / new
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"
