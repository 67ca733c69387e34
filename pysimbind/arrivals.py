"""When a benchmark client sends its requests.

``vllm bench serve`` of mid-2025 (then ``benchmark_serving.py``) sent request 0 at once and slept a
gamma distributed gap after each request, drawn from numpy's legacy generator: shape = burstiness,
scale = 1 / (rate x burstiness), so that the mean gap is 1 / rate. Since about late July 2025 it
draws a gap before each request, the first included, and rescales them to end at n / rate
(``get_request`` in ``vllm/benchmarks/serve.py``).
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import WorkloadError


def sequential_arrivals(
    num_prompts: int, request_rate: float, *, burstiness: float = 1.0, seed: int = 0
) -> npt.NDArray[np.float64]:
    """Return the arrival times [num_prompts] in seconds, the first at 0.

    ``request_rate`` in requests per second; infinity sends all at once. ``burstiness`` 1 is a
    Poisson process, smaller is burstier. ``seed``: 0 ... 2**32 - 1, one stream of its own.
    Raises ``WorkloadError`` for values out of range.
    """
    gaps = _gaps_s(num_prompts, request_rate, burstiness, seed)
    return np.concatenate(([0.0], np.cumsum(gaps)))


def rescaled_arrivals(
    num_prompts: int, request_rate: float, *, burstiness: float = 1.0, seed: int = 0
) -> npt.NDArray[np.float64]:
    """Return the arrival times [num_prompts] in seconds since the client's start.

    The last is at num_prompts / request_rate, the first after a gap of its own. Parameters and
    errors are those of ``sequential_arrivals``.
    """
    gaps = _gaps_s(num_prompts, request_rate, burstiness, seed, before_first=True)
    arrivals = np.cumsum(gaps)
    if arrivals[-1] == 0:  # an infinite rate
        return arrivals
    scale = num_prompts / request_rate / arrivals[-1]
    rescaled: npt.NDArray[np.float64] = arrivals * scale
    return rescaled


def arrival_deltas_us(
    num_prompts: int, request_rate: float, *, burstiness: float = 1.0, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Return the gaps [num_prompts] before each request in whole microseconds, the first 0.

    This is what the original simulator was given: each gap truncated by itself, so arrivals
    (the cumulative sum) fall behind those of ``sequential_arrivals`` by up to 1 us a request.
    """
    gaps = _gaps_s(num_prompts, request_rate, burstiness, seed)
    return np.concatenate(([0], (gaps * 1e6).astype(np.int64)))


def _gaps_s(
    num_prompts: int,
    request_rate: float,
    burstiness: float,
    seed: int,
    before_first: bool = False,
) -> npt.NDArray[np.float64]:
    count = _integer("num_prompts", num_prompts, 1, 2**31) - (not before_first)
    start = _integer("seed", seed, 0, 2**32)
    rate = _positive("request_rate", request_rate)
    shape = _positive("burstiness", burstiness)
    if math.isinf(shape):
        raise WorkloadError("burstiness must be finite")
    if math.isinf(rate):
        return np.zeros(count)
    random = np.random.RandomState(start)  # legacy on purpose: the client's stream, to the bit
    return random.gamma(shape=shape, scale=1.0 / (rate * shape), size=count)


def _integer(name: str, value: Any, least: int, end: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or not least <= number < end:
        raise WorkloadError(f"{name} must be an integer >= {least} and < {end}, got {value!r}")
    return number


def _positive(name: str, value: Any) -> float:
    number = math.nan if isinstance(value, (bool, str)) else float(value)
    if not number > 0:
        raise WorkloadError(f"{name} must be a number > 0, got {value!r}")
    return number
