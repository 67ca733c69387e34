"""What happened inside a run: one row per step, and how each request spent its time."""

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
    """The S steps of one run in order, and where the time of each of R requests went.

    A batch that only preempted has a row too, of duration 0. Times of requests are NaN if the
    request did not reach that state. See also ``scheduled`` and ``preempted``.
    """

    start_s: FloatArray
    """When each step began [S], in seconds."""
    composed_s: FloatArray
    """When the batch was scheduled [S], in seconds; before ``start_s`` if asynchronous."""
    duration_s: FloatArray
    """How long each step took [S], in seconds."""
    decode_tokens: IntArray
    """D, tokens decoded [S]."""
    prefill_tokens: IntArray
    """P, prefill tokens [S]."""
    max_prefill_tokens: IntArray
    """M, tokens of the largest prefill chunk [S]."""
    num_prefills: IntArray
    """N, requests that prefill [S]."""
    context_tokens: IntArray
    """Tokens of the decoding requests that were computed before [S]; the term ctx."""
    attention_pairs: IntArray
    """Pairs of query and key in the prefills [S]; the term attn."""
    running: IntArray
    """Requests that run, right after scheduling [S]."""
    waiting: IntArray
    """Requests that wait, right after scheduling [S]."""
    kv_blocks: IntArray
    """KV blocks in use, right after scheduling [S]."""
    cached_tokens: IntArray
    """Prompt tokens found in the prefix cache in this step [S]."""
    preemptions: IntArray
    """Requests preempted in this step [S]."""
    entries: IntArray
    """Requests in each step [E, 4], columns ``ENTRIES``, in the scheduler's order. The preempted
    requests of a step come last, with 0 tokens."""
    queue_time_s: FloatArray
    """Seconds from sending a request to the start of its first step [R]."""
    prefill_time_s: FloatArray
    """Seconds from the start of a request's first step to its first token [R]."""
    inter_token_s: FloatArray
    """Mean seconds between the tokens of a request [R]."""

    @classmethod
    def make(
        cls, times: FloatArray, counts: IntArray, entries: IntArray, **requests: FloatArray
    ) -> StepTrace:
        """Make a trace from ``times`` [S, TIMES], ``counts`` [S, COUNTS] and ``entries``.

        ``requests``: the fields [R] of the requests, by name.
        """
        fields: dict[str, Any] = dict(requests)
        fields |= {name: times[:, i].copy() for i, name in enumerate(TIMES)}
        fields |= {name: counts[:, i].copy() for i, name in enumerate(COUNTS)}
        return cls(entries=entries, **fields)

    def scheduled(self, step: int) -> list[tuple[int, int]]:
        """Return (request, tokens) for each request in a step, in the scheduler's order."""
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
