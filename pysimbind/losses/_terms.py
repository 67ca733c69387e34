"""What a loss compares: the latencies that were measured, and its terms."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

TARGETS: tuple[str, ...] = ("ttft", "e2e", "tpot")
"""What can be compared: time to first token, end-to-end latency, time per output token after it."""

STATISTICS: Mapping[str, float | None] = MappingProxyType(
    {"mean": None, "p50": 0.50, "p90": 0.90, "p99": 0.99}
)
"""What can be compared over all requests, instead of request by request; quantiles by value."""


class Measured(NamedTuple):
    """What a loss compares with, per request [R]: arrivals, TTFTs and E2Es in seconds, NaN: failed.

    ``output_tokens`` are needed for TPOT only.
    """

    arrival_s: FloatArray
    ttft: FloatArray
    e2e: FloatArray
    output_tokens: npt.NDArray[np.int64] | None = None


class Term(NamedTuple):
    """A latency to compare, one of ``TARGETS``: per request, or one of ``STATISTICS``.

    ``weight``: above 0. A loss divides by the sum of its weights.
    """

    target: str
    statistic: str = ""
    weight: float = 1.0

    @property
    def label(self) -> str:
        """The term as ``Loss.parse`` reads it, without its weight."""
        return f"{self.target}.{self.statistic}" if self.statistic else self.target
