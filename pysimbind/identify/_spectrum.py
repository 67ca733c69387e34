"""The directions of the parameters, from the best determined to those without effect."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import ParameterError
from ._problem import TAKES_PART, FloatArray, Problem, singular


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The K singular values of a problem's root, and what follows from them."""

    values: FloatArray
    """Singular values [K], descending."""
    vectors: FloatArray
    """Directions [K, K], as columns, per natural scale."""
    errors: FloatArray
    """Standard error of a move along each [K], in natural scales. Infinite without effect (a value
    of 0); else NaN if the noise is unknown."""
    determined: npt.NDArray[np.bool_]
    """Whether the error is within the tolerance [K]. If the noise is unknown: whether there is any
    effect."""
    null: FloatArray
    """Directions without effect [K, k], as columns, in units of effect."""
    lengths: FloatArray
    """Units of effect in one natural scale [K]."""


class Uncertainty:
    """Standard errors of moves and combinations of the free parameters, in natural scales.

    NaN if the noise is unknown.
    """

    def __init__(self, problem: Problem) -> None:
        self._root = problem.triangle
        self._scores = None if problem.unknown_noise else problem.score_covariance
        self._lengths, values, vectors = problem.decomposed
        seen = values > 0
        self._null, self._known = vectors[:, ~seen], vectors[:, seen] / values[seen]

    def along(self, unit: FloatArray) -> float:
        """Return that of a move along u [K] of length 1, others held: √(uᵀMu) / uᵀHu."""
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
        return math.sqrt(
            max(0.0, float(vector @ self._scores @ vector))
        )  # rounding may give less than 0


def make_spectrum(problem: Problem, tolerance: float) -> Spectrum:
    """Return a problem's spectrum. Raises ``ParameterError`` for a bad tolerance."""
    if not 0 < tolerance < math.inf:
        raise ParameterError(f"tolerance must be a finite number > 0, got {tolerance!r}")
    lengths, seen, directions = problem.decomposed
    values, vectors = singular(problem.triangle)
    along = Uncertainty(problem).along
    errors = np.array([along(vector) for vector in vectors.T])
    # the number of directions without any effect does not depend on the scaling of columns
    effect = np.arange(values.size) < np.count_nonzero(seen)
    values, errors = np.where(effect, values, 0.0), np.where(effect, errors, math.inf)
    determined = effect & ~(errors > tolerance)
    return Spectrum(values, vectors, errors, determined, directions[:, seen == 0], lengths)
