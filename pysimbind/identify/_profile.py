"""The profile likelihood of one parameter: how well the others compensate for its value.

Venzon & Moolgavkar, "A method for computing profile-likelihood-based confidence intervals", Applied
Statistics 37, 1988; Raue et al., Bioinformatics 25, 2009. Unlike a standard error, it shows bounds,
curvature, and a side where the loss never rises.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its modules load on first use

from .._io.text import table
from ..errors import FitError, ParameterError
from ..objective import Objective
from ._identifiability import standard_errors
from ._problem import Bounds, FloatArray, Problem, ends, make_problem
from ._spectrum import Uncertainty

_DAMPINGS = (
    0.0,
    1e-3,
    1e-1,
    1e1,
)  # shares of the squared largest singular value; the first that helps is used
_CUTOFF = 1e-6  # share of the same value; steps along weaker directions are left out
_LEAST_GAIN = 1e-4  # share of the loss; refits with a smaller gain end


@dataclass(frozen=True, eq=False)
class Profile:
    """The least loss at each of G values of one parameter. ``str`` gives a table."""

    name: str
    """The parameter."""
    values: FloatArray
    """Its values [G], ascending."""
    loss: FloatArray
    """The least loss at each value [G]."""
    x: FloatArray
    """The parameters with that loss [G, P]."""
    least: float
    """Minimum of a smooth curve through the loss."""
    threshold: float
    """The loss at the ends of the interval."""
    roughness: float
    """Standard deviation of the loss around a smooth curve over the grid."""
    confidence: float
    """Probability that the interval covers."""
    interval: tuple[float, float]
    """The outermost values where the loss crosses ``threshold``, interpolated; infinite where the
    grid ends below it."""

    def as_dict(self) -> dict[str, Any]:
        """Return everything but ``x`` as JSON values; None for an open end or infinite loss."""
        finite = [value if math.isfinite(value) else None for value in self.loss.tolist()]
        return {
            "name": self.name,
            "values": self.values.tolist(),
            "loss": finite,
            "least": self.least,
            "threshold": self.threshold,
            "roughness": self.roughness,
            "confidence": self.confidence,
            "interval": [end if math.isfinite(end) else None for end in self.interval],
        }

    def __str__(self) -> str:
        low, high = self.interval
        ends = (
            f"above {low:.4g}" if math.isfinite(low) else f"down to {self.values[0]:.4g} at least",
            f"below {high:.4g}" if math.isfinite(high) else f"up to {self.values[-1]:.4g} at least",
        )
        rows = [[self.name, "least loss", ""]]
        for value, loss in zip(self.values, self.loss, strict=True):
            rows.append([f"{value:.4g}", f"{loss:.6g}", "*" if loss <= self.threshold else ""])
        head = f"{self.name}, {100 * self.confidence:g} %: {' and '.join(ends)}"
        if 6 * self.roughness > self.threshold - self.least:
            head += f"\nmost of that is the loss being rough, by {self.roughness:.3g}"
        return f"{head}\n{table(rows)}"


def profile_likelihood(
    objective: Objective,
    x: object,
    name: str,
    *,
    fixed: Collection[str] | None = None,
    bounds: Bounds | None = None,
    grid: npt.ArrayLike | None = None,
    points: int = 12,
    refits: int = 5,
    confidence: float = 0.9,
) -> Profile:
    """Return the loss over values of the parameter ``name``; the others are refitted at each.

    ``x``, ``fixed`` and ``bounds`` as for ``identify``. ``bounds`` also clip the grid and the other
    parameters. ``grid``: ascending values. By default it has ``points`` values, over 4 standard
    errors to each side, or over 2 natural scales if there is no standard error. An even number
    leaves out ``x`` itself: a fit ends where the order of events happens to suit it, with a lower
    loss than all around. From ``x`` outwards, each value starts where its neighbour ended. It takes
    up to ``refits`` damped Gauss-Newton steps, linearised again before each. A ridge of the fit is
    left out.

    The threshold is ``least`` + q c + 3 ``roughness``. q is the ``confidence`` quantile of
    chi-squared with 1 degree of freedom. For independent residuals of equal variance s², c is s².
    In general c is the parameter's variance (see ``identify``) over its element of (JᵀJ)⁻¹ (Kent,
    Biometrika 69, 1982). So the interval of a linear model equals that of the standard error.

    Raises as ``identify``, also for a bad name or grid, and ``FitError`` if the noise is unknown.
    """
    j = objective.model.index(name)
    _check(points, refits, confidence)
    problem = make_problem(objective, x, fixed=fixed, bounds=bounds)
    if j not in problem.keep:
        raise ParameterError(f"{name!r} is held or at a bound: there is nothing to profile")
    box = ends(bounds, objective.model)
    values = _grid(problem, j, grid, points, box[0][j], box[1][j])
    loss, where = _Refit(objective, problem, j, box, refits).outwards(values)
    rise, roughness = _rise(problem, j, confidence), _roughness(loss)
    least = max(_least(values, loss), float(loss.min()) - rise)  # so that some losses are below
    threshold = least + rise + 3 * roughness
    return Profile(
        name=name,
        values=values,
        loss=loss,
        x=where,
        least=least,
        threshold=threshold,
        roughness=roughness,
        confidence=confidence,
        interval=_interval(values, loss, least, threshold),
    )


def _check(points: int, refits: int, confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ParameterError(f"confidence must be between 0 and 1, got {confidence!r}")
    if operator.index(points) < 2 or operator.index(refits) < 1:
        raise ParameterError(f"points must be >= 2 and refits >= 1, got {points!r}, {refits!r}")


def _rise(problem: Problem, j: int, confidence: float) -> float:
    """Return the rise of a smooth loss at the ends of the parameter's interval."""
    return float(scipy.special.chdtri(1, 1 - confidence)) * _loss_unit(problem, j)


