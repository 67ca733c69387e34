"""GuideLLM's report ``benchmarks.json``.

Source: ``vllm-project/guidellm``, ``GenerativeRequestStats`` in
``src/guidellm/schemas/base/request_stats.py`` and ``RequestTimings`` in ``info.py`` there; until
0.3 ``GenerativeTextResponseStats`` in ``src/guidellm/benchmark/benchmark.py``.

``benchmarks`` holds one run per load. A run's ``requests`` are ``successful``, ``incomplete`` and
``errored``. Each request has ``request_start_time`` (older: ``start_time``; s), ``request_latency``
(s), ``time_to_first_token_ms``, ``prompt_tokens`` and ``output_tokens``. Newer releases add
``cached_tokens``, and the planned time of sending, ``info.timings.targeted_start`` (s).

Requests that failed, or were cut off at the end of the run, stay in the workload, unmeasured. A
report with only a sample of the requests (``--output-sampling``) is refused, since the other
requests loaded the server too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ExperimentError
from ..experiment import Experiment
from ._fields import Fields
from ._options import ReadOptions, pick_run
from ._requests import CACHED, INTENDED, Requests, experiment_of
from ._source import Source

_STATES = ("successful", "incomplete", "errored")
_STARTS = ("request_start_time", "start_time")


def detect(source: Source) -> bool:
    """Tell whether a file is a report of GuideLLM."""
    obj = source.first
    if not isinstance(obj, dict) or not isinstance(obj.get("benchmarks"), list):
        return False
    return all(isinstance(run, dict) and "requests" in run for run in obj["benchmarks"])


def read(source: Source, options: ReadOptions) -> Experiment:
    """Make the experiment of one run; ``ExperimentError`` names the file, run and key."""
    top = Fields(source.document(), source.where)
    runs = [
        Fields(run, source.where, f"benchmarks[{i}]")
        for i, run in enumerate(top.items("benchmarks"))
    ]
    if not runs:
        raise top.error("benchmarks", "is empty")
    chosen = pick_run(options, source.where, [_described(run) for run in runs])
    run = runs[chosen]
    rows, states = _rows(run)
    _refuse_samples(run, states)
    provenance: dict[str, Any] = {"source": "GuideLLM", "run": _described(run)}
    return experiment_of(source, options, _requests(rows, states), provenance)


def _requests(rows: list[Fields], states: list[str]) -> Requests:
    ok = np.array([state == "successful" for state in states])
    intended = np.array([_targeted(row) for row in rows])
    cached = np.array([row.number("cached_tokens") for row in rows])
    facts = {INTENDED: intended, CACHED: cached}
    return Requests(
        start_s=np.array([_start(row) for row in rows]),
        input_tokens=np.array([_tokens(row, "prompt_tokens", True) for row in rows]),
        output_tokens=np.array(
            [_tokens(row, "output_tokens", good) for row, good in zip(rows, ok, strict=True)]
        ),
        ttft_s=np.array([row.number("time_to_first_token_ms") / 1e3 for row in rows]),
        e2e_s=np.array([row.number("request_latency") for row in rows]),
        failed=~ok,
        facts={name: values for name, values in facts.items() if np.isfinite(values).any()},
    )


def _rows(run: Fields) -> tuple[list[Fields], list[str]]:
    requests = run.child("requests")
    rows, states = [], []
    for state in _STATES:
        if requests.obj.get(state) is None:
            continue
        for i, obj in enumerate(requests.items(state)):
            rows.append(Fields(obj, run.where, f"{requests.at}.{state}[{i}]"))
            states.append(state)
    if not rows:
        raise run.error("requests", "hold no request: save the report with all of them")
    return rows, states


def _refuse_samples(run: Fields, states: list[str]) -> None:
    totals = run.obj.get("request_totals")
    if totals is None and isinstance(run.obj.get("metrics"), dict):
        totals = run.obj["metrics"].get("request_totals")
    if not isinstance(totals, dict):
        return
    for state in _STATES:
        made, held = totals.get(state), states.count(state)
        if isinstance(made, int) and made > held:
            raise ExperimentError(
                f"{run.where}: {run.at}: holds {held} of {made} {state} requests: the report is a "
                "sample; save it with all requests"
            )


def _described(run: Fields) -> str:
    """Return the load of a run in a few words, as far as it is known."""
    for path in (("config", "strategy"), ("args", "strategy"), ("scheduler", "strategy")):
        at: Any = run.obj
        for key in path:
            at = at.get(key) if isinstance(at, dict) else None
        if isinstance(at, dict):
            told = (f"{key} {at[key]}" for key in ("rate", "streams") if at.get(key) is not None)
            return " ".join([str(at.get("type_", "")), *told]).strip() or "unknown load"
    return "unknown load"


def _start(row: Fields) -> float:
    return next((row.number(key) for key in _STARTS if row.obj.get(key) is not None), math.nan)


def _targeted(row: Fields) -> float:
    info = row.obj.get("info")
    timings = info.get("timings") if isinstance(info, dict) else None
    if not isinstance(timings, dict):
        return math.nan
    return Fields(timings, row.where, f"{row.at}.info.timings").number("targeted_start")


def _tokens(row: Fields, key: str, needed: bool) -> int:
    """Return a token count; 0 if a failed request has none."""
    return 0 if not needed and row.obj.get(key) is None else row.count(key)
