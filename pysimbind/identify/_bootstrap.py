"""Intervals of parameters and predictions, from the data's own blocks drawn again and again.

Künsch, "The jackknife and the bootstrap for general stationary observations", Annals of Statistics
17, 1989: requests of one busy period are late together, so whole blocks of time are drawn.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._text import table
from ..errors import FitError, ParameterError
from ..losses import Measured
from ..models import ModelLike
from ..objective import Objective
from ._identifiability import standard_errors
from ._prediction import Prediction
from ._problem import (
    FloatArray,
    IntArray,
    Problem,
    as_vector,
    is_determined,
    make_problem,
    singular,
)

_LEAST_BLOCKS = 4


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """What ``block_bootstrap`` found; ``str`` of it is a table.

    ``samples`` [B, P]: the parameters of each resample. ``interval`` [2, P]: the ends of the
    percentile interval of each; NaN where the data do not determine it, or it was held.
    ``predictions`` [B, Q] in seconds, in the order of ``labels`` [Q], NaN where a resample cannot
    be simulated; ``prediction_interval`` [2, Q]; ``predicted`` [Q]: at x itself.
    """

    names: tuple[str, ...]
    x: FloatArray
    blocks: int
    confidence: float
    samples: FloatArray
    interval: FloatArray
    labels: tuple[str, ...]
    predicted: FloatArray
    predictions: FloatArray
    prediction_interval: FloatArray

    def as_dict(self) -> dict[str, Any]:
        """Return all but the samples as JSON values, NaN as None."""
        return {
            "blocks": self.blocks,
            "resamples": len(self.samples),
            "confidence": self.confidence,
            "parameters": _intervals(self.names, self.x, self.interval),
            "predictions": _intervals(self.labels, self.predicted, self.prediction_interval),
        }

    def __str__(self) -> str:
        head = (
            f"{100 * self.confidence:g} % intervals from {len(self.samples)} resamples of "
            f"{self.blocks} blocks"
        )
        rows = [["", "value", "from", "to"]]
        for names, values, ends in (
            (self.names, self.x, self.interval),
            (self.labels, self.predicted, self.prediction_interval),
        ):
            for i, name in enumerate(names):
                rows.append([name, *(_cell(v) for v in (values[i], ends[0, i], ends[1, i]))])
        return f"{head}\n{table(rows)}"


def block_bootstrap(
    jac: npt.ArrayLike,
    residuals: npt.ArrayLike,
    blocks: npt.ArrayLike,
    names: Sequence[str],
    x: npt.ArrayLike,
    *,
    scale: npt.ArrayLike | None = None,
    free: Collection[str] | None = None,
    at_bound: Collection[str] = (),
    bounds: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    rank_tolerance: float = 1.0,
    predictions: Sequence[Prediction] = (),
    model: ModelLike = "quadratic15",
    resamples: int = 200,
    confidence: float = 0.9,
    seed: int = 0,
) -> Bootstrap:
    """Return percentile intervals of parameters and predicted statistics.

    ``jac`` [M, P], ``residuals`` [M], ``names``, ``x``, ``scale``, ``free`` and ``at_bound`` as for
    ``identifiability``; ``blocks`` [M]: the number of each residual's block, as ``time_blocks``
    gives. Each resample draws as many blocks as there are, with replacement, and refits by one
    Gauss-Newton step from ``x`` in the directions that are determined (``rank_tolerance``), less
    the step of the whole data: resamples are spread around ``x``, even if it is not quite the
    optimum. ``bounds``: lower and upper [P], to which parameters are clipped. All resamples of a
    prediction are simulated in one batch, as parameters of ``model``, whose names are ``names``.

    Raises as ``identifiability``; ``FitError`` for fewer than 4 blocks.
    """
    _check(resamples, confidence)
    problem = make_problem(jac, residuals, names, x, scale=scale, free=free, at_bound=at_bound)
    number = _numbered(blocks, problem.residuals.size)
    weights = _draw(int(number.max()) + 1, resamples, seed)
    samples = np.tile(problem.x, (resamples, 1))
    samples[:, problem.keep] -= _steps(problem, number, weights, rank_tolerance)
    if bounds is not None:
        lower, upper = (as_vector(b, problem.names, "bounds")[problem.keep] for b in bounds)
        samples[:, problem.keep] = np.clip(samples[:, problem.keep], lower, upper)
    interval = _percentiles(samples, confidence)
    interval[:, ~_determined(problem, rank_tolerance)] = np.nan
    values = _predict(predictions, model, np.vstack((problem.x, samples)))
    return Bootstrap(
        problem.names,
        problem.x,
        weights.shape[1],
        confidence,
        samples=samples,
        interval=interval,
        labels=tuple(prediction.label for prediction in predictions),
        predicted=values[0],
        predictions=values[1:],
        prediction_interval=_percentiles(values[1:], confidence),
    )


def time_blocks(objective: Objective, per_run: int = 10) -> IntArray:
    """Return the block [M] of each residual of an objective: by run, and by time of arrival.

    Each run is cut into ``per_run`` blocks of equal numbers of requests that arrive one after the
    other (1: a run is a block). Raises ``FitError`` for a loss with means or quantiles, unless
    ``per_run`` is 1, and for a run with fewer requests than blocks.
    """
    if operator.index(per_run) < 1:
        raise FitError(f"per_run must be an integer >= 1, got {per_run!r}")
    labels = []
    for run, experiment in enumerate(objective.experiments):
        workload = experiment.workload
        if len(workload) < per_run:
            raise FitError(
                f"{experiment.name!r} has {len(workload)} requests, fewer than {per_run} blocks"
            )
        measured = Measured(
            workload.arrival_s, experiment.ttft, experiment.e2e, workload.output_tokens
        )
        requests = objective.loss.against(measured).requests
        if per_run > 1 and (requests < 0).any():
            raise FitError("a loss with means or quantiles has no blocks of time: per_run=1")
        rank = np.argsort(np.argsort(workload.arrival_s, kind="stable"), kind="stable")
        labels.append(run * per_run + rank[requests] * per_run // len(workload))
    return np.concatenate(labels)


def _check(resamples: int, confidence: float) -> None:
    if operator.index(resamples) < 1:
        raise ParameterError(f"resamples must be an integer >= 1, got {resamples!r}")
    if not 0 < confidence < 1:
        raise ParameterError(f"confidence must be between 0 and 1, got {confidence!r}")


def _numbered(blocks: npt.ArrayLike, residuals: int) -> IntArray:
    """Return blocks [M] numbered from 0 without gaps."""
    labels = np.asarray(blocks)
    if labels.shape != (residuals,):
        raise ParameterError(f"blocks must have shape ({residuals},), got {labels.shape}")
    distinct, number = np.unique(labels, return_inverse=True)
    if distinct.size < _LEAST_BLOCKS:
        raise FitError(
            f"{distinct.size} blocks are too few to resample, at least {_LEAST_BLOCKS} are needed"
        )
    return np.asarray(number, dtype=np.int64)


def _draw(blocks: int, resamples: int, seed: int) -> FloatArray:
    """Return how often each resample has each block, [B, blocks]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(blocks, np.full(blocks, 1 / blocks), resamples).astype(np.float64)