def _loss_unit(problem: Problem, j: int) -> float:
    """Return the rise of a smooth loss one standard error away."""
    i = int(np.flatnonzero(problem.keep == j)[0])
    variance, inverse = problem.covariance()[i, i], problem.inverse_curvature()[i, i]
    if math.isnan(variance):  # it can move without effect: take the others as held
        alone = np.zeros(problem.keep.size)
        alone[i] = 1.0
        error = Uncertainty(problem).along(alone)
        return 0.0 if math.isinf(error) else float(error**2 * np.sum(problem.root[:, i] ** 2))
    return float(variance / inverse)


def _grid(
    problem: Problem,
    j: int,
    grid: npt.ArrayLike | None,
    points: int,
    lower: float,
    upper: float,
) -> FloatArray:
    if grid is None:
        error = standard_errors(problem)[j]
        reach = 2 * problem.scale[j] if math.isnan(error) else 4 * error
        values = problem.x[j] + np.linspace(-reach, reach, points)
    else:
        values = np.asarray(grid, dtype=np.float64)
        if values.ndim != 1 or values.size < 2 or not (np.diff(values) > 0).all():
            raise ParameterError("a grid needs two values or more, ascending")
    inside: FloatArray = np.unique(np.clip(values, lower, upper))
    if inside.size < 2:
        raise ParameterError(f"the grid of {problem.names[j]!r} is outside of its bounds")
    return inside


