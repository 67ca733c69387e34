"""Intervals of parameters and predictions, from resampled blocks of the data.

Künsch, "The jackknife and the bootstrap for general stationary observations", Annals of Statistics
17, 1989. Requests of one busy period are late together, so whole blocks of time are drawn.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its modules load on first use

from .._io.text import table
from ..errors import FitError, ParameterError
from ..models import StepModel
from ..objective import Objective
from ._identifiability import standard_errors
from ._prediction import Prediction
from ._problem import Bounds, FloatArray, IntArray, Problem, block_length, ends, make_problem

_LEAST_BLOCKS = 4
_FLAT = 1e-13  # share of a curvature's largest eigenvalue; below it, values are rounding errors

Box = tuple[FloatArray, FloatArray]


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """The result of ``block_bootstrap``, with B resamples. ``str`` gives a table."""

    names: tuple[str, ...]
    """The parameters [P]."""
    x: FloatArray
    """Their values [P], as given."""
    blocks: int
    """Number of blocks in a resample."""
    confidence: float
    """Probability that an interval covers."""
    samples: FloatArray
    """The parameters of each resample [B, P]."""
    interval: FloatArray
    """Both ends of each parameter's interval [2, P]. NaN: not analysed, or can move without
    effect."""
    labels: tuple[str, ...]
    """Names of the predictions [Q]."""
    predicted: FloatArray
    """Predictions at ``x`` [Q], in seconds."""
    predictions: FloatArray
    """Predictions of each resample [B, Q], in seconds; NaN if it cannot be simulated."""
    prediction_interval: FloatArray
    """Both ends of each prediction's interval [2, Q], in seconds."""

    @property
    def failed(self) -> tuple[int, ...]:
        """Number of resamples, per prediction, that could not be simulated to their end."""
        return tuple(np.isnan(self.predictions).sum(axis=0).tolist())

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the samples as JSON values, with None for NaN."""
        return {
            "blocks": self.blocks,
            "resamples": len(self.samples),
            "confidence": self.confidence,
            "parameters": _intervals(self.names, self.x, self.interval),
            "predictions": _intervals(self.labels, self.predicted, self.prediction_interval),
            "failed": dict(zip(self.labels, self.failed, strict=True)),
        }

    def __str__(self) -> str:
        head = (
            f"{100 * self.confidence:g} % intervals from {len(self.samples)} resamples of "
            f"{self.blocks} blocks"
        )
        rows = [["", "value", "from", "to", ""]]
        for i, name in enumerate(self.names):
            rows.append([name, *map(_cell, (self.x[i], *self.interval[:, i])), ""])
        for i, label in enumerate(self.labels):
            lost = f"{self.failed[i]} resamples failed" if self.failed[i] else ""
            ends_s = self.prediction_interval[:, i]
            rows.append([f"{label} [s]", *map(_cell, (self.predicted[i], *ends_s)), lost])
        return f"{head}\n{table(rows)}"


def block_bootstrap(
    objective: Objective,
    x: object,
    *,
    fixed: Collection[str] | None = None,
    bounds: Bounds | None = None,
    ridge: npt.ArrayLike | None = None,
    per_run: int | None = None,
    predictions: Sequence[Prediction] = (),
    resamples: int = 200,
    confidence: float = 0.9,
    seed: int = 0,
) -> Bootstrap:
    """Return intervals of a fit's parameters, and of statistics predicted with them.

    ``x``, ``fixed`` and ``bounds`` as for ``identify``. A parameter at a bound stays there.
    ``ridge`` [P]: w, if the fit's loss included the sum of w² (x - x0)².

    Each run is cut into ``per_run`` blocks of consecutive requests by arrival: √n blocks of n
    requests by default; with 1, each run is a block. Each resample draws as many blocks, with
    replacement. It is refitted by one Gauss-Newton step within the bounds. One batch simulates all
    resamples of a prediction. Intervals are percentiles. They are widened around the estimate by
    the ratio of Student's distribution (blocks - 1 degrees of freedom) to the normal, and cut at
    the bounds.

    Raises as ``identify``, and ``FitError`` if the noise is unknown or there are fewer than 4
    blocks.
    """
    problem = make_problem(objective, x, fixed=fixed, bounds=bounds)
    block = _blocks(problem, per_run)
    count = int(block.max()) + 1
    weights, penalty = _draw(count, resamples, seed), _penalty(problem, ridge)
    box = ends(bounds, objective.model)
    samples = problem.x + _moves(problem, block, weights, penalty, box)
    interval = np.clip(_interval(problem.x, samples, confidence, count), *box)
    interval[:, np.isnan(standard_errors(problem))] = np.nan
    values = _predict(predictions, objective.model, np.vstack((problem.x, samples)))
    return Bootstrap(
        names=problem.names,
        x=problem.x,
        blocks=count,
        confidence=confidence,
        samples=samples,
        interval=interval,
        labels=tuple(prediction.label for prediction in predictions),
        predicted=values[0],
        predictions=values[1:],
        prediction_interval=_interval(values[0], values[1:], confidence, count),
    )


def _blocks(problem: Problem, per_run: int | None) -> IntArray:
    """Return the block [n] of each request, by arrival, run by run."""
    if problem.unknown_noise:
        raise FitError(f"{problem.unknown_noise}: there is nothing to resample")
    labels, first = [], 0
    for run, requests in enumerate(problem.runs):
        count = max(1, requests // block_length(requests)) if per_run is None else per_run
        if not 1 <= operator.index(count) <= requests:
            raise ParameterError(
                f"per_run must be an integer from 1 to the requests of each run, got {per_run!r} "
                f"for run {run} of {requests}"
            )
        labels.append(first + np.arange(requests) * count // requests)
        first += count
    if first < _LEAST_BLOCKS:
        raise FitError(f"{first} blocks are too few to resample, {_LEAST_BLOCKS} are needed")
    return np.concatenate(labels)


def _draw(blocks: int, resamples: int, seed: int) -> FloatArray:
    """Return how often each resample contains each block, [B, blocks]."""
    if operator.index(resamples) < 1:
        raise ParameterError(f"resamples must be an integer >= 1, got {resamples!r}")
    rng = np.random.default_rng(seed)
    return rng.multinomial(blocks, np.full(blocks, 1 / blocks), resamples).astype(np.float64)


def _penalty(problem: Problem, ridge: npt.ArrayLike | None) -> FloatArray:
    """Return the ridge's part of the curvature of each free parameter [K], per natural scale."""
    if ridge is None:
        return np.zeros(problem.keep.size)
    weights = np.asarray(ridge, dtype=np.float64)
    if weights.shape != (len(problem.names),) or not np.isfinite(weights).all():
        raise ParameterError(
            f"ridge must be {len(problem.names)} finite numbers, got shape {weights.shape}"
        )
    penalty: FloatArray = (weights * problem.scale)[problem.keep] ** 2
    return penalty


