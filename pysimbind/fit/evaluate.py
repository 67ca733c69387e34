"""How well fitted parameters predict what they were fitted to, and what they were not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..accuracy import Accuracy, PhaseFloor, accuracy, phase_floor, pooled
from ..experiment import Experiment
from ..models import StepModel
from ..replicas import REPLICAS, Replicas, replicate
from ..simulator import Simulator
from ._search import FloatArray
from .holdout import Split

TRAINING, HELD_OUT = "training", "held out"
POOLED = "pooled"


@dataclass(frozen=True)
class AccuracyRow:
    """One line of the accuracy table: a run, or ``POOLED``, and which part of the data.

    ``part``: ``"training"`` or ``"held out"``. ``floor``: how much simulations that differ only in
    phase differ from each other, beside which ``accuracy`` is to be read.
    """

    run: str
    part: str
    accuracy: Accuracy
    floor: PhaseFloor


def evaluate(
    model: StepModel,
    x: FloatArray,
    split: Split,
    folds: Sequence[tuple[FloatArray, Split]] = (),
    replicas: int = REPLICAS,
) -> tuple[AccuracyRow, ...]:
    """Return a row for each run and part, and a pooled one for each part of several runs.

    ``split`` is of the parameters ``x``; each of ``folds`` holds others' held-out runs.
    """
    predictions = _Predictions(model, replicas)
    rows = _part(TRAINING, [(x, e) for e in split.train], predictions)
    held = [(x, e) for e in split.held_out]
    held += [(other, e) for other, fold in folds for e in fold.held_out]
    return (*rows, *_part(HELD_OUT, held, predictions))


class _Predictions:
    """Simulations by parameters and run; training and held-out requests of a run share one."""

    def __init__(self, model: StepModel, replicas: int) -> None:
        self._model, self._replicas = model, replicas
        self._made: dict[tuple[bytes, str], Replicas] = {}

    def of(self, x: FloatArray, experiment: Experiment) -> Replicas:
        key = x.tobytes(), experiment.name
        if key not in self._made:
            with Simulator(experiment.workload, experiment.config, self._model) as simulator:
                self._made[key] = replicate(simulator, x, self._replicas)
        return self._made[key]
