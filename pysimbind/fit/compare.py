"""The fit beside what was known before: baseline, earlier trials, ours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..objective import Objective
from ..simulator import Simulator
from .result import Comparison

FloatArray = npt.NDArray[np.float64]


def compare(objective: Objective, x: FloatArray, fun: float) -> tuple[Comparison, ...]:
    """Return the lines of the closing table, all by the loss of ``objective``.

    The best of the experiment's earlier trials is the best by that loss; what was reported of
    it then stands in its note.
    """
    experiment = objective.experiments[0]
    rows = []
    if experiment.baseline is not None:
        vector = experiment.baseline.vector
        rows.append(_row(objective, "baseline", vector, objective(vector)))
    if experiment.trials is not None and len(experiment.trials):
        losses = objective.batch(experiment.trials.x)
        i = int(np.argmin(losses))
        note = (
            f"trial {i + 1} of {losses.size}, then reported as {experiment.trials.loss[i]:.6g} s^2"
        )
        rows.append(
            _row(objective, "original best", experiment.trials.x[i], float(losses[i]), note)
        )
    rows.append(_row(objective, "this fit", x, fun))
    return tuple(rows)


def _row(objective: Objective, name: str, x: FloatArray, loss: float, note: str = "") -> Comparison:
    experiment = objective.experiments[0]
    with Simulator(experiment.workload, experiment.config) as simulator:
        simulated = simulator.run(x)
    return Comparison(
        name=name,
        loss=loss,
        ttft_mape=_mape(simulated.ttft, experiment.ttft),
        e2e_mape=_mape(simulated.e2e, experiment.e2e),
        note=note,
    )


def _mape(simulated: FloatArray, measured: FloatArray) -> float:
    """Return the mean absolute error [%] over requests with a measured latency above 0."""
    known = measured > 0
    if not known.any():
        return float("nan")
    error = float(100 * np.mean(np.abs(simulated[known] / measured[known] - 1)))
    return error if np.isfinite(error) else float("inf")
