"""CMA-ES: pycma proposes, one batch simulates each population, and restarts grow (IPOP).

Auger & Hansen, "A restart CMA evolution strategy with increasing population size", CEC 2005.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ._search import FloatArray, Search

# Populations have 4 times pycma's usual size. An evaluation costs less than pycma's overhead per
# proposal. And the loss jumps where requests change batches, which stalls small populations.
_POPULATION_FACTOR = 4
# Generations without a relative improvement by _IMPROVEMENT before a restart. On the plateaus of a
# truncated clock, pycma's own tests would wait a few times longer, without any gain.
_PATIENCE = 40
_IMPROVEMENT = 1e-3
_SIGMA = 0.3  # of the cube's width: its walls are 5/3 standard deviations from its middle


def require_cma() -> Any:
    """Import and return pycma. The import takes half a second, so only a fit does it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns if matplotlib or moarchiving is missing
        import cma

    return cma


def run_cmaes(search: Search, seed: int) -> None:
    """Search until the budget ends. Each restart begins at random, with twice the population.

    The first search begins in the middle of the box, or at known parameters if the box is infinite.
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
    """Search around the best point, at first ``sigma`` wide. Return the number of evaluations."""
    begun = search.nfev
    rng = np.random.default_rng(seed)
    dimension = _dimension(search)
    start = np.full(dimension, 0.5)
    start[: search.free.size] = search.unit(search.best_x)
    _run_once(search, rng, start, sigma, _population(dimension), begun + evaluations)
    return search.nfev - begun


def _dimension(search: Search) -> int:
    return max(2, search.free.size)  # pycma needs two: a single parameter gets a dummy second one


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
        "verbose": -10,  # print nothing, and read no signals file in the working directory
        "verb_log": 0,
        "tolfun": 0,  # an absolute tolerance, but losses have no scale
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
    """Put infeasible candidates behind the worst feasible one. CMA-ES uses only the ranks."""
    feasible = np.isfinite(loss)
    worst = loss[feasible].max() if feasible.any() else 0.0
    return np.where(feasible, loss, 10 * worst + 1)
