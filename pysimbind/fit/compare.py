"""The fit beside what was known before: baseline, earlier trials, ours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..losses import Loss
from ..models import QUADRATIC15, StepModel
from ..objective import Objective

FloatArray = npt.NDArray[np.float64]

ORIGINAL = "original"
"""The loss by which the original experiment judged, in s^2."""


@dataclass(frozen=True)
class Comparison:
    """One line of the closing table: a candidate's losses over all training runs.

    ``loss``: that of the fit. ``original``: the original experiment's, [mean of the squared TTFT
    errors + mean of the squared E2E errors] / 2, in s^2; NaN where nothing of that was measured.
    Infinite where the candidate can't be simulated to its end.
    """

    name: str
    loss: float
    original: float
    note: str = ""


def compare(objective: Objective, x: FloatArray, fun: float) -> tuple[Comparison, ...]:
    """Return the lines of the closing table.

    Baseline and trials are those of the first run, whose model is ``quadratic15``. The best of the
    trials is the best by the loss of ``objective``; what was reported of it then stands in its
    note.
    """
    experiment = objective.experiments[0]
    rows = []
    with _objective(objective, QUADRATIC15, objective.loss) as known:
        if experiment.baseline is not None:
            vector = experiment.baseline.vector
            rows.append(_row(known, "baseline", vector, known(vector)))
        if experiment.trials is not None and len(experiment.trials):
            losses = known.batch(experiment.trials.x)
            i = int(np.argmin(losses))
            note = (
                f"trial {i + 1} of {losses.size}, then reported as "
                f"{experiment.trials.loss[i]:.6g} s^2"
            )
            rows.append(
                _row(known, "original best", experiment.trials.x[i], float(losses[i]), note)
            )
    return (*rows, _row(objective, "this fit", x, fun))


def _row(objective: Objective, name: str, x: FloatArray, loss: float, note: str = "") -> Comparison:
    return Comparison(name, loss, _original(objective, x), note)


def _original(objective: Objective, x: FloatArray) -> float:
    measured = all(np.isfinite(e.ttft).any() for e in objective.experiments)
    if not (measured and all(np.isfinite(e.e2e).any() for e in objective.experiments)):
        return float("nan")
    with _objective(objective, objective.model, ORIGINAL) as original:
        return original(x)


def _objective(like: Objective, model: StepModel, loss: str | Loss) -> Objective:
    return Objective(like.experiments, model, loss, weights=like.weights)
