"""Predictions as means over runs that differ only in the phases at which requests come.

Where within the engine's step a request arrives is chance; by it two measurements of the same load
differ, and two simulations. The mean of several is nearer to the next measurement than any one.
"""

from __future__ import annotations

import operator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .results import SimResult
from .simulator import ParamsLike, Simulator

FloatArray = npt.NDArray[np.float64]

REPLICAS = 6
"""How many runs a prediction is the mean of, unless told otherwise."""

# Arrivals are moved by up to a quarter of a step to either side: enough to lose the phase.
_REACH = 0.25
_SEED = 0  # the same simulation gives the same prediction


class Replicas(NamedTuple):
    """K runs. ``result``: the first, with TTFT and E2E [R] replaced by the means over all.

    ``ttft``, ``e2e`` [K, R] in seconds are those of each run; NaN where it did not get there.
    """

    result: SimResult
    ttft: FloatArray
    e2e: FloatArray


def replicate(simulator: Simulator, params: ParamsLike, replicas: int = REPLICAS) -> Replicas:
    """Simulate one candidate as it is, and K - 1 times with arrivals moved by parts of a step.

    Each distinct arrival is moved on its own, so that every busy period of the server begins with
    another phase; requests keep their order, and those that come together stay together. A step is
    taken to be as long as the median time between a request's tokens, or where all gave one token,
    as the shortest TTFT. Where nothing was simulated to its end there is one run, K = 1. Raises
    ``InputError`` for ``replicas`` below 1.
    """
    count = _count(replicas)
    first = simulator.run(params)
    ttft, e2e = first.ttft[np.newaxis], first.e2e[np.newaxis]
    step_s = _step_s(first)
    if count > 1 and step_s > 0:
        rows = np.tile(simulator.vector(params), (count - 1, 1))
        arrival_s = _moved(simulator.workload.arrival_s, step_s, count - 1)
        others = simulator.run_batch(rows, arrival_s=arrival_s)
        ttft, e2e = np.concatenate([ttft, others.ttft]), np.concatenate([e2e, others.e2e])
    return Replicas(first.with_latencies(ttft.mean(axis=0), e2e.mean(axis=0)), ttft, e2e)


def _moved(arrival_s: FloatArray, step_s: float, count: int) -> FloatArray:
    """Return arrivals [count, R], each distinct one moved at random, in their old order."""
    distinct, which = np.unique(arrival_s, return_inverse=True)
    shifts = np.random.default_rng(_SEED).uniform(-_REACH, _REACH, (count, distinct.size))
    moved: FloatArray = np.sort(distinct + step_s * shifts, axis=1)[:, which]
    return moved


def _step_s(result: SimResult) -> float:
    gaps = result.generated_tokens - 1
    finished = np.isfinite(result.e2e)
    known = (gaps > 0) & finished
    if not known.any():
        return float(result.ttft[finished].min()) if finished.any() else 0.0
    return float(np.median((result.e2e[known] - result.ttft[known]) / gaps[known]))


def _count(replicas: object) -> int:
    try:
        count = operator.index(replicas)  # type: ignore[arg-type]  # TypeError is what we look for
    except TypeError:
        count = 0
    if isinstance(replicas, bool) or count < 1:
        raise InputError(f"replicas must be an integer >= 1, got {replicas!r}")
    return count
