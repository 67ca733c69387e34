"""Least squares: Gauss-Newton steps with renewal derivatives, damped by trying, from many starts.

Levenberg, "A method for the solution of certain non-linear problems in least squares", 1944. Each
step is tried with a dozen dampings in one batch, since the loss has jumps that derivatives don't
see: what counts is what the loss itself says of each.
"""

from __future__ import annotations

import numpy as np

from ._search import FloatArray, Search
from ._starts import search_from_starts

_DAMPINGS = 10.0 ** np.linspace(-8, 1, 12)  # of the largest diagonal element of JᵀJ
_LONGEST_STEP = 0.5  # of the cube's width, in any coordinate
_LEAST_GAIN = 1e-2  # of the loss: less is left to other starts


def run_lsq(search: Search, seed: int) -> None:
    """Search until starts around the best help no more, or the search ends."""
    search_from_starts(search, seed, lambda u: _descend(search, u))


def _descend(search: Search, u: FloatArray) -> None:
    while True:
        loss, r, jac = search.linearise(u)
        if not np.isfinite(loss):
            return
        candidates = u + _steps(r, jac)
        losses = search.unit_batch(candidates)
        best = int(np.argmin(losses))
        if not losses[best] < loss * (1 - _LEAST_GAIN):
            return
        u = candidates[best]


def _steps(r: FloatArray, jac: FloatArray) -> FloatArray:
    """Return the steps [dampings, free] that minimise |r + J s|² + damping |s|²."""
    normal = jac.T @ jac
    scale = max(float(normal.diagonal().max()), np.finfo(float).tiny)
    values, vectors = np.linalg.eigh(normal / scale)
    slope = vectors.T @ (jac.T @ r) / scale
    # rounding can make the eigenvalue of a direction without effect negative
    curvature = np.maximum(values, 0) + _DAMPINGS[:, np.newaxis]
    steps: FloatArray = -(slope / curvature) @ vectors.T
    longest = np.abs(steps).max(axis=1, keepdims=True)
    steps *= _LONGEST_STEP / np.maximum(longest, _LONGEST_STEP)
    return steps
