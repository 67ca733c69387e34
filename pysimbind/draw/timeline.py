"""The load of the server over time, from the steps of a traced run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..results import SimResult, Status, traced
from ..trace import StepTrace

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Timeline:
    """Step functions: each value [T] holds from its ``time_s`` [T], ascending, until the next."""

    time_s: FloatArray
    """When the values change, in seconds."""
    running: IntArray
    """Requests that run."""
    waiting: IntArray
    """Requests that wait."""
    kv_blocks: IntArray
    """KV blocks in use."""


def timeline(result: SimResult) -> Timeline:
    """Return running and waiting requests, and KV blocks in use.

    They are known at each composition of a batch. They are 0 from the end of a step that leaves
    nothing to do. Raises ``InputError`` for a run without a trace.
    """
    steps = traced(result)
    idle_s = (steps.start_s + steps.duration_s)[_idle_after(steps, result)]
    nothing = np.zeros(1 + idle_s.size, np.int64)
    # Negative steps can turn the clock of blis-2025-07 back to below 0.
    begin_s = steps.composed_s.min(initial=0.0)
    time_s = np.concatenate(([begin_s], idle_s, steps.composed_s))
    order = np.argsort(time_s, kind="stable")  # a batch composed at the same time counts last
    return Timeline(
        time_s[order],
        *(
            np.concatenate((nothing, held))[order]
            for held in (steps.running, steps.waiting, steps.kv_blocks)
        ),
    )


def _idle_after(steps: StepTrace, result: SimResult) -> npt.NDArray[np.bool_]:
    """Tell for each step if everything sent before the next step had finished at its end."""
    tokens = steps.decode_tokens + steps.prefill_tokens
    numbered = np.flatnonzero(
        (tokens > 0) | (steps.preemptions == 0)
    )  # without steps that ran nothing
    last = result.last_step[result.status == Status.FINISHED]
    finished = np.cumsum(np.bincount(numbered[last], minlength=len(steps)))
    sent_s = np.sort(result.sent_s[result.status != Status.NOT_ARRIVED])
    next_s = np.append(steps.composed_s[1:], np.inf)[: len(steps)]
    idle: npt.NDArray[np.bool_] = finished >= np.searchsorted(sent_s, next_s)
    return idle
