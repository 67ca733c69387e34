"""Predictions as means over runs that differ only in the phase of their arrivals.

The phase is where in a step of the engine a request arrives. It is random, so two measurements of
the same load differ, and so do two simulations. A mean of several simulations is nearer to the next
measurement than a single one.
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
"""Default number of runs in the mean of a prediction."""

# Largest move of an arrival, in steps, to either side. It is enough to make the phase random.
_REACH = 0.25
_SEED = 0  # the same simulation gives the same prediction


class Replicas(NamedTuple):
    """K simulated runs of one workload."""

    result: SimResult
    """The first run; its TTFT and E2E [R] are replaced by the means over all runs."""
    ttft: FloatArray
    """Time to first token [K, R] of each run, in seconds; NaN: no first token."""
    e2e: FloatArray
    """End-to-end latency [K, R] of each run, in seconds; NaN: not finished."""


def replicate(simulator: Simulator, params: ParamsLike, replicas: int = REPLICAS) -> Replicas:
    """Simulate one candidate unchanged, and K - 1 times with arrivals moved by parts of a step.

    Each distinct arrival moves independently, so each busy period of the server begins with another
    phase. Requests keep their order, and requests that arrive together stay together. The step
    length is taken as the median time between a request's tokens. If every request gave one token,
    it is taken as the shortest TTFT. If nothing was simulated to its end, there is one run, K = 1.
    Raises ``InputError`` for ``replicas`` below 1.
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
    """Return arrivals [count, R]: each distinct one moved at random, in the same order."""
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
