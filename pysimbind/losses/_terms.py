"""What a loss compares: measured latencies, and its terms."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

TARGETS: tuple[str, ...] = ("ttft", "e2e", "tpot")
"""The latencies: time to first token, end-to-end, and time per output token after it."""

STATISTICS: Mapping[str, float | None] = MappingProxyType(
    {"mean": None, "p50": 0.50, "p90": 0.90, "p99": 0.99}
)
"""The statistics over all requests that a term may compare; quantiles by value."""


class Measured(NamedTuple):
    """The measured values of R requests that a loss compares with."""

    arrival_s: FloatArray
    """Arrivals [R] in seconds."""
    ttft: FloatArray
    """Time to first token [R] in seconds; NaN: failed."""
    e2e: FloatArray
    """End-to-end latency [R] in seconds; NaN: failed."""
    output_tokens: npt.NDArray[np.int64] | None = None
    """Output lengths [R]; only TPOT needs them."""


class Term(NamedTuple):
    """One latency that a loss compares."""

    target: str
    """One of ``TARGETS``."""
    statistic: str = ""
    """One of ``STATISTICS``; ``""``: compare request by request."""
    weight: float = 1.0
    """Weight > 0. A loss divides by the sum of its weights."""

    @property
    def label(self) -> str:
        """The term as ``Loss.parse`` reads it, without its weight."""
        return f"{self.target}.{self.statistic}" if self.statistic else self.target
