"""Directions in which parameters can move almost unseen, each with few parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its modules load on first use

from ._spectrum import Uncertainty

FloatArray = npt.NDArray[np.float64]
Why = Callable[[Sequence[str], bool], str]
"""Why names go together, exactly or (False) nearly."""

_SHOWN = 4  # most parameters shown of a direction
_ENOUGH = 0.95  # share of the squared length that is shown of a direction
_CLEAN = 1e-7  # share of the largest component; below it, components are rounding errors


@dataclass(frozen=True)
class Direction:
    """A change of parameters that the data hardly determine."""

    change: dict[str, float]
    """Name -> change in the parameter's unit, at most four, the largest first by natural scale. The
    length is 1 in natural scales."""
    others: int
    """Number of further parameters, with small changes."""
    standard_error: float
    """Of a move along it, in natural scales (1: the size of the parameters); infinite without any
    effect."""
    rest_known: bool
    """Whether it has two parameters, and the combination that the move keeps is determined."""
    why: str
    """A fact about the steps that explains it, or ``""``."""

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters of the direction."""
        return tuple(self.change)

    def __str__(self) -> str:
        exact = not np.isfinite(self.standard_error)
        known = _known(self.change, exact=exact)
        if len(self.change) == 2 and not self.rest_known:
            known = known.replace("only", "at most", 1)
        more = f" (and {self.others} more, by little)" if self.others else ""
        why = f": {self.why}" if self.why else ""
        return f"{' ↔ '.join(self.names)}{more}: {known}{why}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, with None for an infinite standard error."""
        error = self.standard_error if np.isfinite(self.standard_error) else None
        return {
            "change": self.change,
            "others": self.others,
            "standard_error": error,
            "rest_known": self.rest_known,
            "why": self.why,
        }


@dataclass(frozen=True)
class Describe:
    """How to describe a direction."""

    names: Sequence[str]
    """The free parameters [K]."""
    scale: FloatArray
    """Their natural sizes [K]."""
    uncertainty: Uncertainty
    """Standard errors of their moves."""
    tolerance: float
    """The largest standard error of a determined direction."""
    why: Why
    """Explains why names go together, exactly or nearly."""

    def weak(self, space: FloatArray) -> tuple[Direction, ...]:
        """Return directions that span ``space`` [K, k] (columns, in natural scales)."""
        return tuple(self._direction(vector, _ENOUGH) for vector in sparse_basis(space).T)

    def null(self, space: FloatArray, lengths: FloatArray) -> tuple[Direction, ...]:
        """Return directions without any effect that span ``space`` [K, k], as exact relations.

        ``space`` is in units of effect: ``lengths`` [K] of them are one natural scale of each
        parameter.
        """
        basis = sparse_basis(space) / lengths[:, np.newaxis]
        return tuple(self._direction(vector, 1.0, math.inf) for vector in basis.T)

    def _direction(
        self, vector: FloatArray, enough: float, error: float | None = None
    ) -> Direction:
        unit = vector / np.linalg.norm(vector)
        order = np.argsort(-np.abs(unit), kind="stable")
        moving = int(np.count_nonzero(unit))
        covered = np.cumsum(unit[order] ** 2)
        count = moving if enough == 1 else int(np.searchsorted(covered, enough)) + 1
        shown = order[: min(count, _SHOWN)]
        sign = np.sign(unit[shown[0]])
        change = {self.names[i]: float(sign * unit[i] * self.scale[i]) for i in shown}
        error = self.uncertainty.along(unit) if error is None else error
        rest_known = len(shown) == 2 and self._rest_known(unit, *shown)
        exact = math.isinf(error)
        why = self.why([self.names[i] for i in (order[:moving] if exact else shown)], exact)
        return Direction(change, moving - len(shown), error, rest_known, why)

    def _rest_known(self, unit: FloatArray, i: int, j: int) -> bool:
        """Tell whether the combination of two parameters that ``unit`` keeps is determined."""
        rest = np.zeros_like(unit)
        rest[[i, j]] = unit[j], -unit[i]
        error = self.uncertainty.of(rest / np.linalg.norm(rest))
        return not error > self.tolerance  # NaN counts as known: the noise is unknown


def sparse_basis(weak: FloatArray) -> FloatArray:
    """Return vectors [K, k] that span the same space, each with k - 1 zeros or more.

    Singular vectors with nearly equal values are arbitrary mixtures. Each vector returned has one
    parameter that the others lack. QR with pivoting chooses it, as large as possible.
    """
    if not weak.shape[1]:
        return weak
    pivots = scipy.linalg.qr(weak.T, mode="r", pivoting=True)[1][: weak.shape[1]]
    basis: FloatArray = weak @ np.linalg.inv(weak[pivots])
    basis[np.abs(basis) < _CLEAN * np.abs(basis).max(axis=0)] = 0.0
    return basis


def without(space: FloatArray, taken: FloatArray) -> FloatArray:
    """Return an orthonormal basis of ``space`` [K, k] without ``taken`` [K, t], a part of it."""
    if not taken.shape[1]:
        return space
    basis = scipy.linalg.orth(taken / np.linalg.norm(taken, axis=0))
    left, _, _ = np.linalg.svd(space - basis @ (basis.T @ space), full_matrices=False)
    rest: FloatArray = left[:, : max(0, space.shape[1] - basis.shape[1])]
    return rest


def _known(change: dict[str, float], *, exact: bool) -> str:
    """Say which combination is determined, if these parameters are not."""
    if len(change) == 1:
        return "has no effect" if exact else "has too little effect"
    if len(change) > 2:
        return f"one combination of them has {'no' if exact else 'too little'} effect"
    (first, a), (second, b) = change.items()
    ratio = -a / b  # first + ratio x second does not change
    for value, word in ((1.0, "sum"), (-1.0, "difference")):
        if abs(ratio - value) < 0.01:
            return f"only their {word} is determined"
    sign = "+" if ratio > 0 else "-"
    return f"only {first} {sign} {abs(ratio):.3g} × {second} is determined"