def _steps(problem: Problem, number: IntArray, weights: FloatArray, tolerance: float) -> FloatArray:
    """Return the Gauss-Newton steps [B, K] of the resamples, less that of the whole data."""
    values, vectors = singular(problem.scaled_jac)
    noise = math.sqrt(standard_errors(problem)[1])
    determined = is_determined(values, noise, tolerance)
    if not determined.any():
        raise FitError("the data determine no direction of these parameters: nothing to resample")
    into = vectors[:, determined] / values[determined]  # columns of the reduced problem: length 1
    reduced = problem.scaled_jac @ into
    count, k = weights.shape[1], reduced.shape[1]
    normal, slope = np.zeros((count, k, k)), np.zeros((count, k))
    np.add.at(normal, number, reduced[:, :, np.newaxis] * reduced[:, np.newaxis, :])
    np.add.at(slope, number, reduced * problem.residuals[:, np.newaxis])
    # a resample may lack all blocks that tell a direction: pinv leaves it where it is
    inverse = np.linalg.pinv(np.tensordot(weights, normal, 1), rcond=1e-9, hermitian=True)
    steps = np.einsum("bij,bj->bi", inverse, weights @ slope) - slope.sum(axis=0)
    moved: FloatArray = steps @ into.T * problem.scale[problem.keep]
    return moved


def _determined(problem: Problem, tolerance: float) -> npt.NDArray[np.bool_]:
    """Tell for each parameter [P] whether its standard error is within the tolerance."""
    errors = standard_errors(problem)[0]
    return np.asarray(errors <= tolerance * problem.scale)  # false for NaN


def _predict(
    predictions: Sequence[Prediction], model: ModelLike, candidates: FloatArray
) -> FloatArray:
    """Return the predicted statistics [candidates, Q]."""
    columns = [np.empty((len(candidates), 0))]
    for prediction in predictions:
        with prediction.simulator(model) as simulator:
            columns.append(prediction.values(simulator, candidates)[:, np.newaxis])
    return np.concatenate(columns, axis=1)


def _percentiles(samples: FloatArray, confidence: float) -> FloatArray:
    """Return both ends [2, P] of the percentile intervals of samples [B, P], NaN left out."""
    ends = np.full((2, samples.shape[1]), np.nan)
    for i, column in enumerate(samples.T):
        known = column[~np.isnan(column)]
        if known.size:
            ends[:, i] = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return ends


def _intervals(names: Sequence[str], values: FloatArray, ends: FloatArray) -> dict[str, Any]:
    columns = (values.tolist(), *ends.tolist())
    return {
        name: dict(zip(("value", "low", "high"), map(_json, row), strict=True))
        for name, *row in zip(names, *columns, strict=True)
    }


def _json(value: float) -> float | None:
    return None if math.isnan(value) else value


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"
