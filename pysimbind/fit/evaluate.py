"""How well fitted parameters predict training data and held-out data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..accuracy import PARTS, PhaseFloor, Row, accuracy, phase_floor, pooled
from ..experiment import Experiment
from ..models import StepModel
from ..replicas import REPLICAS, Replicas, replicate
from ..simulator import Simulator
from ._search import FloatArray
from .holdout import Split

TRAINING, HELD_OUT = PARTS
POOLED = "all runs"


def evaluate(
    model: StepModel,
    x: FloatArray,
    split: Split,
    folds: Sequence[tuple[FloatArray, Split]] = (),
    replicas: int = REPLICAS,
) -> tuple[Row, ...]:
    """Return a row per run and part, and a row over all runs of a part if it has several.

    ``split`` belongs to the parameters ``x`` [names]. Each of ``folds`` has other parameters and
    their held-out runs. Predictions are means over replicas that differ in phase. The spread of the
    replicas is the row's floor.
    """
    predictions = _Predictions(model, replicas)
    held = [(x, experiment) for experiment in split.held_out]
    held += [(other, experiment) for other, fold in folds for experiment in fold.held_out]
    trained = [(x, experiment) for experiment in split.train]
    return (
        *_part(TRAINING, [predictions.of(*pair) for pair in trained]),
        *_part(HELD_OUT, [predictions.of(*pair) for pair in held]),
    )


def evaluate_runs(
    model: StepModel, x: FloatArray, experiments: Sequence[Experiment], replicas: int = REPLICAS
) -> tuple[Row, ...]:
    """Return the rows of runs that the fit has not seen, as ``evaluate`` does."""
    return evaluate(model, x, Split((), tuple(experiments)), replicas=replicas)


class _Judged(NamedTuple):
    """A measured run and its predictions."""

    experiment: Experiment
    predicted: Replicas


class _Predictions:
    """Simulations by parameters and run. Training and held-out requests of a run share one."""

    def __init__(self, model: StepModel, replicas: int) -> None:
        self._model, self._replicas = model, replicas
        self._made: dict[tuple[bytes, str], Replicas] = {}

    def of(self, x: FloatArray, experiment: Experiment) -> _Judged:
        key = x.tobytes(), experiment.name
        if key not in self._made:
            with Simulator(experiment.workload, experiment.config, self._model) as simulator:
                self._made[key] = replicate(simulator, x, self._replicas)
        return _Judged(experiment, self._made[key])


def _part(part: str, runs: Sequence[_Judged]) -> list[Row]:
    rows = [
        Row(run.experiment.name, accuracy(run.experiment, *run.predicted.result), part, _floor(run))
        for run in runs
    ]
    if len(runs) > 1:
        together = pooled((run.experiment, *run.predicted.result) for run in runs)
        rows.append(Row(POOLED, together, part, _floor(*runs)))
    return rows


def _floor(*runs: _Judged) -> PhaseFloor | None:
    """Return the floor over the measured requests of the runs; None for single predictions.

    A run that cannot be simulated to its end has one replica. It does not enter the floor of
    others.
    """
    several = [run for run in runs if len(run.predicted.ttft) > 1]
    if not several:
        return None
    ttft, e2e, output = [], [], []
    for experiment, predicted in several:
        known = np.isfinite(experiment.ttft) | np.isfinite(experiment.e2e)
        ttft.append(predicted.ttft[:, known])
        e2e.append(predicted.e2e[:, known])
        output.append(experiment.workload.output_tokens[known])
    return phase_floor(
        np.concatenate(ttft, axis=1), np.concatenate(e2e, axis=1), np.concatenate(output)
    )
