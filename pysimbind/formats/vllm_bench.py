"""The result file of ``vllm bench serve --save-result --save-detailed``.

Per request: ``input_lens``, ``output_lens``, ``start_times`` (seconds of any clock), ``ttfts``,
``itls`` (the gaps between tokens, s), ``latencies`` (s; newer releases only) and ``errors``.
Arrivals are the start times minus the earliest, requests sorted by them. The end-to-end latency is
``latencies`` where present, else TTFT plus the sum of the gaps.

A run with ``--max-concurrency`` is replayed in open loop all the same: its start times are when
each request was really sent, after any wait for another to complete, so they hold the client's
limit already, and limiting them again would delay requests by the simulator's errors. The file
does not tell when the client would have sent them without the limit. ``max_concurrency`` and
``request_rate`` stand in the provenance.

A request that failed loaded the server all the same: it stays in the workload with what it
generated, and its latencies are NaN. One that was never sent (start time 0) is left out.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from ..config import ServerConfig
from ..errors import ExperimentError
from ..experiment import Experiment
from ..workload import Workload
from ._fields import Fields, located

_SUMMARY = ("completed", "total_input_tokens", "request_throughput")
_PROVENANCE = (
    "date",
    "backend",
    "endpoint_type",
    "model_id",
    "tokenizer_id",
    "num_prompts",
    "request_rate",
    "burstiness",
    "max_concurrency",
    "duration",
)
_RERUN = "run `vllm bench serve` again with --save-result --save-detailed"


def detect(obj: object) -> bool:
    """Tell whether parsed JSON is a result of ``vllm bench serve``, detailed or not."""
    if not isinstance(obj, dict):
        return False
    return all(key in obj for key in _SUMMARY) or ("ttfts" in obj and "itls" in obj)


def read(obj: object, where: str, config: ServerConfig | None) -> Experiment:
    """Make the experiment of parsed JSON; ``ExperimentError`` names the file and the key.

    The file does not tell the server's settings: without ``config``, vLLM's defaults are taken.
    """
    fields = Fields(obj, where)
    _require_details(fields)
    start = fields.numbers("start_times")
    count = start.size
    failed = _failed(fields, count)
    ttft = fields.numbers("ttfts", count, missing=True)
    e2e = _e2e(fields, ttft)
    unmeasured = failed | np.isnan(ttft) | (ttft == 0)  # 0: no first token came
    sent = np.flatnonzero(~(failed & (start == 0)))
    if sent.size == 0:
        raise ExperimentError(f"{where}: no request was sent to the server; {_RERUN}")
    order = sent[np.argsort(start[sent], kind="stable")]
    with located(where):
        return Experiment(
            name=os.path.basename(where).removesuffix(".gz").removesuffix(".json"),
            workload=Workload(
                start[order] - start[order[0]],
                fields.integers("input_lens", count)[order],
                fields.integers("output_lens", count)[order],
            ),
            config=config or ServerConfig(),
            ttft=np.where(unmeasured, np.nan, ttft)[order],
            e2e=np.where(unmeasured, np.nan, e2e)[order],
            provenance=_provenance(fields, config, int(failed.sum()), count - sent.size),
        )


def _require_details(fields: Fields) -> None:
    if "ttfts" not in fields.obj:
        raise ExperimentError(
            f"{fields.where}: only the summary of a benchmark, no data for each request; {_RERUN}"
        )
    if "start_times" not in fields.obj:
        raise fields.error("start_times", f"missing, so no arrivals; with a newer vLLM, {_RERUN}")
    for key in ("input_lens", "output_lens"):
        if key not in fields.obj:
            raise fields.error(key, f"missing; {_RERUN}")
    if "latencies" not in fields.obj and "itls" not in fields.obj:
        raise fields.error("itls", f"missing, so no end-to-end latencies; {_RERUN}")


def _failed(fields: Fields, count: int) -> npt.NDArray[np.bool_]:
    if "errors" not in fields.obj:
        return np.zeros(count, dtype=np.bool_)
    return np.array([bool(error) for error in fields.items("errors", count)], dtype=np.bool_)


def _e2e(fields: Fields, ttft: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if "latencies" in fields.obj:
        return fields.numbers("latencies", ttft.size, missing=True)
    gaps = fields.number_lists("itls", ttft.size)
    return np.add(ttft, [float(row.sum()) for row in gaps])


def _provenance(
    fields: Fields, config: ServerConfig | None, failed: int, unsent: int
) -> dict[str, Any]:
    told = {key: fields.obj[key] for key in _PROVENANCE if fields.obj.get(key) is not None}
    for key, value in told.items():
        if isinstance(value, float) and not math.isfinite(value):
            told[key] = str(value)  # JSON has no word for it
    told["source"] = "vllm bench serve --save-detailed"
    if "max_concurrency" in told:
        told["arrivals"] = "the actual sends under max_concurrency, replayed in open loop"
    if config is None:
        told["config"] = "server settings are not in the file: vLLM's defaults are assumed"
    if failed:
        told["failed"] = f"{failed} requests failed: latencies not measured"
    if unsent:
        told["unsent"] = f"{unsent} requests were never sent: left out"
    return told
