"""Measure and draw the time of one run against the number of requests, 100 to 1,000,000.

    python -m benchmarks.cost_by_size

needs matplotlib: ``pip install '.[plot]'``. The server is the one in ``workloads.py``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import build
from pysimbind import ServerConfig, Simulator, Workload

from .table import spell_seconds
from .workloads import SERVER, plain, shared_prefixes, starved

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "cost_by_size.png"
SIZES = (100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)


@dataclass(frozen=True)
class Series:
    """A line of the picture. ``largest`` is the largest workload that runs in reasonable time."""

    name: str
    make: Callable[[int], tuple[Workload, ServerConfig]]
    engine: str
    largest: int
    color: str
    marker: str


SERIES = (
    Series("plain, reference engine", plain, "reference", 100_000, "#8a8a86", "s"),
    Series("plain, chosen engine", plain, "auto", 1_000_000, "#1f6fb2", "o"),
    Series("shared prefixes, chosen engine", shared_prefixes, "auto", 100_000, "#2a8c5a", "^"),
    Series("starved of KV blocks, chosen engine", starved, "auto", 1_000_000, "#b5542c", "v"),
)


def seconds_of_a_run(series: Series, requests: int) -> float:
    """Return the median of up to 7 runs started within half a second, after a warm-up run."""
    with Simulator(*series.make(requests), engine=series.engine) as simulator:
        simulator.run(SERVER)
        times: list[float] = []
        while len(times) < 7 and sum(times) < 0.5:
            begin = time.perf_counter()
            simulator.run(SERVER)
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def measure(largest: int) -> dict[Series, dict[int, float]]:
    """Measure every series up to a size. Prints one line each."""
    found: dict[Series, dict[int, float]] = {}
    for series in SERIES:
        sizes = [size for size in SIZES if size <= min(largest, series.largest)]
        found[series] = {}
        for size in sizes:
            seconds = found[series][size] = seconds_of_a_run(series, size)
            each = spell_seconds(seconds / size)
            print(f"{series.name:36} {size:>10,} {spell_seconds(seconds):>9} {each:>9} a request")
    return found


def draw(found: dict[Series, dict[int, float]], path: Path) -> None:
    """Draw the measurements, with both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")  # draws into files: no display is needed
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.6), constrained_layout=True)
    for series, times in found.items():
        axes.plot(
            list(times),
            [1e3 * each for each in times.values()],
            label=series.name,
            color=series.color,
            marker=series.marker,
            markersize=5,
        )
    axes.set(xscale="log", yscale="log", xlabel="requests", ylabel="time of one run [ms]")
    axes.set_title("One run against the size of the workload", fontsize=11)
    axes.grid(which="major", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description="Draw the cost of a run against its size.")
    parser.add_argument("--out", type=Path, default=PICTURE, help="the picture (default: docs)")
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="requests (default: all)")
    args = parser.parse_args()
    if args.largest < SIZES[0]:
        parser.error(f"--largest is {args.largest}: must be {SIZES[0]} or more")
    build.build()
    draw(measure(args.largest), args.out)
    print(args.out)


if __name__ == "__main__":
    main()
