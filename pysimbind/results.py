"""What a simulation returns: latencies in request order, and how the run ended."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .trace import StepTrace

FloatArray = npt.NDArray[np.float64]
CountArray = npt.NDArray[np.int32]


class Outcome(IntEnum):
    """How a run ended. Where several apply, the largest is reported."""

    OK = 0
    """Every request finished."""
    UNFINISHED = 1
    """The events ran out, yet requests are stuck in the queue or were dropped."""
    HORIZON = 2
    """The clock passed ``horizon_s`` first."""
    NEGATIVE_STEP = 3
    """Some step had a negative length. Under ``blis-2025-07`` the numbers are what the rules
    give; under ``vllm-v1`` the run stops there."""
    HANG = 4
    """Steps would go on for ever without progress."""
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
DETAIL = (
    "status",
    "cached_tokens",
    "preemptions",
    "generated_tokens",
    "first_step",
    "last_step",
    "busy_period",
)
_ORDER = slice(DETAIL.index("first_step"), DETAIL.index("busy_period") + 1)
_ENGINE_NAMES = ("auto", "reference", "leap")


class SimResult:
    """One run. Unpacks as ``ttft, e2e = result``; every array is aligned with the requests."""

    __slots__ = ("_block", "_detail", "trace")

    def __init__(
        self, block: FloatArray, detail: CountArray, trace: StepTrace | None = None
    ) -> None:
        self._block = block  # ttft, e2e, sent, scheduled, and the summary, whose bits are int64
        self._detail = detail
        self.trace = trace
        """What each step did, where ``run(trace=True)`` asked for it."""

    def __iter__(self) -> Iterator[FloatArray]:
        yield self.ttft
        yield self.e2e

    @property
    def ttft(self) -> FloatArray:
        """Time to first token [R], seconds from the request's sending; NaN: never."""
        return self._row(0)

    @property
    def e2e(self) -> FloatArray:
        """End-to-end latency [R], seconds from the request's sending; NaN: never."""
        return self._row(1)

    @property
    def sent_s(self) -> FloatArray:
        """When the client sent each request [R], seconds: its arrival, or later in closed loop."""
        return self._row(2)

    @property
    def scheduled_s(self) -> FloatArray:
        """When the first step with each request began [R], seconds; NaN: none did.

        From ``sent_s`` to then the request waits: its queue time.
        """
        return self._row(3)

    @property
    def queue_time_s(self) -> FloatArray:
        """Seconds from a request's sending to the first step with it [R]; NaN: never."""
        return self.scheduled_s - self.sent_s

    @property
    def prefill_time_s(self) -> FloatArray:
        """Seconds from the first step with a request to its first token [R]; NaN: never."""
        return self.sent_s + self.ttft - self.scheduled_s

    @property
    def inter_token_s(self) -> FloatArray:
        """Mean time between the tokens of each request [R], seconds; NaN: less than two came."""
        gaps = np.where(self.generated_tokens > 1, self.generated_tokens - 1.0, np.nan)
        between: FloatArray = (self.e2e - self.ttft) / gaps
        return between

    @property
    def status(self) -> CountArray:
        """A ``Status`` for each request [R]."""
        return self._count(0)

    @property
    def cached_tokens(self) -> CountArray:
        """Prompt tokens found in the prefix cache when the request was first admitted [R]."""
        return self._count(1)

    @property
    def preemptions(self) -> CountArray:
        """How often each request was preempted [R]."""
        return self._count(2)

    @property
    def generated_tokens(self) -> CountArray:
        """Output tokens that each request was given [R]."""
        return self._count(3)

    @property
    def first_step(self) -> CountArray:
        """Number of the step that gave each request its first token [R], from 0; -1: none."""
        return self._count(4)

    @property
    def last_step(self) -> CountArray:
        """Number of the step that gave each request its last token [R]; -1: none."""
        return self._count(5)

    @property
    def busy_period(self) -> CountArray:
        """How often the server had begun to be busy when each request was sent [R]."""
        return self._count(6)

    def with_latencies(self, ttft: FloatArray, e2e: FloatArray) -> SimResult:
        """Return the same result with other TTFTs [R] and E2Es [R], in seconds."""
        block = self._block.copy()
        block[: 2 * ttft.size] = np.concatenate([ttft, e2e])
        return SimResult(block, self._detail, self.trace)

    def order_changes(self, other: SimResult) -> int:
        """Count the requests whose place in the order of events differs between two runs.

        That order is the steps that gave a request its first and last token, and the busy period
        that it fell into. While it stays as it is, latencies are smooth in the parameters, and
        ``Simulator.run_jacobian`` gives their derivatives.
        """
        return int((self._detail[_ORDER] != other._detail[_ORDER]).any(axis=0).sum())

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
        return int(self._block[4 * self._detail.shape[1] :].view(np.int64)[column])

    def _row(self, row: int) -> FloatArray:
        requests = self._detail.shape[1]
        return self._block[row * requests : (row + 1) * requests]

    def _count(self, row: int) -> CountArray:
        count: CountArray = self._detail[row]
        return count

    def __repr__(self) -> str:
        return (
            f"<SimResult: {self.ttft.size} requests, {self.outcome.name}, {self.steps} steps, "
            f"mean TTFT {_mean(self.ttft):.4g} s, mean E2E {_mean(self.e2e):.4g} s>"
        )


class Jacobian:
    """Derivatives of one run. Unpacks as ``ttft_jac, e2e_jac = jacobian``.

    ``ttft_jac``, ``e2e_jac`` [R, names]: seconds per unit of each parameter, in the order of
    ``names``, those of the simulator's model (coefficients in seconds, overheads in microseconds);
    NaN where the latency is. ``result`` is the run itself.
    """

    __slots__ = ("e2e_jac", "names", "result", "ttft_jac")

    def __init__(
        self,
        result: SimResult,
        ttft_jac: FloatArray,
        e2e_jac: FloatArray,
        names: tuple[str, ...],
    ) -> None:
        self.result, self.ttft_jac, self.e2e_jac, self.names = result, ttft_jac, e2e_jac, names

    def __iter__(self) -> Iterator[FloatArray]:
        yield self.ttft_jac
        yield self.e2e_jac

    def __repr__(self) -> str:
        return f"<Jacobian: 2 x {self.ttft_jac.shape[0]} x {self.ttft_jac.shape[1]}>"


class BatchResult:
    """N runs of one workload. Unpacks as ``ttft, e2e = result``, both [N, R].

    What a batch leaves out to be fast (statuses, KV use), ``Simulator.run`` tells of one candidate.
    """

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
    def engine(self) -> tuple[str, ...]:
        """The engine that produced each run's numbers."""
        return tuple(_ENGINE_NAMES[code] for code in self._summary[:, 3])

    def __repr__(self) -> str:
        ok = int(np.count_nonzero(self.outcome == Outcome.OK))
        return f"<BatchResult: {len(self)} runs of {self.ttft.shape[1]} requests, {ok} OK>"


def _mean(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


def traced(result: SimResult) -> StepTrace:
    """Return the trace of a run; raises ``InputError`` if it was made without one."""
    if result.trace is None:
        raise InputError("this run has no trace: simulate with Simulator.run(params, trace=True)")
    return result.trace
