"""Arrival processes: when requests are sent.

``pysimbind.vllm.arrivals`` has the generators of vLLM's benchmark client as functions. Here they
are classes, like all other processes. The first request arrives at 0, except in ``VllmBench``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from .._arguments import integer, non_negative, positive
from .._io.files import read_json
from ..errors import WorkloadError
from ..vllm.arrivals import arrival_deltas_us, rescaled_arrivals, sequential_arrivals
from ..workload import FloatArray
from ._spec import parse_kind

__all__ = [
    "ARRIVALS",
    "Arrivals",
    "AtOnce",
    "Bursts",
    "Constant",
    "Gamma",
    "Original",
    "Replayed",
    "VllmBench",
    "VllmBench2025",
    "as_arrivals",
]


class Arrivals(ABC):
    """An arrival process."""

    @abstractmethod
    def times(self, num_requests: int, seed: np.random.SeedSequence) -> FloatArray:
        """Return arrival times [num_requests] in seconds: non-decreasing, >= 0."""


@dataclass(frozen=True)
class AtOnce(Arrivals):
    """All requests at 0, as vLLM's ``--request-rate inf``."""

    def times(self, num_requests: int, seed: np.random.SeedSequence) -> FloatArray:
        """Return zeros [num_requests]."""
        return np.zeros(num_requests)


@dataclass(frozen=True)
class Constant(Arrivals):
    """``rate`` requests per second, with equal gaps."""

    rate: float

    def __post_init__(self) -> None:
        positive("rate", self.rate)

    def times(self, num_requests: int, seed: np.random.SeedSequence) -> FloatArray:
        """Return times [num_requests] in seconds, 1 / rate apart."""
        return np.arange(num_requests) / self.rate


@dataclass(frozen=True)
class Gamma(Arrivals):
    """``rate`` requests per second, with gamma distributed gaps.

    ``burstiness`` is vLLM's: the shape of the distribution. 1 is a Poisson process, smaller is
    burstier, infinity gives constant gaps. The gaps' coefficient of variation is 1 /
    sqrt(burstiness).
    """

    rate: float
    burstiness: float = 1.0

    def __post_init__(self) -> None:
        positive("rate", self.rate)
        positive("burstiness", self.burstiness)

    def times(self, num_requests: int, seed: np.random.SeedSequence) -> FloatArray:
        """Return times [num_requests] in seconds."""
        if math.isinf(self.burstiness) or math.isinf(self.rate):
            return Constant(self.rate).times(num_requests, seed)
        scale = 1.0 / (self.rate * self.burstiness)
        gaps = np.random.default_rng(seed).gamma(self.burstiness, scale, num_requests - 1)
        return np.concatenate(([0.0], np.cumsum(gaps)))


@dataclass(frozen=True)
class Bursts(Arrivals):
    """``size`` requests at once, every ``period_s`` seconds."""

    size: int
    period_s: float

    def __post_init__(self) -> None:
        integer("size", self.size, 1, 2**31)
        positive("period_s", self.period_s, finite=True)

    def times(self, num_requests: int, seed: np.random.SeedSequence) -> FloatArray:
        """Return times [num_requests] in seconds."""
        times: FloatArray = np.arange(num_requests) // self.size * np.float64(self.period_s)
        return times


@dataclass(frozen=True)
class Replayed(Arrivals):
    """Recorded ``times_s`` in seconds of any clock, counted from the first, ``speed`` times faster.

    If there are more times than requests, the first ones are used. Fewer are an error.
    """

    times_s: tuple[float, ...]
    speed: float = 1.0

    def __post_init__(self) -> None:
        given: Iterable[Any] = self.times_s
        checked = [non_negative(f"time {i}", value) for i, value in enumerate(given)]
        late = np.flatnonzero(np.diff(checked) < 0)
        if late.size:
            before, after = checked[late[0] : late[0] + 2]
            raise WorkloadError(
                f"time {late[0] + 1} ({after} s) is before time {late[0]} ({before} s): sort them"
            )
        object.__setattr__(self, "times_s", tuple(checked))
        positive("speed", self.speed, finite=True)

    def times(self, num_requests: int, seed: np.random.SeedSequence) -> FloatArray:
        """Return times [num_requests] in seconds; ``WorkloadError`` if there are fewer."""
        if num_requests > len(self.times_s):
            raise WorkloadError(
                f"{len(self.times_s)} recorded arrivals for {num_requests} requests"
            )
        times = np.array(self.times_s[:num_requests])
        replayed: FloatArray = (times - times[0]) / self.speed
        return replayed


@dataclass(frozen=True)
class VllmBench(Arrivals):
    """``vllm bench serve`` since late July 2025: see ``rescaled_arrivals``.

    ``seed`` is the client's ``--seed``. None uses the workload's seed.
    """

    rate: float
    burstiness: float = 1.0
    seed: int | None = None

    _generator: ClassVar[Callable[..., FloatArray]] = staticmethod(rescaled_arrivals)

    def __post_init__(self) -> None:
        self.times(1, np.random.SeedSequence(0))  # raises for values out of range

    def times(self, num_requests: int, seed: np.random.SeedSequence) -> FloatArray:
        """Return times [num_requests] in seconds, bit for bit those of the client."""
        start = seed.entropy if self.seed is None else self.seed
        return self._generator(num_requests, self.rate, burstiness=self.burstiness, seed=start)


@dataclass(frozen=True)
class VllmBench2025(VllmBench):
    """The benchmark client until July 2025: see ``sequential_arrivals``."""

    _generator = staticmethod(sequential_arrivals)


def _original(*args: Any, **options: Any) -> FloatArray:
    return np.cumsum(arrival_deltas_us(*args, **options)) / 1e6


@dataclass(frozen=True)
class Original(VllmBench):
    """The script of the original experiment, in whole microseconds: see ``arrival_deltas_us``."""

    _generator = staticmethod(_original)


def _poisson(rate: float) -> Gamma:
    return Gamma(rate)  # whose burstiness is 1


def _replayed(file: str, speed: float = 1.0) -> Replayed:
    """Read the times from a JSON file with a list of seconds."""
    listed = read_json(file, WorkloadError)
    if not isinstance(listed, list):
        raise WorkloadError(f"{file}: must be a JSON list of arrival times in seconds")
    try:
        return Replayed(tuple(listed), speed)
    except WorkloadError as exc:
        raise WorkloadError(f"{file}: {exc}") from None


ARRIVALS: Mapping[str, Any] = MappingProxyType(
    {
        "at-once": AtOnce,
        "constant": Constant,
        "poisson": _poisson,
        "gamma": Gamma,
        "bursts": Bursts,
        "replayed": _replayed,
        "vllm-bench": VllmBench,
        "vllm-bench-2025": VllmBench2025,
        "original": Original,
    }
)
"""The kinds that a text may name."""


def as_arrivals(value: Arrivals | str) -> Arrivals:
    """Return a process itself, or parse a text.

    Texts: ``"at-once"``, ``"constant:rate=8"``, ``"poisson:rate=8"``, ``"gamma:rate=8,
    burstiness=0.5"``, ``"bursts:size=16,period_s=2"``, ``"replayed:file=times.json,speed=2"``,
    ``"vllm-bench:rate=8"``, ``"vllm-bench-2025:rate=8"``, ``"original:rate=30,seed=42"``. Raises
    ``WorkloadError`` for anything else.
    """
    if isinstance(value, Arrivals):
        return value
    if not isinstance(value, str):
        raise WorkloadError(f"arrivals must be a text or Arrivals, got {type(value).__name__}")
    process: Arrivals = parse_kind(value, "arrivals", ARRIVALS)
    return process
