"""The linearised fit behind this package: free parameters, their sizes, and uncertainty.

A fit minimises L(x), the sum of the squares of residuals r with derivatives J. It brings its score,
the sum of r J, to 0. With other requests the score would differ, with covariance M, and x would
change by H⁻¹ times that. H is half the second derivative of L. So x has the covariance H⁻¹ M H⁻¹
(Huber 1967; White 1980). Consecutive requests are late together. So M is summed over windows of
consecutive requests by arrival (Newey & West, Econometrica 55, 1987). This holds for any loss:
residuals of different noise and weight, the two latencies of a request, robust losses.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import FitError, ParameterError
from ..losses import Measured
from ..models import StepModel
from ..objective import Objective
from ..parameters import Parameters, Space

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Bounds: TypeAlias = Space | tuple[npt.ArrayLike, npt.ArrayLike]
"""A box, or its lower and upper ends [P]; infinite: no bound."""

# Share of the largest singular value of a matrix with columns of length 1. Below it, a direction's
# effect is only rounding. Derivatives summed over thousands of steps are exact to about 1e-12.
NULL = 1e-9

# A parameter is at a bound if two things hold. Its distance is below _NEAR times the width of the
# bounds. And a move to the bound changes E2Es by less than the share _UNFELT: bounds may be wide.
_NEAR, _UNFELT = 1e-5, 1e-4
TAKES_PART = (
    1e-6  # a parameter with a larger part, by length, of a direction without effect is free
)
_UNSEEN = 0.1  # the size of a parameter of value 0 is the change that changes E2Es by this share
# In s or us. A smaller value counts as 0: no sum of steps shows it. As a size it would make the
# squares of its effects underflow, and their inverses overflow.
_LEAST_SIZE = 1e-30

# Factor for each row of the residuals' Jacobian, so that the squares sum to half the second
# derivative of the loss. It is the root of (rho''/2) / (dr/de)² as a function of g = r/e, with
# g = 1 for small errors. Without the factor a robust loss looks too sharp.
_BEND: Mapping[str, Callable[[FloatArray], FloatArray]] = MappingProxyType(
    {
        "squared": np.ones_like,
        # with h = √(1 + (e/C)²): g² = 2 / (1 + h), (dr/de)² = (1 + h) / 2h², rho''/2 = 1/h³
        "soft_l1": lambda g: g / np.sqrt(2 / g**2 - 1),
        "huber": lambda g: (g > 1 - 1e-9).astype(np.float64),
    }
)


@dataclass(frozen=True, eq=False)
class Problem:
    """The K free parameters of P, and M residuals of n requests, per natural scale."""

    names: tuple[str, ...]
    """All parameters [P]."""
    x: FloatArray
    """Their values [P]."""
    keep: IntArray
    """Indices in ``names`` of the free parameters [K]: neither fixed nor at a bound."""
    at_bound: Mapping[str, str]
    """Name -> which bound the parameter is at."""
    scale: FloatArray
    """Natural size of each parameter [P], in its unit."""
    root: FloatArray
    """R [M, K]; its square RᵀR is H."""
    scores: FloatArray
    """Σ r J over the residuals of each request [n, K], run by run, by arrival."""
    requests: IntArray
    """The request of each residual [M]; -1 for a mean or quantile."""
    runs: tuple[int, ...]
    """Number of requests with a residual in each run."""

    @property
    def kept_names(self) -> tuple[str, ...]:
        """The names [K] of the free parameters."""
        return tuple(self.names[i] for i in self.keep)

    @property
    def unknown_noise(self) -> str:
        """Why the noise of the residuals is unknown, or ``""``."""
        if (self.requests < 0).any():
            return "a loss with means or quantiles does not tell the noise of requests"
        if len(self.scores) <= 2 * self.keep.size:
            return (
                f"{len(self.scores)} requests are too few to tell their noise beside "
                f"{self.keep.size} parameters"
            )
        return ""

    @cached_property
    def score_covariance(self) -> FloatArray:
        """Return M [K, K]. Raises ``FitError`` if the noise is unknown.

        The sums are over all overlapping windows of √n requests of a run (Newey & West's weights).
        The mean score is subtracted, so x need not be exactly the optimum. Two factors correct for
        losses: one for the K fitted parameters, one for the subtracted mean.
        """
        if self.unknown_noise:
            raise FitError(self.unknown_noise)
        count, free = self.scores.shape
        centred: FloatArray = self.scores - self.scores.mean(axis=0)
        total: FloatArray = np.zeros((free, free))
        lost = 0.0
        for scores in np.split(centred, np.cumsum(self.runs)[:-1]):
            width = block_length(len(scores))
            lost += width * len(scores) / count
            padding = np.zeros((width, free))
            sums = np.cumsum(np.vstack((padding, scores, padding)), axis=0)
            windows = sums[width:] - sums[:-width]
            total += windows.T @ windows / width
        total *= count / (count - free) * count / (count - lost)
        return total

    def covariance(self) -> FloatArray:
        """Return H⁺ M H⁺ [K, K], the covariance of the free parameters per natural scale.

        NaN for parameters that can move without any effect.
        """
        inverse = self.inverse_curvature()
        covariance: FloatArray = inverse @ self.score_covariance @ inverse
        moving = np.linalg.norm(self._null, axis=1) > TAKES_PART
        covariance[moving] = np.nan
        covariance[:, moving] = np.nan
        return covariance

    def inverse_curvature(self) -> FloatArray:
        """Return H⁺ [K, K], the inverse of H in all directions that have an effect."""
        lengths, values, vectors = self.decomposed
        seen = values > 0
        known = vectors[:, seen] / values[seen] / lengths[:, np.newaxis]
        inverse: FloatArray = known @ known.T
        return inverse

    @cached_property
    def triangle(self) -> FloatArray:
        """A root of H with K rows at most, and the same singular values and column lengths."""
        return np.asarray(np.linalg.qr(self.root, mode="r"), dtype=np.float64)

    @cached_property
    def decomposed(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The result of ``decompose`` for the root."""
        return decompose(self.triangle)

    @property
    def _null(self) -> FloatArray:
        _, values, vectors = self.decomposed
        return vectors[:, values == 0]


def make_problem(
    objective: Objective,
    x: object,
    *,
    fixed: Collection[str] | None,
    bounds: Bounds | None,
    scale: npt.ArrayLike | Mapping[str, float] | None = None,
) -> Problem:
    """Linearise a fit. Raises ``ParameterError`` for shapes and names, ``FitError`` for data."""
    model = objective.model
    vector = Parameters.of(x, model).vector
    keep, at_bound = _free(objective, vector, fixed, bounds)
    loss, residuals, jac = objective.linearise(vector)
    if not math.isfinite(loss):
        raise FitError("the runs cannot be simulated to their end with these parameters")
    sizes = _scale(objective, vector, scale)
    per_scale = jac[:, keep] * sizes[keep]
    requests, runs = _requests(objective)
    scores = np.zeros((sum(runs), keep.size))
    about = requests >= 0
    np.add.at(scores, requests[about], residuals[about, np.newaxis] * per_scale[about])
    root = per_scale * _bend(objective, vector, residuals)[:, np.newaxis]
    return Problem(model.names, vector, keep, at_bound, sizes, root, scores, requests, runs)


def block_length(requests: int) -> int:
    """Return √n, the number of consecutive requests of a run of n that are taken together."""
    return max(1, round(math.sqrt(requests)))


def ends(bounds: Bounds | None, model: StepModel) -> tuple[FloatArray, FloatArray]:
    """Return lower and upper bounds [P]; infinite: no bound."""
    if bounds is None:
        return np.full(len(model.names), -np.inf), np.full(len(model.names), np.inf)
    if isinstance(bounds, Space):
        if bounds.model != model:
            raise ParameterError(f"bounds of the model {bounds.model}, expected those of {model}")
        return bounds.lower, bounds.upper
    lower, upper = (np.asarray(end, dtype=np.float64) for end in bounds)
    for end in (lower, upper):
        if end.shape != (len(model.names),):
            raise ParameterError(f"bounds must have shape ({len(model.names)},), got {end.shape}")
    crossed = np.flatnonzero(~(lower <= upper))
    if crossed.size:
        i = crossed[0]
        raise ParameterError(f"bounds of {model.names[i]!r}: {lower[i]:g} to {upper[i]:g}")
    return lower, upper


def _free(
    objective: Objective, x: FloatArray, fixed: Collection[str] | None, bounds: Bounds | None
) -> tuple[IntArray, dict[str, str]]:
    """Return the indices of the free parameters, and which others are at which bound."""
    model = objective.model
    if fixed is None:
        fixed = [next(iter(alias)) for alias in model.aliases]
    held = np.zeros(len(x), dtype=bool)
    held[[model.index(name) for name in ([fixed] if isinstance(fixed, str) else fixed)]] = True
    lower, upper = ends(bounds, model)
    held |= lower == upper
    with np.errstate(
        invalid="ignore", over="ignore"
    ):  # infinity minus infinity, or an overflowing width
        width = np.where(np.isfinite(upper - lower), upper - lower, 0.0)
        distance = np.minimum(x - lower, upper - x)
    near = ~held & (distance <= _NEAR * width)
    if near.any():
        near &= np.where(near, distance, 0.0) * objective.sensitivity(x) <= _UNFELT
    at_bound = {
        model.names[i]: "lower" if x[i] - lower[i] <= upper[i] - x[i] else "upper"
        for i in np.flatnonzero(near)
    }
    keep = np.flatnonzero(~held & ~near)
    if not keep.size:
        raise ParameterError("no parameter is left to look at: all are fixed or at a bound")
    return keep, at_bound


def _scale(
    objective: Objective, x: FloatArray, scale: npt.ArrayLike | Mapping[str, float] | None
) -> FloatArray:
    """Return a natural size [P] of each parameter: ``scale``, or |x|.

    For a value at or near 0 it is the change that changes E2Es by a tenth; without effect it is 1.
    """
    names = objective.model.names
    if scale is not None:
        sizes = Parameters.of(scale, objective.model).vector
        bad = np.flatnonzero((sizes < _LEAST_SIZE) | (sizes > 1 / _LEAST_SIZE))
        if bad.size:
            raise ParameterError(
                f"the scale of {names[bad[0]]!r} is {sizes[bad[0]]:g}: it must be from "
                f"{_LEAST_SIZE:g} to {1 / _LEAST_SIZE:g}"
            )
        return sizes
    sizes = np.abs(x)
    zero = sizes < _LEAST_SIZE
    if zero.any():
        effect = objective.sensitivity(x)[zero]
        sizes[zero] = np.where(effect > 0, _UNSEEN / np.where(effect > 0, effect, 1.0), 1.0)
    return sizes


def _requests(objective: Objective) -> tuple[IntArray, tuple[int, ...]]:
    """Return the request [M] of each residual, by arrival, run by run, and their numbers.

    Requests without a residual are not counted. -1 marks a residual of no single request.
    """
    found: list[IntArray] = []
    runs: list[int] = []
    for experiment in objective.experiments:
        workload = experiment.workload
        arrival_s, output_tokens = workload.arrival_s, workload.output_tokens
        measured = Measured(arrival_s, experiment.ttft, experiment.e2e, output_tokens)
        about = objective.loss.against(measured).requests
        order = np.argsort(arrival_s, kind="stable")
        present = order[np.isin(order, about)]
        place = np.empty(len(order), dtype=np.int64)
        place[present] = np.arange(present.size) + sum(runs)
        found.append(np.where(about < 0, -1, place[about]))
        runs.append(present.size)
    return np.concatenate(found), tuple(runs)


def _bend(objective: Objective, x: FloatArray, residuals: FloatArray) -> FloatArray:
    """Return the factor [M] that makes the Jacobian's rows the root of the loss's curvature."""
    loss = objective.loss
    if loss.rho == "squared":
        return np.ones_like(residuals)
    plain_loss = dataclasses.replace(loss, rho="squared", scale=None)
    with Objective(
        objective.experiments, objective.model, plain_loss, weights=objective.weights
    ) as plain:
        errors = plain.residuals(x)
    ratio = np.divide(residuals, errors, out=np.ones_like(errors), where=errors != 0)
    return _BEND[loss.rho](ratio)


def decompose(root: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return K lengths, singular values and directions [K, K] (columns) of columns of length 1.

    Unlike other scalings, this one separates no effect from a small effect. The length of a column
    of zeros is given as 1. Values below ``NULL`` times the first are set to 0.
    """
    lengths = np.linalg.norm(root, axis=0)
    lengths = np.where(lengths > 0, lengths, 1.0)
    values, vectors = singular(root / lengths)
    return lengths, np.where(values > NULL * values[0], values, 0.0), vectors


def singular(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return all K singular values of a matrix [M, K], also if M < K, and right vectors [K, K].

    The vectors are columns.
    """
    _, values, rows = np.linalg.svd(matrix, full_matrices=matrix.shape[0] < matrix.shape[1])
    padded = np.zeros(matrix.shape[1])
    padded[: values.size] = values
    return padded, rows.T
