"""What a simulation returns: latencies in request order, and how the run ended."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


class Outcome(IntEnum):
    """How a run ended. Where several apply, the largest is reported."""

    OK = 0
    """Every request finished."""
    UNFINISHED = 1
    """The events ran out, yet requests are stuck in the queue or were dropped."""
    HORIZON = 2
    """The clock passed ``horizon_s`` first."""
    NEGATIVE_STEP = 3
    """Some step had a negative length; the numbers are what the rules give."""
    HANG = 4
    """Steps would go on for ever without progress (a prompt of no tokens can do that)."""
    NON_FINITE = 5
    """A step was not a finite length, or longer than 11 days; the rest did not run."""


class Status(IntEnum):
    """Where a request was when its run ended."""

    FINISHED = 0
    RUNNING = 1
    WAITING = 2
    NOT_ARRIVED = 3
    DROPPED = 4
    """Its last token found no KV block; it has a TTFT, but left without an E2E."""


# Columns and rows as in _cdef.h (tests/test_abi.py compares them).
SUMMARY = ("outcome", "steps", "peak_kv_blocks", "engine")
DETAIL = ("status", "cached_tokens", "preemptions")
_ENGINE_NAMES = ("auto", "reference", "leap")


class SimResult:
    """One run. Unpacks as ``ttft, e2e = result``; every array is aligned with the requests."""

    __slots__ = ("_block", "_detail")

    def __init__(self, block: FloatArray, detail: npt.NDArray[np.int32]) -> None:
        self._block = block  # ttft, e2e, and the summary, whose bits are int64
        self._detail = detail

    def __iter__(self) -> Iterator[FloatArray]:
        yield self.ttft
        yield self.e2e

    @property
    def ttft(self) -> FloatArray:
        """Time to first token [R], seconds from the request's arrival; NaN: never."""
        return self._block[: self._detail.shape[1]]

    @property
    def e2e(self) -> FloatArray:
        """End-to-end latency [R], seconds from the request's arrival; NaN: never."""
        requests = self._detail.shape[1]
        return self._block[requests : 2 * requests]

    @property
    def status(self) -> npt.NDArray[np.int32]:
        """A ``Status`` for each request [R]."""
        status: npt.NDArray[np.int32] = self._detail[0]
        return status

    @property
    def cached_tokens(self) -> npt.NDArray[np.int32]:
        """Prompt tokens found in the prefix cache [R]."""
        cached: npt.NDArray[np.int32] = self._detail[1]
        return cached

    @property
    def preemptions(self) -> npt.NDArray[np.int32]:
        """How often each request was preempted [R]."""
        preemptions: npt.NDArray[np.int32] = self._detail[2]
        return preemptions

    @property
    def outcome(self) -> Outcome:
        """How the run ended."""
        return Outcome(self._summary(0))

    @property
    def steps(self) -> int:
        """Engine steps executed."""
        return self._summary(1)

    @property
    def peak_kv_blocks(self) -> int:
        """The most KV blocks in use after a step's scheduling."""
        return self._summary(2)

    @property
    def engine(self) -> str:
        """The engine that produced the numbers: "leap" or "reference"."""
        return _ENGINE_NAMES[self._summary(3)]

    def _summary(self, column: int) -> int:
        return int(self._block[2 * self._detail.shape[1] :].view(np.int64)[column])

    def __repr__(self) -> str:
        return (
            f"<SimResult: {self.ttft.size} requests, {self.outcome.name}, {self.steps} steps, "
            f"mean TTFT {_mean(self.ttft):.4g} s, mean E2E {_mean(self.e2e):.4g} s>"
        )


class BatchResult:
    """N runs of one workload. Unpacks as ``ttft, e2e = result``, both [N, R]."""

    __slots__ = ("_latency", "_summary")

    def __init__(self, latency: FloatArray, summary: npt.NDArray[np.int64]) -> None:
        self._latency, self._summary = latency, summary

    def __iter__(self) -> Iterator[FloatArray]:
        yield self.ttft
        yield self.e2e

    def __len__(self) -> int:
        return int(self._summary.shape[0])

    @property
    def ttft(self) -> FloatArray:
        """Times to first token [N, R], seconds; NaN: never."""
        ttft: FloatArray = self._latency[0]
        return ttft

    @property
    def e2e(self) -> FloatArray:
        """End-to-end latencies [N, R], seconds; NaN: never."""
        e2e: FloatArray = self._latency[1]
        return e2e

    @property
    def outcome(self) -> npt.NDArray[np.int64]:
        """An ``Outcome`` for each run [N]."""
        outcome: npt.NDArray[np.int64] = self._summary[:, 0]
        return outcome

    @property
    def steps(self) -> npt.NDArray[np.int64]:
        """Engine steps of each run [N]."""
        steps: npt.NDArray[np.int64] = self._summary[:, 1]
        return steps

    @property
    def peak_kv_blocks(self) -> npt.NDArray[np.int64]:
        """The most KV blocks in use in each run [N]."""
        peak: npt.NDArray[np.int64] = self._summary[:, 2]
        return peak

    @property
    def engine(self) -> tuple[str, ...]:
        """The engine that produced each run's numbers."""
        return tuple(_ENGINE_NAMES[code] for code in self._summary[:, 3])

    def __repr__(self) -> str:
        ok = int(np.count_nonzero(self.outcome == Outcome.OK))
        return f"<BatchResult: {len(self)} runs of {self.ttft.shape[1]} requests, {ok} OK>"


def _mean(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