def _moves(
    problem: Problem, block: IntArray, weights: FloatArray, penalty: FloatArray, box: Box
) -> FloatArray:
    """Return how far [B, P] each resample moves the parameters, in their units.

    A move goes to the minimum of ½ dᵀ (H_b + penalty) d + dᵀ (g_b - g) within the box. H_b and g_b
    are the curvature and scores of the resample, g the scores of all data. At the optimum g is 0,
    except for the ridge's part.
    """
    count, free = weights.shape[1], problem.keep.size
    curvature, slope = np.zeros((count, free, free)), np.zeros((count, free))
    of_residual = block[problem.requests]
    for b in range(count):
        rows = problem.root[of_residual == b]
        curvature[b] = rows.T @ rows
        slope[b] = problem.scores[block == b].sum(axis=0)
    drawn = np.tensordot(weights, curvature, 1) + np.diag(penalty)
    slopes = (weights - 1) @ slope
    scale, x = problem.scale[problem.keep], problem.x[problem.keep]
    with np.errstate(over="ignore"):  # a bound that far away is no bound
        low, high = ((end[problem.keep] - x) / scale for end in box)
    moves = np.zeros((len(weights), len(problem.names)))
    for i, (matrix, vector) in enumerate(zip(drawn, slopes, strict=True)):
        moves[i, problem.keep] = scale * _least(matrix, vector, low, high)
    return moves


def _least(matrix: FloatArray, slope: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Return the minimum [K] of ½ dᵀ A d + dᵀ b between bounds; the nearest if it is not unique."""
    values, vectors = np.linalg.eigh(matrix)
    seen = values > _FLAT * values[-1]  # a resample may lack all blocks that determine a direction
    roots = np.sqrt(values[seen])
    target = -(vectors[:, seen].T @ slope) / roots
    free: FloatArray = vectors[:, seen] @ (target / roots)
    if (free >= low).all() and (free <= high).all():
        return free
    rows = roots[:, np.newaxis] * vectors[:, seen].T
    bounded: FloatArray = scipy.optimize.lsq_linear(
        rows, target, bounds=(low, high), method="bvls"
    ).x
    return bounded


def _predict(
    predictions: Sequence[Prediction], model: StepModel, candidates: FloatArray
) -> FloatArray:
    """Return the predicted statistics [candidates, Q]."""
    columns = [np.empty((len(candidates), 0))]
    for prediction in predictions:
        with prediction.simulator(model) as simulator:
            columns.append(prediction.values(simulator, candidates)[:, np.newaxis])
    return np.concatenate(columns, axis=1)


def _interval(
    centre: FloatArray, samples: FloatArray, confidence: float, blocks: int
) -> FloatArray:
    """Return both ends [2, P] of the intervals of samples [B, P], without NaN.

    An interval always contains the centre. Bounds may keep all samples on one side of it.
    """
    if not 0 < confidence < 1:
        raise ParameterError(f"confidence must be between 0 and 1, got {confidence!r}")
    interval = np.full((2, samples.shape[1]), np.nan)
    tail = (1 - confidence) / 2
    widened = scipy.special.stdtrit(blocks - 1, tail) / scipy.special.ndtri(tail)
    for i, column in enumerate(samples.T):
        known = column[~np.isnan(column)]
        if known.size:
            low, high = np.quantile(known, [tail, 1 - tail]) - centre[i]
            interval[:, i] = centre[i] + widened * np.array([min(low, 0.0), max(high, 0.0)])
    return interval


def _intervals(names: Sequence[str], values: FloatArray, both: FloatArray) -> dict[str, Any]:
    columns = (values.tolist(), *both.tolist())
    return {
        name: dict(zip(("value", "low", "high"), map(_json, row), strict=True))
        for name, *row in zip(names, *columns, strict=True)
    }


def _json(value: float) -> float | None:
    return None if math.isnan(value) else value


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"
