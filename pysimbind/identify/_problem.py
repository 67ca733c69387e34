"""The linearised fit that everything here looks at: which parameters, how scaled, how noisy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FitError, ParameterError, nearest

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Of the largest singular value of the Jacobian with columns of length 1: below, a direction has no
# effect but for rounding. Derivatives summed over thousands of steps are good to about 1e-12.
NULL = 1e-9


@dataclass(frozen=True, eq=False)
class Problem:
    """The K parameters of P that are looked at, and M residuals r(x + change) = r + jac change.

    ``keep`` [K]: their places in ``names`` [P]; ``scale`` [P]: a natural size of each, in its unit;
    ``jac`` [M, K]: of those kept, per unit of each.
    """

    names: tuple[str, ...]
    x: FloatArray
    keep: IntArray
    scale: FloatArray
    jac: FloatArray
    residuals: FloatArray

    @property
    def scaled_jac(self) -> FloatArray:
        """The Jacobian [M, K] per natural scale of each parameter."""
        return self.jac * self.scale[self.keep]

    @property
    def kept_names(self) -> tuple[str, ...]:
        """The names [K] of the parameters that are looked at."""
        return tuple(self.names[i] for i in self.keep)


def make_problem(
    jac: npt.ArrayLike,
    residuals: npt.ArrayLike,
    names: Sequence[str],
    x: npt.ArrayLike,
    *,
    scale: npt.ArrayLike | None,
    free: Collection[str] | None,
    at_bound: Collection[str],
) -> Problem:
    """Check shapes, names and numbers; raises ``ParameterError``, and ``FitError`` for data."""
    names = tuple(names)
    vector = as_vector(x, names, "x")
    keep = kept(names, free, at_bound)
    r = np.asarray(residuals, dtype=np.float64)
    matrix = np.asarray(jac, dtype=np.float64)
    if r.ndim != 1 or matrix.shape != (r.size, len(names)):
        raise ParameterError(
            f"jac must have shape (residuals, {len(names)}), got {matrix.shape} with residuals of "
            f"shape {r.shape}"
        )
    if not (np.isfinite(matrix[:, keep]).all() and np.isfinite(r).all()):
        raise FitError(
            "residuals or derivatives are not finite: the parameters cannot be simulated to the end"
        )
    sizes = scales(vector, scale, names, keep)
    return Problem(names, vector, keep, sizes, matrix[:, keep], r)


def kept(
    names: tuple[str, ...], free: Collection[str] | None, at_bound: Collection[str] = ()
) -> IntArray:
    """Return the places of the parameters that are free (None: all) and not at a bound."""
    for what, given in (("free", free or ()), ("at_bound", at_bound)):
        for name in given:
            place(name, names, what)
    chosen = [i for i, n in enumerate(names) if (free is None or n in free) and n not in at_bound]
    if not chosen:
        raise ParameterError("no parameter is left to look at: all are held or at a bound")
    return np.array(chosen, dtype=np.int64)


def place(name: str, names: tuple[str, ...], where: str) -> int:
    """Return the place of a name, or raise ``ParameterError`` with the nearest."""
    if name not in names:
        raise ParameterError(f"unknown parameter {name!r} in {where}{nearest(str(name), names)}")
    return names.index(name)


def scales(
    x: FloatArray, scale: npt.ArrayLike | None, names: tuple[str, ...], keep: IntArray
) -> FloatArray:
    """Return a natural size [P] of each parameter: ``scale``, or its |x|."""
    sizes = np.abs(x) if scale is None else as_vector(scale, names, "scale")
    bad = keep[sizes[keep] <= 0]
    if bad.size:
        name = names[bad[0]]
        raise ParameterError(
            f"the scale of {name!r} is {sizes[bad[0]]:g}, it must be > 0: give scale, or leave "
            "the parameter out by free or at_bound"
        )
    return sizes


def as_vector(values: Any, names: tuple[str, ...], what: str) -> FloatArray:
    """Return finite numbers [P], of an array or of a mapping with every name."""
    if isinstance(values, Mapping):
        for name in values:
            place(name, names, what)
        missing = [name for name in names if name not in values]
        if missing:
            raise ParameterError(f"{what}: {missing[0]!r} is missing: every name needs a value")
        values = [values[name] for name in names]
    vector = np.asarray(getattr(values, "vector", values), dtype=np.float64)
    if vector.shape != (len(names),):
        raise ParameterError(f"{what} must have shape ({len(names)},), got {vector.shape}")
    bad = np.flatnonzero(~np.isfinite(vector))
    if bad.size:
        raise ParameterError(f"{what}: {names[bad[0]]!r} is {vector[bad[0]]}: it must be finite")
    return vector


def noise_variance(problem: Problem, fitted: int) -> float:
    """Return s² = |r|² / (M - fitted), the variance of a residual; ``fitted``: directions."""
    spare = problem.residuals.size - fitted
    if spare <= 0:
        raise FitError(
            f"{problem.residuals.size} residuals cannot tell their noise, for {fitted} directions "
            "are fitted to them: measure more requests, or hold parameters"
        )
    return float(problem.residuals @ problem.residuals) / spare


def decompose(jac: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return K lengths, singular values and directions [K, K] (columns) of columns of length 1.

    Unlike those of any other scaling, they tell an effect that is nil from one that is small. The
    length of a column of zeros is given as 1. Values below ``NULL`` of the first are set to 0.
    """
    lengths = np.linalg.norm(jac, axis=0)
    lengths = np.where(lengths > 0, lengths, 1.0)
    values, vectors = singular(jac / lengths)
    return lengths, np.where(values > NULL * values[0], values, 0.0), vectors


def is_determined(values: FloatArray, noise: float, tolerance: float) -> npt.NDArray[np.bool_]:
    """Tell for singular values [K] per natural scale whether noise/value is within a tolerance.

    What rounding may have made of 0 is not.
    """
    above_rounding = values > np.finfo(float).eps * values.size * values[0]
    return np.asarray((noise <= tolerance * values) & above_rounding)


def singular(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return all K singular values of a matrix [M, K], also if M < K, and its right vectors [K, K].

    The vectors are columns.
    """
    _, values, rows = np.linalg.svd(matrix, full_matrices=matrix.shape[0] < matrix.shape[1])
    padded = np.zeros(matrix.shape[1])
    padded[: values.size] = values
    return padded, rows.T
