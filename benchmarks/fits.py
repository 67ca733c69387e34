"""Measure and draw how the loss of exp1_30rr falls with time, for every method.

    python -m benchmarks.fits --update

writes the picture and the table into docs/. It needs the extras ``plot`` and ``bayes``. The picture
also shows the trials of the original's Bayesian optimisation, with losses from our objective.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import build
from pysimbind import Objective, load_experiment
from pysimbind.errors import MissingExtraError
from pysimbind.fit import METHODS, FitProgress, fit

from .case import EXPERIMENT
from .pages import ROOT, replace_table, rounded
from .table import spell_seconds

PAGE = ROOT / "docs" / "benchmarks.md"
PICTURE = ROOT / "docs" / "images" / "loss_over_time.png"
LOSS = "original"
AIM_S2 = 1.2e-4
ORIGINAL = "original's trials"
# Seconds that the original's program takes for a trial, as a process (docs/benchmarks.md). The time
# of its optimiser between trials is unknown, and left out.
TRIAL_S = 0.0834
COLORS = {
    "auto": "#1f6fb2",
    "lsq": "#5aa9e6",
    "cmaes": "#2a8c5a",
    "de": "#8a6fb5",
    "lbfgsb": "#b5542c",
    "nelder-mead": "#c79a2b",
    "bayes": "#444444",
    ORIGINAL: "#9a9a96",
}


@dataclass(frozen=True)
class Curve:
    """One search: the best loss so far [s^2], after each time and number of evaluations.

    ``whole_s``: seconds of the whole call, including the work before and after the search.
    """

    name: str
    seconds: tuple[float, ...]
    evaluations: tuple[int, ...]
    losses: tuple[float, ...]
    whole_s: float

    @property
    def reached(self) -> int | None:
        """Index of the first loss below the aim; None if there is none."""
        below = np.flatnonzero(np.array(self.losses) < AIM_S2)
        return int(below[0]) if below.size else None

    @property
    def reached_s(self) -> float:
        """Time of the first loss below the aim; infinity if there is none."""
        return float("inf") if self.reached is None else self.seconds[self.reached]


def follow(method: str, max_evals: int | None = None) -> Curve:
    """Fit with the method's defaults, and record its progress."""
    seen: list[FitProgress] = []
    begin_s = time.perf_counter()
    fit(EXPERIMENT, method, loss=LOSS, max_evals=max_evals, callback=seen.append)
    return Curve(
        method,
        tuple(progress.time_s for progress in seen),
        tuple(progress.nfev for progress in seen),
        tuple(progress.fun for progress in seen),
        time.perf_counter() - begin_s,
    )


def typical(method: str, rounds: int, max_evals: int | None = None) -> Curve:
    """Return, of ``rounds`` searches, the one with the median time to the aim."""
    curves = [follow(method, max_evals) for _ in range(rounds)]
    return sorted(curves, key=lambda curve: (curve.reached_s, curve.whole_s))[len(curves) // 2]


def original_trials() -> Curve:
    """Return the losses of the original's trials, timed by their simulations alone."""
    experiment = load_experiment(EXPERIMENT)
    trials = experiment.trials
    assert trials is not None
    with Objective(experiment, loss=LOSS) as objective:
        best = np.minimum.accumulate(objective.batch(trials.x))
    count = np.arange(1, len(trials) + 1)
    seconds = tuple((TRIAL_S * count).tolist())
    return Curve(ORIGINAL, seconds, tuple(count.tolist()), tuple(best.tolist()), seconds[-1])


def measure(rounds: int, max_evals: int | None = None) -> list[Curve]:
    """Follow every method and the original's trials. Prints one line each."""
    curves = []
    for method in METHODS:
        try:
            METHODS[method].require()
        except MissingExtraError as exc:
            print(f"{method}: left out: {exc}")
            continue
        # bayes takes ten seconds or more, and never gets near the aim
        curves.append(typical(method, 1 if method == "bayes" else rounds, max_evals))
        print(_spell(curves[-1]), flush=True)
    curves.append(original_trials())
    print(_spell(curves[-1]))
    return curves


def fits_table(curves: Sequence[Curve]) -> list[str]:
    """Return the lines of the table in the page."""
    lines = [
        "| method | time to 1.2e-4 s² | evaluations until then | loss at the end [s²] | "
        "evaluations in all | time in all |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for curve in curves:
        where = curve.reached
        until = ["never", "never"]
        if where is not None:
            until = [_seconds(curve.seconds[where]), f"{curve.evaluations[where]:,}"]
        cells = [*until, _loss(curve.losses[-1]), f"{curve.evaluations[-1]:,}"]
        name = curve.name if curve.name == ORIGINAL else f"`{curve.name}`"
        lines.append(f"| {name} | {' | '.join([*cells, _seconds(curve.whole_s)])} |")
    return lines


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Draw the curves, with both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")  # draws into files: no display is needed
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.6), constrained_layout=True)
    for curve in curves:
        dashed = curve.name == ORIGINAL
        axes.step(
            [*curve.seconds, max(curve.seconds[-1], curve.whole_s)],
            [*curve.losses, curve.losses[-1]],
            where="post",
            label=curve.name,
            color=COLORS[curve.name],
            linestyle="--" if dashed else "-",
            linewidth=2.2 if curve.name == "auto" else 1.4,
        )
    axes.axhline(AIM_S2, color="#cc3333", linewidth=0.8, linestyle=":")
    axes.annotate("aim", (1, AIM_S2), (4, 2), ("axes fraction", "data"), "offset points")
    axes.set(xscale="log", yscale="log", xlabel="time [s]", ylabel="best loss so far [s²]")
    axes.set_title(f"{EXPERIMENT}, loss {LOSS}", fontsize=11)
    axes.grid(which="major", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _spell(curve: Curve) -> str:
    return (
        f"{curve.name:18} below {AIM_S2:g} s^2 after {curve.reached_s:.4g} s, "
        f"{curve.losses[-1]:.4g} s^2 after {curve.evaluations[-1]:,} evaluations, "
        f"{curve.whole_s:.3g} s in all"
    )


def _seconds(seconds: float) -> str:
    return spell_seconds(seconds).replace(" us", " µs")


def _loss(loss: float) -> str:
    return rounded(loss, 3) if loss >= 1 else f"{loss:.2e}".replace("e-0", "e-")


def main() -> None:
    """Measure, draw, and update the page if asked."""
    parser = argparse.ArgumentParser(description="Draw the loss of exp1_30rr against time.")
    parser.add_argument("--out", type=Path, default=PICTURE, help="the picture (default: docs)")
    parser.add_argument("--rounds", type=int, default=5, help="searches of a method, odd")
    parser.add_argument("--max-evals", type=int, help="at most (default: each method's own)")
    parser.add_argument("--update", action="store_true", help="put the table into the page, too")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f"--rounds is {args.rounds}: must be 1 or more")
    build.build()
    curves = measure(args.rounds, args.max_evals)
    draw(curves, args.out)
    print(args.out)
    table = fits_table(curves)
    print("", *table, sep="\n")
    if args.update:
        PAGE.write_text(replace_table(PAGE.read_text("utf-8"), table), "utf-8")
        print(f"\nupdated {PAGE}")


if __name__ == "__main__":
    main()
