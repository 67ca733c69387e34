"""Pictures of a sweep and of capacities. Needs matplotlib: ``pip install 'pysimbind[plot]'``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..plan.capacity import Capacity, Slo
from ..plan.sweep import BROKEN, SweepRow
from .plots import figure_class

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AS_RECORDED = "as recorded"
"""The label of points that change only the rate."""


def plot_sweep(rows: Sequence[SweepRow]) -> Figure:
    """Draw p99 TTFT and p99 E2E over the rate with intervals, and throughput against p99 E2E.

    Each setting has one line. In the third picture, the Pareto front of all points is black. Raises
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
    _front(front, rows, "e2e_p99_s")
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


def plot_capacity(
    rows: Sequence[SweepRow], found: Mapping[str, Capacity], slos: Sequence[Slo]
) -> Figure:
    """Draw throughput against the p99 of each latency with an objective, and the capacities.

    ``rows``: points at several rates for each setting. Each latency has one picture, with the
    Pareto front of all points in black and a p99 objective as a dashed line. The last picture shows
    the capacities in ``found`` {setting: capacity}, with their intervals. Raises
    ``MissingExtraError`` without matplotlib.
    """
    latencies = list(dict.fromkeys(slo.metric for slo in slos))
    figure: Figure = figure_class()(figsize=(4.3 * (len(latencies) + 1), 4), layout="constrained")
    *fronts, last = figure.subplots(1, len(latencies) + 1)
    for axes, latency in zip(fronts, latencies, strict=True):
        _front(axes, rows, f"{latency}_p99_s")
        for slo in slos:
            if (slo.metric, slo.statistic) == (latency, "p99"):
                axes.axvline(slo.limit_s, color="grey", linestyle="--", linewidth=1, label=str(slo))
        axes.set_xscale("log")
        axes.set_xlabel(f"p99 {latency.upper()} [s]")
        axes.set_ylabel("throughput [requests/s]")
        axes.legend(frameon=False, fontsize=8)
    for i, (label, each) in enumerate(found.items()):
        last.plot([each.low_rps, each.high_rps], [i, i], color=f"C{i}")
        last.plot([each.rate_rps], [i], "o", color=f"C{i}", label=label)
    last.set_yticks(range(len(found)), list(found))
    last.set_xlabel("capacity [requests/s]")
    last.set_xlim(left=0)
    for axes in (*fronts, last):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def pareto(rows: Sequence[SweepRow], latency: str = "e2e_p99_s") -> list[SweepRow]:
    """Return the rows that no other row beats in both a latency and throughput, by that latency.

    Points where the parameters break off are left out.
    """
    best: list[SweepRow] = []
    ordered = sorted(rows, key=lambda r: (r.mean[latency], -r.mean["throughput_rps"]))
    for row in ordered:
        known = row.mean[latency] == row.mean[latency] and row.outcome not in BROKEN  # not NaN
        if known and (not best or row.mean["throughput_rps"] > best[-1].mean["throughput_rps"]):
            best.append(row)
    return best


def _front(axes: Any, rows: Sequence[SweepRow], latency: str) -> None:
    """Draw the points of each setting and the Pareto front of all."""
    for label, line in _lines(rows).items():
        p99, throughput = ([r.mean[n] for r in line] for n in (latency, "throughput_rps"))
        axes.plot(p99, throughput, "o", label=label)
    best = pareto(rows, latency)
    steps = [[row.mean[name] for row in best] for name in (latency, "throughput_rps")]
    axes.plot(*steps, drawstyle="steps-post", color="black", linewidth=1, label="Pareto front")


def _lines(rows: Sequence[SweepRow]) -> dict[str, list[SweepRow]]:
    lines: dict[str, list[SweepRow]] = {}
    for row in sorted(rows, key=lambda row: row.point.rate_rps):
        lines.setdefault(row.point.label or AS_RECORDED, []).append(row)
    return lines
