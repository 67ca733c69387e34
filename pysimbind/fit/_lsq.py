"""Least squares: Gauss-Newton with renewal derivatives, first for few terms, then for all.

Each step minimises the linearised loss within the bounds. It is damped (Levenberg, "A method for
the solution of certain non-linear problems in least squares", 1944) and shortened in several ways.
One batch simulates all these candidates, and the best loss decides: the loss has jumps that
derivatives do not show. Parameters are scaled by their effect (``Search.scale``), so that damping
treats them alike.
"""

from __future__ import annotations

import numpy as np

from ._search import FloatArray, IndexArray, Search

_DAMPINGS = (0.0, 1e-5, 1e-3, 1e-1)  # of the largest diagonal element of JᵀJ
_LENGTHS = (1.0, 0.4)
_LEAST_GAIN = 2e-3  # of the best loss: a step that gains less counts as failed
# The phase of a run is random, and changes the loss by some percent. A lucky phase is no reason to
# stay at a point. So losses that differ by less than _TIE count as equal, and the boldest of such
# steps is taken. And _PATIENCE failed steps in a row are taken, unless they lose more than _NOISE.
_TIE = 0.03
_PATIENCE = 3
_NOISE = 0.1
_ROUNDING = 1e-12  # of the same element: keeps the normal equations solvable
# Stalled: the linear model promised to gain this share of the loss, and no step gained it.
_PROMISE = 0.3


def run_lsq(search: Search, seed: int) -> None:
    """Search from each start until steps gain no more, or the search ends."""
    descend_all(search)


def require_lsq() -> object:
    """Import scipy's bounded linear least squares. The import is slow, so only a fit does it."""
    from scipy.optimize import lsq_linear

    return lsq_linear


def descend_all(search: Search) -> bool:
    """Descend from each start. Return whether the best descent stalled."""
    ends: list[tuple[float, bool]] = []
    for name, x in search.starts:
        if 0 < search.few.size < search.free.size:
            x, _, _ = descend(search, x, search.few)
        x, loss, stalled = descend(search, x, search.free)
        end = (
            f"{loss:.4g} {search.unit_name}"
            if np.isfinite(loss)
            else "parameters that cannot be simulated"
        )
        search.note(f"least squares from {name} ended at {end}")
        ends.append((loss, stalled))
    return min(ends)[1]


def descend(search: Search, x: FloatArray, free: IndexArray) -> tuple[FloatArray, float, bool]:
    """Return the best point that Gauss-Newton with ``free`` finds, its loss, and if it stalled."""
    best_x, best, waited, stalled = x, np.inf, 0, True
    while True:
        loss, r, jac = search.linearise(x)
        if not np.isfinite(loss):
            return best_x, best, True
        if loss < best:
            best_x, best = x, loss
        steps, promised = _steps(search, x, r, jac, free)
        losses = search.batch(steps)
        i = int(np.argmin(losses))
        stalled = promised < best * (1 - _PROMISE)
        waited = 0 if losses[i] < best * (1 - _LEAST_GAIN) else waited + 1
        if losses[i] < best:
            best_x, best = steps[i], float(losses[i])
        if waited > _PATIENCE or not losses[i] < best * (1 + _NOISE):
            return best_x, best, stalled
        x = steps[
            int(np.argmax(losses <= losses[i] * (1 + _TIE)))
        ]  # argmax takes the first, which is the boldest


def _steps(
    search: Search, x: FloatArray, r: FloatArray, jac: FloatArray, free: IndexArray
) -> tuple[FloatArray, float]:
    """Return candidates [N, names], and the smallest loss that the linear model promises."""
    from scipy.optimize import lsq_linear

    scale = search.scale[free]
    lower, upper = search.space.lower[free], search.space.upper[free]
    with np.errstate(over="ignore"):  # a bound that far away is no bound
        z, low, high = x[free] / scale, lower / scale, upper / scale
    scaled = jac[:, free] * scale
    normal, slope = scaled.T @ scaled, scaled.T @ r
    largest = max(float(normal.diagonal().max()), np.finfo(float).tiny)
    # lsq_linear needs room on both sides
    box = (np.minimum(low - z, -np.finfo(float).tiny), np.maximum(high - z, np.finfo(float).tiny))
    candidates = np.repeat(x[np.newaxis], len(_DAMPINGS) * len(_LENGTHS), axis=0)
    promised = np.inf
    for i, damping in enumerate(_DAMPINGS):
        root = np.linalg.cholesky(normal + (damping + _ROUNDING) * largest * np.eye(free.size))
        step = lsq_linear(root.T, -np.linalg.solve(root, slope), box, method="bvls").x
        promised = min(promised, float(r @ r + 2 * step @ slope + step @ normal @ step))
        for k, length in enumerate(_LENGTHS):
            moved = np.clip((z + length * step) * scale, lower, upper)
            candidates[i * len(_LENGTHS) + k, free] = moved
    return candidates, promised
