"""Intervals of parameters and predictions, from the data's own blocks drawn again and again.

Künsch, "The jackknife and the bootstrap for general stationary observations", Annals of Statistics
17, 1989: requests of one busy period are late together, so whole blocks of time are drawn.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from .._text import table
from ..errors import FitError, ParameterError
from ..models import StepModel
from ..objective import Objective
from ._identifiability import standard_errors
from ._prediction import Prediction
from ._problem import Bounds, FloatArray, IntArray, Problem, block_length, ends, make_problem
from ._spectrum import make_spectrum

_LEAST_BLOCKS = 4


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """What ``block_bootstrap`` found; ``str`` of it is a table.

    ``samples`` [B, P]: the parameters of each resample. ``interval`` [2, P]: both ends of each
    parameter's interval; NaN where the data do not determine it, or it was held.
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

    @property
    def failed(self) -> tuple[int, ...]:
        """How many resamples of each prediction could not be simulated to their end."""
        return tuple(np.isnan(self.predictions).sum(axis=0).tolist())

    def as_dict(self) -> dict[str, Any]:
        """Return all but the samples as JSON values, NaN as None."""
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
    scale: npt.ArrayLike | Mapping[str, float] | None = None,
    tolerance: float = 1.0,
    ridge: npt.ArrayLike | None = None,
    per_run: int | None = None,
    predictions: Sequence[Prediction] = (),
    resamples: int = 200,
    confidence: float = 0.9,
    seed: int = 0,
) -> Bootstrap:
    """Return intervals of the parameters of a fit, and of statistics predicted with them.

    ``x``, ``fixed``, ``bounds``, ``scale`` and ``tolerance`` as for ``identify``. ``ridge`` [P]: w,
    where the fit's loss had the sum of w² (x - x0)² added. Each run is cut into ``per_run`` blocks
    of requests that arrive one after the other: by default √n of n requests; with 1, each run is a
    block. Each resample draws as many blocks, with replacement, and refits by one Gauss-Newton step
    in the directions that are determined. All resamples of a prediction are simulated in one batch.

    Intervals are percentiles, widened around the estimate as Student's distribution (blocks - 1
    degrees of freedom) is against the normal; conditional on the directions not determined.

    Raises as ``identify``; ``FitError`` where the noise is unknown, or for fewer than 4 blocks.
    """
    problem = make_problem(objective, x, fixed=fixed, bounds=bounds, scale=scale)
    block = _blocks(problem, per_run)
    count = int(block.max()) + 1
    weights, penalty = _draw(count, resamples, seed), _penalty(problem, ridge)
    moves = _moves(problem, block, weights, penalty, tolerance)
    lower, upper = ends(bounds, objective.model)
    samples = np.where(moves == 0, problem.x, np.clip(problem.x + moves, lower, upper))
    interval = np.clip(_interval(problem.x, samples, confidence, count), lower, upper)
    interval[:, ~(standard_errors(problem) <= tolerance * problem.scale)] = np.nan  # also for NaN
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
    """Return the block [n] of each request, counted by arrival, run by run."""
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
    """Return how often each resample has each block, [B, blocks]."""
    if operator.index(resamples) < 1:
        raise ParameterError(f"resamples must be an integer >= 1, got {resamples!r}")
    rng = np.random.default_rng(seed)
    return rng.multinomial(blocks, np.full(blocks, 1 / blocks), resamples).astype(np.float64)


def _penalty(problem: Problem, ridge: npt.ArrayLike | None) -> FloatArray:
    """Return what a ridge adds to the curvature of each free parameter [K], per natural scale."""
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
    problem: Problem, block: IntArray, weights: FloatArray, penalty: FloatArray, tolerance: float
) -> FloatArray:
    """Return how far [B, P] each resample moves the parameters, in their units.

    By -(H_b + penalty)⁻¹ (g_b - g), with the resample's curvature and scores less those of the
    whole, which are 0 at the optimum, but for the ridge's own.
    """
    spectrum = make_spectrum(problem, tolerance)
    known = spectrum.determined
    if not known.any():
        raise FitError("the data determine no direction of these parameters: nothing to resample")
    into = spectrum.vectors[:, known] / spectrum.values[known]  # of the root: columns of length 1
    root, count, k = problem.root @ into, weights.shape[1], int(known.sum())
    curvature, slope = np.zeros((count, k, k)), np.zeros((count, k))
    of_residual = block[problem.requests]
    for b in range(count):
        rows = root[of_residual == b]
        curvature[b] = rows.T @ rows
        slope[b] = problem.scores[block == b].sum(axis=0) @ into
    drawn = np.tensordot(weights, curvature, 1) + into.T @ (penalty[:, np.newaxis] * into)
    # a resample may lack all blocks that tell a direction: pinv leaves it where it is
    inverse = np.linalg.pinv(drawn, rcond=1e-9, hermitian=True)
    steps = np.einsum("bij,bj->bi", inverse, (weights - 1) @ slope)
    moves = np.zeros((len(weights), len(problem.names)))
    moves[:, problem.keep] = -(steps @ into.T) * problem.scale[problem.keep]
    return moves


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
    """Return both ends [2, P] of the intervals of samples [B, P], NaN left out."""
    if not 0 < confidence < 1:
        raise ParameterError(f"confidence must be between 0 and 1, got {confidence!r}")
    interval = np.full((2, samples.shape[1]), np.nan)
    tail = (1 - confidence) / 2
    widened = special.stdtrit(blocks - 1, tail) / special.ndtri(tail)
    for i, column in enumerate(samples.T):
        known = column[~np.isnan(column)]
        if known.size:
            quantiles = np.quantile(known, [tail, 1 - tail])
            interval[:, i] = centre[i] + widened * (quantiles - centre[i])
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
