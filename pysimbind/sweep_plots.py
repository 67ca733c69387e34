"""Pictures of a sweep. Needs matplotlib: ``pip install 'pysimbind[plot]'``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .plots import figure_class
from .sweep import SweepRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_sweep(rows: Sequence[SweepRow]) -> Figure:
    """Draw p99 TTFT and E2E over the rate with their intervals, and throughput against p99 E2E.

    One line a setting; in the third picture, the Pareto front of all points is in black. Raises
    ``MissingExtraError`` without matplotlib.
    """
    figure: Figure = figure_class()(figsize=(13, 4), layout="constrained")
    ttft, e2e, front = figure.subplots(1, 3)
    for label, line in _lines(rows).items():
        rates = [row.point.rate_rps for row in line]
        for axes, name in ((ttft, "ttft_p99_s"), (e2e, "e2e_p99_s")):
            axes.plot(rates, [row.mean[name] for row in line], marker="o", label=label)
            low, high = ([getattr(r, side)[name] for r in line] for side in ("low", "high"))
            axes.fill_between(rates, low, high, alpha=0.2)
        p99, throughput = ([r.mean[n] for r in line] for n in ("e2e_p99_s", "throughput_rps"))
        front.plot(p99, throughput, "o", label=label)
    best = pareto(rows)
    steps = [[row.mean[name] for row in best] for name in ("e2e_p99_s", "throughput_rps")]
    front.plot(*steps, drawstyle="steps-post", color="black", linewidth=1, label="Pareto front")
    for axes, x, y in (
        (ttft, "requests/s", "p99 TTFT [s]"),
        (e2e, "requests/s", "p99 E2E [s]"),
        (front, "p99 E2E [s]", "throughput [requests/s]"),
    ):
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.spines[["top", "right"]].set_visible(False)
    front.legend(frameon=False, fontsize=8)
    return figure


def pareto(rows: Sequence[SweepRow]) -> list[SweepRow]:
    """Return the rows that no other beats in both p99 E2E and throughput, by p99 E2E."""
    best: list[SweepRow] = []
    ordered = sorted(rows, key=lambda r: (r.mean["e2e_p99_s"], -r.mean["throughput_rps"]))
    for row in ordered:
        known = row.mean["e2e_p99_s"] == row.mean["e2e_p99_s"]  # not NaN
        if known and (not best or row.mean["throughput_rps"] > best[-1].mean["throughput_rps"]):
            best.append(row)
    return best


def _lines(rows: Sequence[SweepRow]) -> dict[str, list[SweepRow]]:
    lines: dict[str, list[SweepRow]] = {}
    for row in sorted(rows, key=lambda row: row.point.rate_rps):
        words = [f"{name} {value}" for name, value in row.point.settings.items()]
        if row.point.prompt_scale != 1:
            words.append(f"prompts x {row.point.prompt_scale:g}")
        lines.setdefault(", ".join(words) or "as recorded", []).append(row)
    return lines
