"""scipy's L-BFGS-B and Nelder-Mead, from many starts."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._search import FloatArray, Search
from ._starts import search_from_starts

_SIMPLEX = 0.1  # width of Nelder-Mead's first simplex, in the unit cube


def require_minimize() -> Any:
    """Import and return scipy's function. The import takes half a second, so only a fit does it."""
    from scipy.optimize import minimize

    return minimize


def run_lbfgsb(search: Search, seed: int) -> None:
    """Search with gradients until starts around the best gain nothing, or the search ends."""
    minimize = require_minimize()
    worst = 0.0

    def loss_and_gradient(u: FloatArray) -> tuple[float, FloatArray]:
        nonlocal worst
        loss, r, jac = search.unit_linearise(u)
        if not np.isfinite(loss):
            return 10 * worst + 1, np.zeros(u.size)  # its line search cannot return from infinity
        worst = max(worst, loss)
        return loss, 2 * (r @ jac)

    def descend(u: FloatArray) -> None:
        # no bounds: the cube is folded into the box
        minimize(loss_and_gradient, u, jac=True, method="L-BFGS-B")

    search_from_starts(search, seed, descend)


def run_nelder_mead(search: Search, seed: int) -> None:
    """Search without derivatives until starts around the best gain nothing, or the search ends."""
    minimize = require_minimize()

    def loss(u: FloatArray) -> float:
        return min(float(search.unit_batch(u[np.newaxis])[0]), np.finfo(float).max)

    def descend(u: FloatArray) -> None:
        simplex = np.vstack([u, u + np.where(u < 0.5, _SIMPLEX, -_SIMPLEX) * np.eye(u.size)])
        options = {
            "initial_simplex": simplex,
            "adaptive": True,
            "maxfev": search.max_evals,
            "maxiter": search.max_evals,
            "xatol": 1e-3,
            "fatol": np.inf,  # an absolute tolerance, but losses have no scale
        }
        minimize(loss, u, method="Nelder-Mead", options=options)

    search_from_starts(search, seed, descend)
