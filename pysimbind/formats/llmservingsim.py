"""The measurements of LLMServingSim's ``bench``: ``requests.jsonl``, and ``meta.json`` beside it.

Source: ``bench/`` of ``casys-kaist/LLMServingSim``. Each line is a request: ``request_id``,
``input_toks``, ``output_toks``, and vLLM's own ``RequestStateStats``. These are ``arrival_time`` (s
of the wall clock), and ``queued_ts``, ``scheduled_ts``, ``first_token_ts``, ``last_token_ts`` (s of
the server's monotonic clock). To align the clocks, the request that was queued soonest after its
arrival is assumed to have been queued at once. Latencies are the server's: they include neither
network nor client.

``meta.json`` gives the server's settings: ``resolved_config.scheduler_config`` and
``cache_config``, ``kv_cache``, ``engine_kwargs``, ``vllm_version``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..experiment import Experiment
from ..vllm.settings import Known, from_mapping
from ._fields import Fields
from ._options import ReadOptions
from ._requests import Requests, aligned, experiment_of
from ._source import Source

FloatArray = npt.NDArray[np.float64]

_KEYS = ("input_toks", "output_toks", "arrival_time", "first_token_ts", "last_token_ts")
_META = "meta.json"


def detect(source: Source) -> bool:
    """Tell whether a file begins with such a request."""
    return isinstance(source.first, dict) and all(key in source.first for key in _KEYS)


def read(source: Source, options: ReadOptions) -> Experiment:
    """Make the experiment; ``ExperimentError`` names the file, line and key."""
    rows = [Fields(obj, place) for place, obj in source.documents()]

    def stamps(key: str) -> FloatArray:
        return np.array([row.number(key) for row in rows])

    start = aligned(stamps("arrival_time"), stamps("queued_ts"))
    first, last = stamps("first_token_ts"), stamps("last_token_ts")
    requests = Requests(
        start_s=start,
        input_tokens=np.array([row.count("input_toks") for row in rows]),
        output_tokens=np.array([row.count("output_toks") for row in rows]),
        ttft_s=first - start,
        e2e_s=last - start,
        failed=np.isnan(first) | np.isnan(last),
    )
    provenance: dict[str, Any] = {"source": "LLMServingSim", "clock": "the server's"}
    return experiment_of(source, options, requests, provenance, _server(source))


def _server(source: Source) -> list[Known]:
    meta = source.sibling(_META)
    if meta is None:
        return []
    top = Fields(meta.document(), meta.where)
    resolved = Fields(top.obj.get("resolved_config", {}), meta.where, "resolved_config").obj
    parts = [
        top.obj.get("engine_kwargs"),
        top.obj.get("kv_cache"),
        resolved.get("model_config"),
        resolved.get("cache_config"),
        resolved.get("scheduler_config"),
        {"vllm_version": top.obj.get("vllm_version")},
    ]
    merged: dict[str, Any] = {}
    for part in parts:
        if isinstance(part, dict):
            merged |= {key: value for key, value in part.items() if value is not None}
    return [from_mapping(merged, meta.where)]
