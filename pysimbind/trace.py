"""What happened inside of a run: one row a step, and how each request spent its time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Columns as in _cdef.h (tests/test_abi.py compares them).
TIMES = ("start_s", "composed_s", "duration_s")
COUNTS = (
    "decode_tokens",
    "prefill_tokens",
    "max_prefill_tokens",
    "num_prefills",
    "context_tokens",
    "attention_pairs",
    "running",
    "waiting",
    "kv_blocks",
    "cached_tokens",
    "preemptions",
)
ENTRIES = ("step", "request", "tokens", "cached_tokens")


@dataclass(frozen=True, eq=False)
class StepTrace:
    """The steps of one run, as arrays [S] in order, and where each request's time went [R].

    Steps: ``start_s``, ``composed_s`` (when the batch was scheduled: before ``start_s`` under
    asynchronous scheduling) and ``duration_s``, in seconds; the batch: ``decode_tokens`` D,
    ``prefill_tokens`` P, ``max_prefill_tokens`` M, ``num_prefills`` N, ``context_tokens`` that the
    decoding requests had computed before (the term ctx), ``attention_pairs`` of query and key in
    the prefills (the term attn); right after scheduling:
    requests ``running`` and ``waiting``, ``kv_blocks`` in use; in this step: ``cached_tokens``
    found in the prefix cache, ``preemptions``. A batch that only preempted has a row too, of
    duration 0. ``entries`` [E, 4] is who was in them (columns ``ENTRIES``), in the scheduler's
    order; a step's preempted requests follow, with 0 tokens. See ``scheduled`` and ``preempted``.

    Requests, in seconds, NaN where it did not come to that: ``queue_time_s`` from sending to the
    start of the first step with the request, ``prefill_time_s`` from there to the first token,
    ``inter_token_s`` the mean time between tokens.
    """

    start_s: FloatArray
    composed_s: FloatArray
    duration_s: FloatArray
    decode_tokens: IntArray
    prefill_tokens: IntArray
    max_prefill_tokens: IntArray
    num_prefills: IntArray
    context_tokens: IntArray
    attention_pairs: IntArray
    running: IntArray
    waiting: IntArray
    kv_blocks: IntArray
    cached_tokens: IntArray
    preemptions: IntArray
    entries: IntArray
    queue_time_s: FloatArray
    prefill_time_s: FloatArray
    inter_token_s: FloatArray

    @classmethod
    def make(
        cls, times: FloatArray, counts: IntArray, entries: IntArray, **requests: FloatArray
    ) -> StepTrace:
        """Make a trace of ``times`` [S, TIMES], ``counts`` [S, COUNTS] and ``entries``.

        ``requests``: the fields [R] of the requests, by name.
        """
        fields: dict[str, Any] = dict(requests)
        fields |= {name: times[:, i].copy() for i, name in enumerate(TIMES)}
        fields |= {name: counts[:, i].copy() for i, name in enumerate(COUNTS)}
        return cls(entries=entries, **fields)

    def scheduled(self, step: int) -> list[tuple[int, int]]:
        """Return (request, tokens) for each request of a step, in the scheduler's order."""
        return [(int(r), int(n)) for _, r, n, _ in self._rows(step) if n > 0]

    def preempted(self, step: int) -> list[int]:
        """Return the requests that a step preempted, in order."""
        return [int(r) for _, r, n, _ in self._rows(step) if n == 0]

    def _rows(self, step: int) -> IntArray:
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} of a trace of {len(self)} steps")
        first, last = np.searchsorted(self.entries[:, 0], [step, step + 1])
        return self.entries[first:last]

    def __len__(self) -> int:
        return int(self.start_s.size)

    def __repr__(self) -> str:
        return f"<StepTrace: {len(self)} steps of {self.queue_time_s.size} requests>"
