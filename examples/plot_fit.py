"""Draw measured against simulated latencies of exp1_30rr, for its baseline and for a fit.

Needs matplotlib: ``pip install '.[plot]'``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draws into files: no display is needed
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from pysimbind import Experiment, SimResult, Simulator, load_experiment
from pysimbind.fit import FitResult, fit

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "fit_exp1_30rr.png"
GREY, BLUE, INK = "#8a8a86", "#1f6fb2", "#33332f"


def draw(experiment: Experiment, result: FitResult, path: Path) -> None:
    """Write the picture of a fit to ``path``; its folder must exist."""
    with Simulator(experiment.workload, experiment.config) as simulator:
        runs = {"baseline": simulator.run(experiment.baseline), "fit": simulator.run(result.x)}
    losses = {row.name: row.loss for row in result.comparisons}
    labels = {
        "baseline": f"baseline: loss {losses['baseline']:.2g} {result.unit}",
        "fit": f"fit ({result.method}): loss {losses['this fit']:.2g} {result.unit}",
    }
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.6), constrained_layout=True)
    panel(axes[0], "ttft", "TTFT [ms]", 1e3, experiment, runs, labels)
    panel(axes[1], "e2e", "E2E [s]", 1.0, experiment, runs, labels)
    axes[1].legend(frameon=False, loc="upper left", fontsize=9)
    figure.suptitle(
        f"{experiment.name}: {experiment.num_requests} requests, simulated against measured",
        fontsize=11,
    )
    figure.supxlabel(f"Caveat: {experiment.caveat}.", fontsize=8, color=INK)
    # No version and no date in the file: the same fit gives the same picture.
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def panel(
    axes: Axes,
    field: str,
    title: str,
    scale: float,
    experiment: Experiment,
    runs: dict[str, SimResult],
    labels: dict[str, str],
) -> None:
    """Scatter one latency of every run, with the line of a perfect simulator."""
    measured = getattr(experiment, field) * scale
    simulated = {name: getattr(run, field) * scale for name, run in runs.items()}
    top = 1.08 * max(measured.max(), *(values.max() for values in simulated.values()))
    axes.plot([0, top], [0, top], color=INK, linewidth=0.8, zorder=1)
    axes.scatter(
        measured,
        simulated["baseline"],
        s=26,
        facecolors="none",
        edgecolors=GREY,
        linewidths=1.1,
        label=labels["baseline"],
        zorder=2,
    )
    axes.scatter(measured, simulated["fit"], s=14, color=BLUE, label=labels["fit"], zorder=3)
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    axes.set_xlabel(f"measured {title}")
    axes.set_ylabel(f"simulated {title}")
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Fit with the defaults and draw."""
    parser = argparse.ArgumentParser(description="Draw the fit of exp1_30rr.")
    parser.add_argument("--out", type=Path, default=PICTURE, help="the picture (default: docs)")
    parser.add_argument("--max-evals", type=int, help="evaluations (default: the method's own)")
    args = parser.parse_args()
    experiment = load_experiment("exp1_30rr")
    result = fit(experiment, max_evals=args.max_evals)
    draw(experiment, result, args.out)
    print(f"{args.out}: loss {result.fun:.3e} {result.unit}; {experiment.caveat}")


if __name__ == "__main__":
    main()
