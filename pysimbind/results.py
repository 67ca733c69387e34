"""The result of a simulation: latencies in request order, and how the run ended."""

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
    """How a run ended. If several values apply, the run reports the largest."""

    OK = 0
    """Every request finished."""
    UNFINISHED = 1
    """No events are left, but requests are stuck in the queue or were dropped."""
    HORIZON = 2
    """The clock passed ``horizon_s`` before the run ended."""
    NEGATIVE_STEP = 3
    """A step had a negative length. Under ``blis-2025-07`` the run continues by the rules; under
    ``vllm-v1`` it stops at that step."""
    HANG = 4
    """Steps would continue for ever without progress."""
    NON_FINITE = 5
    """A step had a length that was not finite, or longer than 11 days. The run stopped there."""


class Status(IntEnum):
    """The state of a request when its run ended."""

    FINISHED = 0
    RUNNING = 1
    WAITING = 2
    NOT_ARRIVED = 3
    DROPPED = 4
    """No KV block was free for its last token. It has a TTFT, but no E2E."""


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
    """One run. Unpacks as ``ttft, e2e = result``. Every array is in request order."""

    __slots__ = ("_block", "_detail", "trace")

    def __init__(
        self, block: FloatArray, detail: CountArray, trace: StepTrace | None = None
    ) -> None:
        self._block = block  # ttft, e2e, sent, scheduled; then the summary, as int64 bits
        self._detail = detail
        self.trace = trace
        """What each step did, if ``run(trace=True)`` recorded it; else None."""

    def __iter__(self) -> Iterator[FloatArray]:
        yield self.ttft
        yield self.e2e

    @property
    def ttft(self) -> FloatArray:
        """Time to first token [R], in seconds since the request was sent; NaN: no token."""
        return self._row(0)

    @property
    def e2e(self) -> FloatArray:
        """End-to-end latency [R], in seconds since the request was sent; NaN: not finished."""
        return self._row(1)

    @property
    def sent_s(self) -> FloatArray:
        """When the client sent each request [R], in seconds.

        It is the arrival; a client with ``max_concurrency`` may send later.
        """
        return self._row(2)

    @property
    def scheduled_s(self) -> FloatArray:
        """When the first step with each request began [R], in seconds; NaN: no step.

        The request waits from ``sent_s`` until then: its queue time.
        """
        return self._row(3)

    @property
    def queue_time_s(self) -> FloatArray:
        """Seconds from sending a request to its first step [R]; NaN: no step."""
        return self.scheduled_s - self.sent_s

    @property
    def prefill_time_s(self) -> FloatArray:
        """Seconds from the first step with a request to its first token [R]; NaN: no token."""
        return self.sent_s + self.ttft - self.scheduled_s

    @property
    def inter_token_s(self) -> FloatArray:
        """Mean seconds between the tokens of each request [R]; NaN: fewer than two tokens."""
        gaps = np.where(self.generated_tokens > 1, self.generated_tokens - 1.0, np.nan)
        between: FloatArray = (self.e2e - self.ttft) / gaps
        return between

    @property
    def status(self) -> CountArray:
        """The ``Status`` of each request [R]."""
        return self._count(0)

    @property
    def cached_tokens(self) -> CountArray:
        """Prompt tokens of each request in the prefix cache at its first admission [R]."""
        return self._count(1)

    @property
    def preemptions(self) -> CountArray:
        """How often each request was preempted [R]."""
        return self._count(2)

    @property
    def generated_tokens(self) -> CountArray:
        """Number of output tokens that each request received [R]."""
        return self._count(3)

    @property
    def first_step(self) -> CountArray:
        """Index of the step that gave each request its first token [R], from 0; -1: none."""
        return self._count(4)

    @property
    def last_step(self) -> CountArray:
        """Index of the step that gave each request its last token [R], from 0; -1: none."""
        return self._count(5)

    @property
    def busy_period(self) -> CountArray:
        """How many times the server had become busy when each request was sent [R]."""
        return self._count(6)

    def with_latencies(self, ttft: FloatArray, e2e: FloatArray) -> SimResult:
        """Return the same result with other TTFTs [R] and E2Es [R], in seconds."""
        block = self._block.copy()
        block[: 2 * ttft.size] = np.concatenate([ttft, e2e])
        return SimResult(block, self._detail, self.trace)

    def order_changes(self, other: SimResult) -> int:
        """Count the requests whose place in the order of events differs between two runs.

        The place of a request is its busy period, and the steps of its first and last token. While
        the order stays the same, latencies are smooth functions of the parameters, and
        ``Simulator.run_jacobian`` gives their derivatives.
        """
        return int((self._detail[_ORDER] != other._detail[_ORDER]).any(axis=0).sum())

    @property
    def outcome(self) -> Outcome:
        """How the run ended."""
        return Outcome(self._summary(0))

    @property
    def steps(self) -> int:
        """Number of engine steps that ran."""
        return self._summary(1)

    @property
    def peak_kv_blocks(self) -> int:
        """Most KV blocks in use, counted right after the scheduling of each step."""
        return self._summary(2)

    @property
    def engine(self) -> str:
        """The engine that computed the numbers: "leap" or "reference"."""
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

    ``ttft_jac``, ``e2e_jac`` [R, names]: seconds per unit of each parameter; NaN where the latency
    is NaN. ``names``: the parameters of the simulator's model, in order (coefficients in seconds,
    overheads in microseconds). ``result``: the run itself.
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

    A batch omits statuses and KV use, to be fast. ``Simulator.run`` reports them for one candidate.
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
        """Times to first token [N, R], in seconds; NaN: no token."""
        ttft: FloatArray = self._latency[0]
        return ttft

    @property
    def e2e(self) -> FloatArray:
        """End-to-end latencies [N, R], in seconds; NaN: not finished."""
        e2e: FloatArray = self._latency[1]
        return e2e

    @property
    def outcome(self) -> npt.NDArray[np.int64]:
        """The ``Outcome`` of each run [N]."""
        outcome: npt.NDArray[np.int64] = self._summary[:, 0]
        return outcome

    @property
    def steps(self) -> npt.NDArray[np.int64]:
        """Number of engine steps of each run [N]."""
        steps: npt.NDArray[np.int64] = self._summary[:, 1]
        return steps

    @property
    def engine(self) -> tuple[str, ...]:
        """The engine that computed each run's numbers."""
        return tuple(_ENGINE_NAMES[code] for code in self._summary[:, 3])

    def __repr__(self) -> str:
        ok = int(np.count_nonzero(self.outcome == Outcome.OK))
        return f"<BatchResult: {len(self)} runs of {self.ttft.shape[1]} requests, {ok} OK>"


def _mean(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


def traced(result: SimResult) -> StepTrace:
    """Return the trace of a run. Raises ``InputError`` if the run has none."""
    if result.trace is None:
        raise InputError("this run has no trace: simulate with Simulator.run(params, trace=True)")
    return result.trace