class _Refit:
    """Refits all other parameters at each value of one parameter."""

    def __init__(
        self,
        objective: Objective,
        problem: Problem,
        j: int,
        box: tuple[FloatArray, FloatArray],
        steps: int,
    ) -> None:
        self._objective, self._steps, self._j = objective, steps, j
        self._box, self._start = box, problem.x
        self._others = problem.keep[problem.keep != j]
        self._scale = problem.scale[self._others]

    def outwards(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return losses [G] and x [G, P] at values [G], from the start outwards to both sides."""
        split = int(np.searchsorted(values, self._start[self._j]))
        below = self._walk(values[:split][::-1])
        found = below[::-1] + self._walk(values[split:])
        loss, where = np.array([each[0] for each in found]), np.array([each[1] for each in found])
        if not np.isfinite(loss).any():
            name = self._objective.model.names[self._j]
            raise FitError(f"no value of {name!r} on the grid can be simulated to its end")
        return loss, where

    def _walk(self, values: FloatArray) -> list[tuple[float, FloatArray]]:
        found, x = [], self._start
        for value in values:
            loss, candidate = self._at(value, x)
            found.append((loss, candidate))
            if math.isfinite(loss):
                x = candidate
        return found

    def _at(self, value: float, start: FloatArray) -> tuple[float, FloatArray]:
        x = start.copy()
        x[self._j] = value
        point = self._objective.linearise(x)
        for _ in range(self._steps if self._others.size else 0):
            if not math.isfinite(point[0]):
                break
            step = self._better(x, *point)
            if step is None:
                break
            gained = point[0] - step[1][0] > _LEAST_GAIN * point[0]
            x, point = step
            if not gained:
                break
        return point[0], x

    def _better(
        self, x: FloatArray, loss: float, residuals: FloatArray, jac: FloatArray
    ) -> tuple[FloatArray, tuple[float, FloatArray, FloatArray]] | None:
        """Return the first damped step that lowers the loss, and its result."""
        left, values, right = np.linalg.svd(jac[:, self._others] * self._scale, full_matrices=False)
        if not values[0] > 0:
            return None
        seen = values > _CUTOFF * values[0]
        slope = (left.T @ residuals)[seen]
        for damping in _DAMPINGS:
            shrunk = values[seen] / (values[seen] ** 2 + damping * values[0] ** 2)
            candidate = x.copy()
            candidate[self._others] -= self._scale * ((shrunk * slope) @ right[seen])
            candidate = np.clip(candidate, *self._box)
            candidate[self._j] = x[self._j]
            point = self._objective.linearise(candidate)
            if point[0] < loss:
                return candidate, point
        return None


def _least(values: FloatArray, loss: FloatArray) -> float:
    """Return the minimum of the parabola through the least loss and its neighbours.

    It is the least loss itself at an end of the grid, or beside a value that cannot be simulated.
    """
    best = int(np.argmin(loss))
    if not 0 < best < loss.size - 1 or not np.isfinite(loss[best - 1 : best + 2]).all():
        return float(loss[best])
    left, right = values[best] - values[best - 1], values[best + 1] - values[best]
    down, up = (loss[best] - loss[best - 1]) / left, (loss[best + 1] - loss[best]) / right
    bend = (up - down) / (left + right)
    if not bend > 0:  # flat
        return float(loss[best])
    slope = down + bend * left  # at the least loss
    return float(max(0.0, loss[best] - slope**2 / (4 * bend)))


def _roughness(loss: FloatArray) -> float:
    """Return the standard deviation of losses [G] around a smooth curve; 0 for fewer than 4.

    It uses third differences, which are 0 for a parabola. It takes their median, because a bound,
    or values that cannot be simulated, may make a few of them large.
    """
    differences = np.abs(np.diff(loss[np.isfinite(loss)], n=3))
    if not differences.size:
        return 0.0
    return float(np.median(differences) / scipy.special.ndtri(0.75) / math.sqrt(1 + 9 + 9 + 1))


def _interval(
    values: FloatArray, loss: FloatArray, least: float, threshold: float
) -> tuple[float, float]:
    """Return the outermost values where the loss crosses the threshold; infinite: at an end."""
    below = np.flatnonzero(loss <= threshold)
    first, last = int(below[0]), int(below[-1])
    low = -math.inf if first == 0 else _between(values, loss, least, threshold, first, first - 1)
    end = last == loss.size - 1
    high = math.inf if end else _between(values, loss, least, threshold, last, last + 1)
    return low, high


def _between(
    values: FloatArray, loss: FloatArray, least: float, threshold: float, inner: int, outer: int
) -> float:
    """Return where the loss crosses the threshold between two grid points.

    It interpolates the root of the excess, which is a straight line for a parabola.
    """
    if not math.isfinite(loss[outer]):
        return float(values[inner])
    roots = [math.sqrt(max(0.0, x - least)) for x in (loss[inner], threshold, loss[outer])]
    share = (roots[1] - roots[0]) / (roots[2] - roots[0])
    return float(values[inner] + share * (values[outer] - values[inner]))
