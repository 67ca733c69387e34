"""The profile likelihood of one parameter: how well the others can make up for its value.

Venzon & Moolgavkar, "A method for computing profile-likelihood-based confidence intervals", Applied
Statistics 37, 1988; Raue et al., Bioinformatics 25, 2009. Unlike a standard error it sees bounds,
curvature, and a side to which the loss never rises.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import stats

from .._text import table
from ..errors import FitError, ParameterError
from ._identifiability import standard_errors
from ._problem import FloatArray, Problem, as_vector, make_problem, place

_DAMPINGS = (0.0, 1e-3, 1e-1, 1e1)  # of the squared largest singular value; the first that helps
_CUTOFF = 1e-6  # of it: steps along weaker directions are left out
_LEAST_GAIN = 1e-4  # of the loss: less, and the others are refitted


class Linearised(Protocol):
    """What is profiled: ``Objective``, or anything with its ``linearise``."""

    def linearise(self, x: FloatArray, /) -> tuple[float, FloatArray, FloatArray]:
        """Return the loss of x [P], the residuals [M] whose squares it is, and their Jacobian."""


@dataclass(frozen=True, eq=False)
class Profile:
    """The least loss [G] at each value [G] of one parameter; ``str`` of it is a table.

    ``x`` [G, P]: where that loss is. ``interval``: the values between which the loss stays below
    ``threshold``, interpolated; infinite on a side where it still does at the end of the grid.
    """

    name: str
    values: FloatArray
    loss: FloatArray
    x: FloatArray
    threshold: float
    confidence: float
    interval: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        """Return all but ``x`` as JSON values; an open end, and a loss of infinity, as None."""
        finite = [value if math.isfinite(value) else None for value in self.loss.tolist()]
        return {
            "name": self.name,
            "values": self.values.tolist(),
            "loss": finite,
            "threshold": self.threshold,
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
        return f"{head}\n{table(rows)}"


def profile_likelihood(
    objective: Linearised,
    x: npt.ArrayLike,
    name: str,
    *,
    names: Sequence[str],
    grid: npt.ArrayLike | None = None,
    points: int = 11,
    free: Collection[str] | None = None,
    at_bound: Collection[str] = (),
    bounds: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    scale: npt.ArrayLike | None = None,
    refits: int = 5,
    confidence: float = 0.95,
) -> Profile:
    """Return the loss over values of the parameter ``name``, the others refitted at each.

    ``names`` [P], ``x`` [P] the optimum, ``scale``, ``free`` and ``at_bound`` as for
    ``identifiability``. ``grid``: the values, ascending; by default ``points`` of them over 4
    standard errors to each side, or over 2 natural scales where there is none. ``bounds``: lower
    and upper [P], to which the grid and the others are clipped. From ``x`` outwards, each value
    starts where its neighbour ended: up to ``refits`` damped Gauss-Newton steps, linearised anew
    before each. The threshold is L (1 + q / (M - k)), with L the least loss, M residuals, k
    directions, and q the ``confidence`` quantile of chi-squared with 1 degree of freedom.

    Raises as ``identifiability``; ``ParameterError`` for an unknown or held name and a bad grid.
    """
    names = tuple(names)
    start = as_vector(x, names, "x")
    j = place(name, names, "the profile")
    if not 0 < confidence < 1:
        raise ParameterError(f"confidence must be between 0 and 1, got {confidence!r}")
    _, residuals, jac = objective.linearise(start)
    problem = make_problem(jac, residuals, names, start, scale=scale, free=free, at_bound=at_bound)
    if j not in problem.keep:
        raise ParameterError(f"{name!r} is held or at a bound: there is nothing to profile")
    lower, upper = _box(bounds, names)
    values = _grid(problem, j, grid, points, lower[j], upper[j])
    refit = _Refit(objective, problem, j, lower, upper, refits)
    found = refit.outwards(values)
    loss, where = np.array([each[0] for each in found]), np.array([each[1] for each in found])
    if not np.isfinite(loss).any():
        raise FitError(f"no value of {name!r} on the grid can be simulated to its end")
    spare = problem.residuals.size - refit.directions
    least = min(float(loss.min()), float(problem.residuals @ problem.residuals))
    threshold = least * (1 + float(stats.chi2.ppf(confidence, 1)) / spare)
    interval = _interval(values, loss, threshold)
    return Profile(name, values, loss, where, threshold, confidence, interval)


def _box(
    bounds: tuple[npt.ArrayLike, npt.ArrayLike] | None, names: tuple[str, ...]
) -> tuple[FloatArray, FloatArray]:
    if bounds is None:
        return np.full(len(names), -np.inf), np.full(len(names), np.inf)
    return as_vector(bounds[0], names, "bounds"), as_vector(bounds[1], names, "bounds")


def _grid(
    problem: Problem,
    j: int,
    grid: npt.ArrayLike | None,
    points: int,
    lower: float,
    upper: float,
) -> FloatArray:
    if grid is None:
        error = standard_errors(problem)[0][j]
        reach = 2 * problem.scale[j] if math.isnan(error) else 4 * error
        values = problem.x[j] + np.linspace(-reach, reach, max(3, points))
    else:
        values = np.asarray(grid, dtype=np.float64)
        if values.ndim != 1 or values.size < 2 or not (np.diff(values) > 0).all():
            raise ParameterError("a grid needs two values or more, ascending")
    inside: FloatArray = np.unique(np.clip(values, lower, upper))
    if inside.size < 2:
        raise ParameterError(f"the grid of {problem.names[j]!r} is outside of its bounds")
    return inside


class _Refit:
    """Refits all but one parameter at each value of it."""

    def __init__(
        self,
        objective: Linearised,
        problem: Problem,
        j: int,
        lower: FloatArray,
        upper: FloatArray,
        steps: int,
    ) -> None:
        self._objective, self._steps, self._j = objective, steps, j
        self._lower, self._upper, self._start = lower, upper, problem.x
        self._others = problem.keep[problem.keep != j]
        self._scale = problem.scale[self._others]
        self.directions = int(np.linalg.matrix_rank(problem.scaled_jac))

    def outwards(self, values: FloatArray) -> list[tuple[float, FloatArray]]:
        """Return the loss and x at each value, walking away from the start on both sides."""
        split = int(np.searchsorted(values, self._start[self._j]))
        below = self._walk(values[:split][::-1])
        return below[::-1] + self._walk(values[split:])

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
        """Return the first damped step that lowers the loss, and what it leads to."""
        left, values, right = np.linalg.svd(jac[:, self._others] * self._scale, full_matrices=False)
        if not values[0] > 0:
            return None
        seen = values > _CUTOFF * values[0]
        slope = (left.T @ residuals)[seen]
        for damping in _DAMPINGS:
            shrunk = values[seen] / (values[seen] ** 2 + damping * values[0] ** 2)
            candidate = x.copy()
            candidate[self._others] -= self._scale * ((shrunk * slope) @ right[seen])
            candidate = np.clip(candidate, self._lower, self._upper)
            candidate[self._j] = x[self._j]
            point = self._objective.linearise(candidate)
            if point[0] < loss:
                return candidate, point
        return None


def _interval(values: FloatArray, loss: FloatArray, threshold: float) -> tuple[float, float]:
    """Return where the loss crosses the threshold, on both sides of its least."""
    best = int(np.argmin(loss))
    low = _crossing(values[best::-1], loss[best::-1], threshold)
    high = _crossing(values[best:], loss[best:], threshold)
    return (-math.inf if low is None else low), (math.inf if high is None else high)


def _crossing(values: FloatArray, loss: FloatArray, threshold: float) -> float | None:
    """Return the first value at which the loss rises above the threshold; None: it does not.

    Between grid points by a line in the root of the excess, which is straight for a parabola.
    """
    above = np.flatnonzero(loss > threshold)
    if not above.size:
        return None
    i = int(above[0])
    if i == 0 or not math.isfinite(loss[i]):
        return float(values[max(0, i - 1)])
    floor = float(loss[0])
    roots = [math.sqrt(max(0.0, each - floor)) for each in (loss[i - 1], threshold, loss[i])]
    share = (roots[1] - roots[0]) / (roots[2] - roots[0])
    return float(values[i - 1] + share * (values[i] - values[i - 1]))
