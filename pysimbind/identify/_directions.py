"""The directions in which parameters can move almost unseen, few parameters at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its modules load at their first use

from ._spectrum import Uncertainty

FloatArray = npt.NDArray[np.float64]
Why = Callable[[Sequence[str], bool], str]
"""Why names go together, exactly or (False) nearly."""

_SHOWN = 4  # parameters of a direction, at most
_ENOUGH = 0.95  # of the squared length: the rest of a direction is not shown
_CLEAN = 1e-7  # of the largest component: below is rounding


@dataclass(frozen=True)
class Direction:
    """A change of parameters of which the data tell next to nothing.

    ``change``: name -> change in the parameter's unit, the largest first (by natural scale), of
    length 1 in natural scales; up to four that make up the direction, ``others`` more are small.
    ``standard_error``: of a move along it, in natural scales (1: by as much as the parameters
    themselves); infinite where it has no effect at all. ``rest_known``: whether there are two
    parameters, and what the move leaves as it is of them is determined. ``why``: a fact about the
    steps, or ``""``.
    """

    change: dict[str, float]
    others: int
    standard_error: float
    rest_known: bool
    why: str

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that make it up."""
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
        """Return the fields as JSON values; an infinite standard error as None."""
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
    """How to tell a direction: by ``names`` [K] and natural sizes ``scale`` [K].

    What has a standard error of at most ``tolerance`` is determined; ``why`` gives what explains
    that names go together, exactly or nearly.
    """

    names: Sequence[str]
    scale: FloatArray
    uncertainty: Uncertainty
    tolerance: float
    why: Why

    def weak(self, space: FloatArray) -> tuple[Direction, ...]:
        """Return directions that span ``space`` [K, k] (columns, in natural scales)."""
        return tuple(self._direction(vector, _ENOUGH) for vector in sparse_basis(space).T)

    def null(self, space: FloatArray, lengths: FloatArray) -> tuple[Direction, ...]:
        """Return directions that span ``space`` [K, k], without any effect, as exact relations.

        ``space`` is in units of effect: ``lengths`` [K] of it are one natural scale of each.
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
        """Tell whether what a move along ``unit`` leaves as it is of two parameters is known."""
        rest = np.zeros_like(unit)
        rest[[i, j]] = unit[j], -unit[i]
        error = self.uncertainty.of(rest / np.linalg.norm(rest))
        return not error > self.tolerance  # NaN: nothing speaks against it


def sparse_basis(weak: FloatArray) -> FloatArray:
    """Return vectors [K, k] that span the same space, each with k - 1 zeros or more.

    Singular vectors of nearly equal values are any mixture of each other. Each of these has a
    parameter of its own, chosen by QR with pivoting (as large as can be), that the others lack.
    """
    if not weak.shape[1]:
        return weak
    pivots = scipy.linalg.qr(weak.T, mode="r", pivoting=True)[1][: weak.shape[1]]
    basis: FloatArray = weak @ np.linalg.inv(weak[pivots])
    basis[np.abs(basis) < _CLEAN * np.abs(basis).max(axis=0)] = 0.0
    return basis


def without(space: FloatArray, taken: FloatArray) -> FloatArray:
    """Return what ``space`` [K, k] spans beside ``taken`` [K, t], orthonormal; it holds it all."""
    if not taken.shape[1]:
        return space
    basis = scipy.linalg.orth(taken / np.linalg.norm(taken, axis=0))
    left, _, _ = np.linalg.svd(space - basis @ (basis.T @ space), full_matrices=False)
    rest: FloatArray = left[:, : max(0, space.shape[1] - basis.shape[1])]
    return rest


def _known(change: dict[str, float], *, exact: bool) -> str:
    """Say what is determined, if these parameters are not."""
    if len(change) == 1:
        return "has no effect" if exact else "has too little effect"
    if len(change) > 2:
        return f"one combination of them has {'no' if exact else 'too little'} effect"
    (first, a), (second, b) = change.items()
    ratio = -a / b  # first + ratio x second stays as it is
    for value, word in ((1.0, "sum"), (-1.0, "difference")):
        if abs(ratio - value) < 0.01:
            return f"only their {word} is determined"
    sign = "+" if ratio > 0 else "-"
    return f"only {first} {sign} {abs(ratio):.3g} × {second} is determined"
