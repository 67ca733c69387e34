"""Compare the fit with parameters known before: the baseline and earlier trials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..losses import Loss
from ..models import QUADRATIC15, StepModel
from ..objective import Objective

FloatArray = npt.NDArray[np.float64]

ORIGINAL = "original"
"""The loss of the original experiment, in s^2."""


@dataclass(frozen=True)
class Comparison:
    """One line of the closing table: a candidate's losses over all training runs.

    A loss is infinite if the candidate cannot be simulated to its end.
    """

    name: str
    """Name of the candidate."""
    loss: float
    """The loss of the fit."""
    original: float
    """The original experiment's loss in s^2: (mean squared TTFT error + mean squared E2E error) /
    2. NaN if neither was measured."""
    note: str = ""
    """More about the candidate."""


def compare(objective: Objective, x: FloatArray, fun: float) -> tuple[Comparison, ...]:
    """Return the lines of the closing table.

    Baseline and trials come from the first run; their model is ``quadratic15``. The best trial is
    the best by the loss of ``objective``. Its note gives the loss that was reported for it.
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
