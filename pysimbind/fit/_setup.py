"""From experiments and bounds to what is searched: starting points, scales, ridge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ParameterError
from ..experiment import Experiment
from ..models import StepModel
from ..objective import Objective
from ..parameters import OVERHEADS, Parameters, Space
from ._guess import guess
from ._search import FloatArray, Problem

# Of the mean squared relative error, at a parameter that doubles every latency: enough to choose
# between terms that data can't tell apart, too little to bias those that it can.
RIDGE = 3e-5
_LEAST = 1e-30  # seconds, or microseconds: no sum of steps shows less
# The terms to begin with. A host cost per output token is not among them: alone with these it can
# stand for the whole step.
_FEW = ("intercept", "sum_decode_tokens", "sum_prefill_tokens")


def known_parameters(
    experiments: Sequence[Experiment], model: StepModel, initial: object
) -> tuple[str, Parameters] | None:
    """Return what is known beforehand, and its name: ``initial``, else the baseline of all runs.

    Raises ``ParameterError`` for an ``initial`` that is no parameters of the model.
    """
    if initial is not None:
        try:
            return "the initial guess", Parameters.of(initial, model)
        except ParameterError as exc:
            raise ParameterError(f"the initial guess: {exc}") from exc
    baseline = experiments[0].baseline
    if baseline is None or baseline.model != model:
        return None
    if any(experiment.baseline != baseline for experiment in experiments):
        return None
    return "the baseline", baseline


def set_up(
    objective: Objective,
    space: Space,
    known: tuple[str, Parameters] | None,
    ridge: float | None,
    saturated: tuple[str, ...],
) -> Problem:
    """Return the problem of fitting ``objective`` within ``space``.

    ``known``: as of ``known_parameters``. ``ridge``: None for ``RIDGE``, or where errors are not
    relative, none.
    """
    model = objective.model
    guessed = guess(objective.experiments, model)
    points = [("a rough guess", guessed)]
    if known is not None:
        points.append((known[0], known[1].vector))
    starts = tuple((name, np.clip(x, space.lower, space.upper)) for name, x in points)
    scale = _scale(objective, space, starts[0][1])
    if ridge is None:
        ridge = 0.0 if objective.loss.errors == "absolute" else RIDGE
    few = [name in _FEW or name in OVERHEADS for name in model.names]
    return Problem(
        space=space,
        starts=starts,
        scale=scale,
        ridge=np.where(few, 0.0, ridge),
        few=np.flatnonzero(few),
        saturated=saturated,
    )


def _scale(objective: Objective, space: Space, x: FloatArray) -> FloatArray:
    """Return the change of each parameter that changes the mean E2E by as much as it is."""
    sensitivity = objective.sensitivity(x)
    if sensitivity.any():
        effect = sensitivity > 0
        return np.where(effect, 1 / np.where(effect, sensitivity, 1.0), 0.0)
    with np.errstate(over="ignore"):  # so wide that it is open
        span = space.upper - space.lower
    # x can't be simulated: one guess is as good as another, but for what numbers can't square
    known = np.where(span > 0, np.maximum(span, _LEAST), 0.0)
    return np.where(span <= 1 / _LEAST, known, 1.0)
