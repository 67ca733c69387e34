"""CMA-ES: pycma proposes, each population is simulated in one batch, restarts grow (IPOP).

Auger & Hansen, "A restart CMA evolution strategy with increasing population size", CEC 2005.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ._search import FloatArray, Search

# Populations of 4 times pycma's usual size: an evaluation costs less than the overhead of asking
# for it, and the loss has steps where requests change batches, over which small populations stall.
_POPULATION_FACTOR = 4
# Generations without an improvement by _IMPROVEMENT (relative) before a restart: on the plateaus of
# a truncated clock pycma's own tests wait a few times longer, in vain.
_PATIENCE = 40
_IMPROVEMENT = 1e-3
_SIGMA = 0.3  # of the cube's width: half of it lies within 5/3 standard deviations of its middle


def require_cma() -> Any:
    """Import and return pycma: it takes half a second, so not before a fit needs it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where matplotlib or moarchiving is missing
        import cma

    return cma


def run_cmaes(search: Search, seed: int) -> None:
    """Search until the budget ends; every restart begins at random with twice the population.

    The first begins in the middle of the box, or where that is infinite, at what is known.
    """
    rng = np.random.default_rng(seed)
    dimension = _dimension(search)
    population = _population(dimension)
    start = np.full(dimension, 0.5)
    if search.open:
        start[: search.free.size] = search.unit(search.starts[-1][1])
    while True:
        _run_once(search, rng, start, _SIGMA, population)
        start = rng.random(dimension)
        population *= 2


def refine(search: Search, seed: int, sigma: float, evaluations: int) -> int:
    """Search around the best so far, at first ``sigma`` wide; return the evaluations."""
    begun = search.nfev
    rng = np.random.default_rng(seed)
    dimension = _dimension(search)
    start = np.full(dimension, 0.5)
    start[: search.free.size] = search.unit(search.best_x)
    _run_once(search, rng, start, sigma, _population(dimension), begun + evaluations)
    return search.nfev - begun


def _dimension(search: Search) -> int:
    return max(2, search.free.size)  # pycma needs two: a lone parameter gets a dummy beside it


def _population(dimension: int) -> int:
    return _POPULATION_FACTOR * (4 + int(3 * np.log(dimension)))


def _run_once(
    search: Search,
    rng: np.random.Generator,
    start: FloatArray,
    sigma: float,
    population: int,
    until: float = np.inf,
) -> None:
    options = {
        "popsize": population,
        "randn": lambda *shape: rng.standard_normal(shape),
        "seed": np.nan,  # leave numpy's global state alone
        "verbose": -10,  # print nothing, and look for no signals file in the working directory
        "verb_log": 0,
        "tolfun": 0,  # it is absolute, and losses have no scale
    }
    strategy = require_cma().CMAEvolutionStrategy(start, sigma, options)
    best, stalled = np.inf, 0
    while stalled < _PATIENCE and search.nfev < until and not strategy.stop():
        proposed = strategy.ask()
        loss = search.unit_batch(np.asarray(proposed)[:, : search.free.size])
        strategy.tell(proposed, _rankable(loss).tolist())
        improved = loss.min() < best * (1 - _IMPROVEMENT)
        stalled = 0 if improved else stalled + 1
        best = min(best, loss.min())


def _rankable(loss: FloatArray) -> FloatArray:
    """Put infeasible candidates behind the worst feasible one: only ranks matter to CMA-ES."""
    feasible = np.isfinite(loss)
    worst = loss[feasible].max() if feasible.any() else 0.0
    return np.where(feasible, loss, 10 * worst + 1)
