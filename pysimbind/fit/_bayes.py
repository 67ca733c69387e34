"""Bayesian optimisation with the settings of the original experiment, to replay it.

A Gaussian process with a Matern 5/2 kernel and upper confidence bound, after 5 random points. The
box is searched without scaling. With seed 1 the first five points are those of the original.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..errors import MissingExtraError
from ._search import Search

_RANDOM_POINTS = 5


def require_bayes() -> Any:
    """Import and return bayesian-optimization. Raises ``MissingExtraError`` without this extra."""
    try:
        import bayes_opt
    except ImportError as exc:
        raise MissingExtraError(
            "method 'bayes' needs bayesian-optimization: pip install 'pysimbind[bayes]'"
        ) from exc
    return bayes_opt


def run_bayes(search: Search, seed: int) -> None:
    """Search until the budget ends. Each point refits the process: 0.1 s, and growing."""
    bayes_opt = require_bayes()
    lower, upper = search.cube.lower, search.cube.upper
    # Numbered names keep the original's order in releases that sort names (2.0.0).
    indices = {f"p{i:02}": int(i) for i in search.free}
    worst = 0.0

    def target(**values: float) -> float:
        nonlocal worst
        x = lower.copy()  # held parameters keep their values
        for name, value in values.items():
            x[indices[name]] = value
        loss = float(search.batch(x[np.newaxis])[0])
        if np.isfinite(loss):
            worst = max(worst, loss)
        # The process cannot learn from infinity: use the worst loss so far instead.
        return -loss if np.isfinite(loss) else -worst

    optimiser = bayes_opt.BayesianOptimization(
        f=target,
        pbounds={name: (float(lower[i]), float(upper[i])) for name, i in indices.items()},
        random_state=seed,
        verbose=0,
        allow_duplicate_points=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of hyper-parameters at their bounds
        optimiser.maximize(init_points=_RANDOM_POINTS, n_iter=search.max_evals)
