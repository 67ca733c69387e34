"""Write the closing tables as Markdown into the pages that show them.

    python -m pytest benchmarks --update-pages

writes the tables of a whole run into README.md and docs/benchmarks.md. Numbers in running text stay
unchanged: they are rounder, and a person must choose them.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

from .table import OLD_CHAIN, OLD_WAY, Check, Row

ROOT = Path(__file__).resolve().parent.parent
SPEED_HEAD = [
    "| | µs per evaluation | evaluations/s | × old way | × old chain |",
    "|---|--:|--:|--:|--:|",
]
GROWTH_HEAD = ["| | measured | aim | |", "|---|--:|--:|---|"]
_UNITS = {"x": "×", "us": "µs"}
_NUMBER_WORDS = {2: "two", 4: "four", 8: "eight"}


def speed_table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of the table of evaluations. It needs rows of the old way and chain."""
    seconds = {row.name: row.seconds for row in rows}
    lines = list(SPEED_HEAD)
    for row in rows:
        per_second = 1 / row.seconds
        numbers = (
            rounded(row.seconds * 1e6, 3),
            f"{round(per_second, -3):,.0f}" if per_second >= 1000 else f"{per_second:.0f}",
            rounded(seconds[OLD_WAY] / row.seconds, 2),
            rounded(seconds[OLD_CHAIN] / row.seconds, 2),
        )
        lines.append(f"| {_title(row.name)} | {' | '.join(numbers)} |")
    return lines


def growth_table(checks: Sequence[Check]) -> list[str]:
    """Return the lines of the table of checks."""
    lines = list(GROWTH_HEAD)
    for check in checks:
        measured = f"{rounded(check.measured, 3)} {_UNITS.get(check.unit, check.unit)}".strip()
        asked = check.asked.replace("<=", "≤").replace(">=", "≥")
        detail = check.detail.replace(" us", " µs")
        lines.append(f"| {_title(check.name)} | {measured} | {asked} | {detail} |")
    return [re.sub(r"\|  (?=\|)", "| ", line) for line in lines]


def replace_table(text: str, lines: Sequence[str], only_known_rows: bool = False) -> str:
    """Replace the page's table that has the same head; ``only_known_rows`` keeps its row names."""
    old = re.search(rf"^{re.escape(lines[0])}\n(?:\|.*\n)*", text, re.MULTILINE)
    if old is None:
        raise ValueError(f"the page has no table with the head {lines[0]!r}")
    if only_known_rows:
        known = {_first_cell(line) for line in old[0].splitlines()}
        lines = [line for line in lines if _first_cell(line) in known]
    return text[: old.start()] + "".join(f"{line}\n" for line in lines) + text[old.end() :]


def update(rows: Sequence[Row], checks: Sequence[Check], root: Path = ROOT) -> list[Path]:
    """Write the tables of a whole run into the pages of a checkout, and return the pages."""
    readme, page = root / "README.md", root / "docs" / "benchmarks.md"
    speed = speed_table(rows)
    first = replace_table(readme.read_text("utf-8"), speed, only_known_rows=True)
    second = replace_table(page.read_text("utf-8"), speed)
    readme.write_text(first, "utf-8")
    page.write_text(replace_table(second, growth_table(checks)), "utf-8")
    return [readme, page]


def rounded(value: float, digits: int) -> str:
    """Write a number with ``digits`` significant digits: ``8,410``, ``14.9``, ``0.27``."""
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    value = round(value, places)
    return f"{value:,.0f}" if places <= 0 or value == round(value) else f"{value:.{places}f}"


def _title(name: str) -> str:
    """Write a row's name as the pages do: code as code, arrows as arrows."""
    count = os.cpu_count() or 1
    name = name.replace("->", "→")
    name = name.replace("all workers", f"{_NUMBER_WORDS.get(count, count)} workers")
    return re.sub(r"^(simulate_batch|simulate|Simulator\.run)(?= |$)|exp1_30rr", r"`\g<0>`", name)


def _first_cell(line: str) -> str:
    return line.split("|")[1].strip()
