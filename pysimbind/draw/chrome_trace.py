"""A run as a timeline for Perfetto (https://ui.perfetto.dev) or ``chrome://tracing``.

It uses the trace event format, in its JSON object form: "X" complete events for engine steps and
the phases of requests, "C" counters, "M" names of tracks. Times are in microseconds, with
nanosecond resolution.
"""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .._io.files import write_bytes
from ..results import SimResult, Status, traced
from ..trace import StepTrace
from .timeline import timeline

Event = dict[str, Any]

_SERVER, _REQUESTS = 1, 2  # process ids: groups of tracks
_STEP_ARGS = {
    "D": "decode_tokens",
    "P": "prefill_tokens",
    "M": "max_prefill_tokens",
    "N": "num_prefills",
    "running": "running",
    "waiting": "waiting",
    "kv_blocks": "kv_blocks",
    "cached_tokens": "cached_tokens",
    "preemptions": "preemptions",
}
_PHASES = ("queued", "prefill", "decode")


def chrome_trace(result: SimResult) -> dict[str, Any]:
    """Return the trace of a run as JSON values.

    Process 1 is the server. Its steps are named after what they did, with D, P, M, N and the state
    after scheduling. Steps that overlap get separate tracks; only ``blis-2025-07`` begins a step
    before the last one is over. Counters show requests and KV blocks. Process 2 has one track per
    request that was sent: queued, prefill (until its first token), decode. A phase without end
    lasts until the end of the trace. A step of negative length is drawn with length 0. Events after
    the names are in order of time. Raises ``InputError`` for a run without a trace.
    """
    steps = traced(result)
    events = [*_steps(steps), *_counters(result), *_phases(result, steps)]
    events.sort(key=lambda event: event["ts"])
    return {"traceEvents": [*_names(events), *events], "displayTimeUnit": "ms"}


def save_chrome_trace(result: SimResult, path: str | os.PathLike[str]) -> None:
    """Write ``chrome_trace(result)`` in one piece, with gzip if the name ends in ``.gz``.

    Raises ``OutputError`` if the file cannot be written.
    """
    text = json.dumps(chrome_trace(result), separators=(",", ":"), allow_nan=False)
    write_bytes(path, text.encode())


def _steps(steps: StepTrace) -> Iterator[Event]:
    columns = {key: getattr(steps, name).tolist() for key, name in _STEP_ARGS.items()}
    start, end = _ns(steps.start_s), _ns(steps.start_s + steps.duration_s)
    lanes = [(min(start, default=0), 1)]  # (free from, number), the earliest first
    for i in np.argsort(start, kind="stable").tolist():
        args = {key: column[i] for key, column in columns.items()}
        begin, lane = start[i], len(lanes) + 1
        if lanes[0][0] <= begin + 1:  # rounding may make neighbours overlap by 1 ns
            free, lane = heapq.heappop(lanes)
            begin = max(begin, free)
        heapq.heappush(lanes, (max(begin, end[i]), lane))
        yield _complete(_kind(args), _SERVER, lane, begin, end[i], args)


def _kind(args: dict[str, int]) -> str:
    if args["N"]:
        return "mixed" if args["D"] else "prefill"
    return "decode" if args["D"] else "preemption"


def _counters(result: SimResult) -> Iterator[Event]:
    line = timeline(result)
    values = zip(_ns(line.time_s), line.running, line.waiting, line.kv_blocks, strict=True)
    for at, running, waiting, kv_blocks in values:
        requests = {"running": int(running), "waiting": int(waiting)}
        for name, args in (("requests", requests), ("kv_blocks", {"used": int(kv_blocks)})):
            yield {"name": name, "ph": "C", "pid": _SERVER, "ts": at / 1000, "args": args}


def _phases(result: SimResult, steps: StepTrace) -> Iterator[Event]:
    sent = result.sent_s
    borders = np.stack((sent, sent + steps.queue_time_s, sent + result.ttft, sent + result.e2e))
    ends = np.concatenate((borders.ravel(), steps.start_s + steps.duration_s))
    last = _ns(np.array([np.nanmax(ends, initial=0.0)]))[0]
    for i in np.flatnonzero(~np.isnan(sent)).tolist():
        args = {
            "status": Status(int(result.status[i])).name.lower(),
            "generated_tokens": int(result.generated_tokens[i]),
            "cached_tokens": int(result.cached_tokens[i]),
            "preemptions": int(result.preemptions[i]),
        }
        known = borders[: 1 + _known(borders[1:, i]), i]
        at = [*_ns(known), last][: len(borders)]
        for name, begin, end in zip(_PHASES, at, at[1:], strict=False):
            if end > begin:
                yield _complete(name, _REQUESTS, i + 1, begin, end, args)


def _known(borders: npt.NDArray[np.float64]) -> int:
    """Count the phases that ended: the borders before the first NaN."""
    return int(np.logical_and.accumulate(~np.isnan(borders)).sum())


def _complete(name: str, pid: int, tid: int, begin: int, end: int, args: Any) -> Event:
    return {
        "name": name,
        "cat": "step" if pid == _SERVER else "request",
        "ph": "X",
        "pid": pid,
        "tid": tid,
        "ts": begin / 1000,
        "dur": max(end - begin, 0) / 1000,
        "args": args,
    }


def _names(events: list[Event]) -> Iterator[Event]:
    for pid, name in ((_SERVER, "server"), (_REQUESTS, "requests")):
        yield _name("process_name", pid, 0, {"name": name})
    for pid, tid in sorted({(event["pid"], event["tid"]) for event in events if "tid" in event}):
        name = f"request {tid - 1}" if pid == _REQUESTS else "steps"
        yield _name("thread_name", pid, tid, {"name": name})
        yield _name("thread_sort_index", pid, tid, {"sort_index": tid})


def _name(kind: str, pid: int, tid: int, args: dict[str, Any]) -> Event:
    return {"name": kind, "ph": "M", "pid": pid, "tid": tid, "args": args}


def _ns(seconds: npt.NDArray[np.float64]) -> list[int]:
    nanoseconds: list[int] = np.rint(seconds * 1e9).astype(np.int64).tolist()
    return nanoseconds
