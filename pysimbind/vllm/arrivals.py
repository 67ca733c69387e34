"""When a benchmark client sends its requests: the generators of vLLM, old and new, to the bit.

``vllm bench serve`` (then ``benchmark_serving.py``) sent request 0 at once and slept a gamma
distributed gap after each request, drawn from numpy's legacy generator: shape = burstiness,
scale = 1 / (rate x burstiness), so that the mean gap is 1 / rate. Since about late July 2025 it
draws a gap before each request and rescales them all to end at n / rate (``get_request`` in vLLM's
``vllm/benchmarks/serve.py``).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .._arguments import integer, positive
from ..errors import WorkloadError

FloatArray = npt.NDArray[np.float64]


def sequential_arrivals(
    num_prompts: int, request_rate: float, *, burstiness: float = 1.0, seed: int = 0
) -> FloatArray:
    """Return the arrival times [num_prompts] in seconds of the client of mid-2025, the first at 0.

    ``request_rate`` in requests per second; infinity sends all at once. ``burstiness`` 1 is a
    Poisson process, smaller is burstier. ``seed``: 0 ... 2**32 - 1, one stream of its own.
    Raises ``WorkloadError`` for values out of range.
    """
    gaps = _gaps_s(num_prompts, request_rate, burstiness, seed)
    return np.concatenate(([0.0], np.cumsum(gaps[:-1])))


def rescaled_arrivals(
    num_prompts: int, request_rate: float, *, burstiness: float = 1.0, seed: int = 0
) -> FloatArray:
    """Return the arrival times [num_prompts] in seconds of the client since late July 2025.

    The last request is sent at num_prompts / request_rate, the first not at 0: there is a gap
    before it. Arguments and errors are those of ``sequential_arrivals``; here an infinite
    ``burstiness`` is a constant gap. A measured run counts from its first request: subtract it.
    """
    sent = np.cumsum(_gaps_s(num_prompts, request_rate, burstiness, seed, constant=True))
    if sent[-1] == 0:  # an infinite rate; or so bursty that no gap is above the least float
        return sent
    scale = num_prompts / request_rate / sent[-1]
    rescaled: FloatArray = sent * scale
    return rescaled


def arrival_deltas_us(
    num_prompts: int, request_rate: float, *, burstiness: float = 1.0, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Return the gaps [num_prompts] before each request in whole microseconds, the first 0.

    This is what the original simulator was given: each gap truncated by itself, so arrivals
    (the cumulative sum) fall behind those of ``sequential_arrivals`` by up to 1 us a request.
    """
    gaps = _gaps_s(num_prompts, request_rate, burstiness, seed)
    return np.concatenate(([0], (gaps[:-1] * 1e6).astype(np.int64)))


def _gaps_s(
    num_prompts: int, request_rate: float, burstiness: float, seed: int, constant: bool = False
) -> FloatArray:
    """Draw a gap for each request, one after the other: n - 1 of them begin as n of them do."""
    count = integer("num_prompts", num_prompts, 1, 2**31)
    start = integer("seed", seed, 0, 2**32)
    rate = positive("request_rate", request_rate)
    shape = positive("burstiness", burstiness)
    if math.isinf(shape) and not constant:
        raise WorkloadError("burstiness must be finite")
    if math.isinf(rate) or math.isinf(shape):
        return np.full(count, 1.0 / rate)
    random = np.random.RandomState(start)  # legacy on purpose: the client's stream, to the bit
    return random.gamma(shape=shape, scale=1.0 / (rate * shape), size=count)
