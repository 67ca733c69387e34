"""Bayesian optimisation with the settings of the original experiment, to replay it.

A Gaussian process with a Matern 5/2 kernel, upper confidence bound, 5 random points first; the
box is searched as it is. The first five points of seed 1 are those that the original drew.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..errors import MissingExtraError
from ._search import Search

_RANDOM_POINTS = 5


def require_bayes() -> Any:
    """Import and return bayesian-optimization, an extra; raise ``MissingExtraError`` without it."""
    try:
        import bayes_opt
    except ImportError as exc:
        raise MissingExtraError(
            "method 'bayes' needs bayesian-optimization: pip install 'pysimbind[bayes]'"
        ) from exc
    return bayes_opt


def run_bayes(search: Search, seed: int) -> None:
    """Search until the budget ends. Each point costs a fit of the process: 0.1 s and growing."""
    bayes_opt = require_bayes()
    lower, upper = search.cube.lower, search.cube.upper
    # Numbers for names, so that it is the original's order in releases that sort names (2.0.0) too.
    indices = {f"p{i:02}": int(i) for i in search.free}
    worst = 0.0

    def target(**values: float) -> float:
        nonlocal worst
        x = lower.copy()  # held parameters stay at their value
        for name, value in values.items():
            x[indices[name]] = value
        loss = float(search.batch(x[np.newaxis])[0])
        if np.isfinite(loss):
            worst = max(worst, loss)
        # The process can't learn from infinity: take the worst loss that was seen.
        return -loss if np.isfinite(loss) else -worst

    optimiser = bayes_opt.BayesianOptimization(
        f=target,
        pbounds={name: (float(lower[i]), float(upper[i])) for name, i in indices.items()},
        random_state=seed,
        verbose=0,
        allow_duplicate_points=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the process's own hyper-parameters at their bounds
        optimiser.maximize(init_points=_RANDOM_POINTS, n_iter=search.max_evals)
