"""The directions of the parameters' space, from the best determined to those without effect."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import ParameterError
from ._problem import TAKES_PART, FloatArray, Problem, singular


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The K singular values of a problem's root, descending, and what follows.

    ``vectors`` [K, K]: directions per natural scale, as columns; ``errors`` [K]: the standard error
    of a move along each, in natural scales, infinite where there is no effect (a value of 0), else
    NaN where the noise is unknown; ``determined`` [K]: whether that is within the tolerance, or,
    where the noise is unknown, whether there is any effect. ``null`` [K, k]: what has none, in
    units of effect, of which ``lengths`` [K] are one natural scale.
    """

    values: FloatArray
    vectors: FloatArray
    errors: FloatArray
    determined: npt.NDArray[np.bool_]
    null: FloatArray
    lengths: FloatArray


class Uncertainty:
    """Standard errors of moves and of combinations of the free parameters, in natural scales.

    NaN where the noise is unknown.
    """

    def __init__(self, problem: Problem) -> None:
        self._root = problem.triangle
        self._scores = None if problem.unknown_noise else problem.score_covariance
        self._lengths, values, vectors = problem.decomposed
        seen = values > 0
        self._null, self._known = vectors[:, ~seen], vectors[:, seen] / values[seen]

    def along(self, unit: FloatArray) -> float:
        """Return that of a move along u [K] of length 1, all else held: √(uᵀMu) / uᵀHu."""
        effect = float(np.sum((self._root @ unit) ** 2))
        if not effect > 0:
            return math.inf
        return self._deviation(unit) / effect

    def of(self, weights: FloatArray) -> float:
        """Return that of the sum [K] weights x parameters; infinite if it can move unseen."""
        per_length = weights / self._lengths
        if np.linalg.norm(self._null.T @ per_length) > TAKES_PART * np.linalg.norm(per_length):
            return math.inf
        return self._deviation(self._known @ (self._known.T @ per_length) / self._lengths)

    def _deviation(self, vector: FloatArray) -> float:
        if self._scores is None:
            return math.nan
        return math.sqrt(max(0.0, float(vector @ self._scores @ vector)))  # rounding: below 0


def make_spectrum(problem: Problem, tolerance: float) -> Spectrum:
    """Return a problem's spectrum; raises ``ParameterError`` for a bad tolerance."""
    if not 0 < tolerance < math.inf:
        raise ParameterError(f"tolerance must be a finite number > 0, got {tolerance!r}")
    lengths, seen, directions = problem.decomposed
    values, vectors = singular(problem.triangle)
    along = Uncertainty(problem).along
    errors = np.array([along(vector) for vector in vectors.T])
    # the same number of directions has no effect at all, however columns are scaled
    effect = np.arange(values.size) < np.count_nonzero(seen)
    values, errors = np.where(effect, values, 0.0), np.where(effect, errors, math.inf)
    determined = effect & ~(errors > tolerance)
    return Spectrum(values, vectors, errors, determined, directions[:, seen == 0], lengths)
