"""Make the problem to search from experiments and bounds: starts, scales and ridge."""

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

# Added to the mean squared relative error for a parameter that doubles every latency. It decides
# between terms that data cannot tell apart. It is too small to bias terms that data can tell apart.
RIDGE = 3e-5
_LEAST = 1e-30  # s or us: a smaller value is invisible in any sum of steps
# The terms to begin with. A host cost per output token is not among them: with so few terms it
# could replace the whole step.
_FEW = ("intercept", "sum_decode_tokens", "sum_prefill_tokens")


def known_parameters(
    experiments: Sequence[Experiment], model: StepModel, initial: object
) -> tuple[str, Parameters] | None:
    """Return the known parameters and their name: ``initial``, else the baseline of all runs.

    Raises ``ParameterError`` if ``initial`` is not a set of the model's parameters.
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

    ``known``: from ``known_parameters``. ``ridge``: None means ``RIDGE``, or no ridge if errors are
    not relative.
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
    """Return the change of each parameter that doubles the mean E2E."""
    sensitivity = objective.sensitivity(x)
    if sensitivity.any():
        effect = sensitivity > 0
        return np.where(effect, 1 / np.where(effect, sensitivity, 1.0), 0.0)
    with np.errstate(over="ignore"):  # an overflowing width counts as infinite
        span = space.upper - space.lower
    # x cannot be simulated: take any size whose square is a number
    known = np.where(span > 0, np.maximum(span, _LEAST), 0.0)
    return np.where(span <= 1 / _LEAST, known, 1.0)
