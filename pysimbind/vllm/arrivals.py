"""When a benchmark client sends its requests: vLLM's generators, old and new, bit for bit.

The old ``vllm bench serve`` (then ``benchmark_serving.py``) sent request 0 at once, and slept a
gamma distributed gap after each request. Numpy's legacy generator drew the gaps, with shape =
burstiness and scale = 1 / (rate x burstiness), so the mean gap is 1 / rate. Since about late July
2025 the client draws a gap before each request. It then rescales all gaps so that they end at n /
rate (``get_request`` in vLLM's ``vllm/benchmarks/serve.py``).
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

    ``request_rate``: requests per second; infinity sends all at once. ``burstiness``: 1 is a
    Poisson process, smaller is burstier. ``seed``: 0 ... 2**32 - 1, a random stream of its own.
    Raises ``WorkloadError`` for values out of range.
    """
    gaps = _gaps_s(num_prompts, request_rate, burstiness, seed)
    return np.concatenate(([0.0], np.cumsum(gaps[:-1])))


def rescaled_arrivals(
    num_prompts: int, request_rate: float, *, burstiness: float = 1.0, seed: int = 0
) -> FloatArray:
    """Return the arrival times [num_prompts] in seconds of the client since late July 2025.

    The last request is sent at num_prompts / request_rate. The first is not sent at 0: there is a
    gap before it. A measured run counts from its first request, so subtract this gap to compare.
    Arguments and errors are those of ``sequential_arrivals``; an infinite ``burstiness`` is
    allowed, and gives a constant gap.
    """
    sent = np.cumsum(_gaps_s(num_prompts, request_rate, burstiness, seed, constant=True))
    if sent[-1] == 0:  # an infinite rate, or gaps so bursty that all of them underflow to 0
        return sent
    scale = num_prompts / request_rate / sent[-1]
    rescaled: FloatArray = sent * scale
    return rescaled


def arrival_deltas_us(
    num_prompts: int, request_rate: float, *, burstiness: float = 1.0, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Return the gaps [num_prompts] before each request in whole microseconds, the first 0.

    The original simulator read these gaps. Each gap is truncated on its own. So the arrivals (the
    cumulative sum) are earlier than those of ``sequential_arrivals``, by up to 1 us per request.
    """
    gaps = _gaps_s(num_prompts, request_rate, burstiness, seed)
    return np.concatenate(([0], (gaps[:-1] * 1e6).astype(np.int64)))


def _gaps_s(
    num_prompts: int, request_rate: float, burstiness: float, seed: int, constant: bool = False
) -> FloatArray:
    """Draw one gap per request, in order: n - 1 gaps are the beginning of n gaps."""
    count = integer("num_prompts", num_prompts, 1, 2**31)
    start = integer("seed", seed, 0, 2**32)
    rate = positive("request_rate", request_rate)
    shape = positive("burstiness", burstiness)
    if math.isinf(shape) and not constant:
        raise WorkloadError("burstiness must be finite")
    if math.isinf(rate) or math.isinf(shape):
        return np.full(count, 1.0 / rate)
    random = np.random.RandomState(start)  # the legacy generator, since the client uses it
    return random.gamma(shape=shape, scale=1.0 / (rate * shape), size=count)
