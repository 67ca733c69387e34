"""The result file of ``vllm bench serve --save-result --save-detailed``.

Source: ``vllm/benchmarks/serve.py`` (before mid-2025 ``benchmarks/benchmark_serving.py``). Per
request: ``input_lens``, ``output_lens``, ``ttfts`` (s; 0: no token came), ``itls`` (the gaps
between tokens, s) and ``errors``. Newer releases add ``start_times`` (``time.perf_counter``, s) and
``latencies`` (s). The end-to-end latency is ``latencies``, or else TTFT plus the sum of the gaps.
Without start times, the option ``arrivals`` draws them as the client did.

A run with ``--max-concurrency`` is replayed in open loop. Its start times are the actual sends,
after any wait for another request, so they already include the client's limit. To limit them again
would delay requests by the simulator's errors. The file does not give the planned times. Drawn
arrivals are planned times: with them, the limit becomes the workload's. The provenance holds
``max_concurrency`` and ``request_rate``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ExperimentError
from ..experiment import Experiment
from ._fields import Fields
from ._options import ReadOptions, pick_run
from ._requests import Requests, experiment_of
from ._source import Source
from ._start_times import GRAMMAR, generate

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
_NAME = "vllm bench serve --save-detailed"
_RERUN = "run `vllm bench serve` again with --save-result --save-detailed"


def detect(source: Source) -> bool:
    """Tell whether a file is a result of ``vllm bench serve``, detailed or not."""
    obj = source.first
    if not isinstance(obj, dict):
        return False
    return all(key in obj for key in _SUMMARY) or ("ttfts" in obj and "itls" in obj)


def read(source: Source, options: ReadOptions) -> Experiment:
    """Make the experiment; ``ExperimentError`` names the file and the key.

    The file lacks the server's settings. It holds several runs if the client used
    ``--append-result``.
    """
    fields, provenance = chosen_run(source, options, _NAME, _PROVENANCE)
    require_details(fields, _RERUN)
    requests, note = read_requests(fields, options, _RERUN)
    return experiment_of(source, options, requests, provenance | note)


def chosen_run(
    source: Source, options: ReadOptions, name: str, told: tuple[str, ...]
) -> tuple[Fields, dict[str, Any]]:
    """Return the run to read from the JSON objects in a file, and its provenance.

    ``told``: the keys of scalars that go into the provenance.
    """
    runs = [Fields(obj, place) for place, obj in source.documents()]
    described = [f"request_rate {fields.obj.get('request_rate')}" for fields in runs]
    run = pick_run(options, source.where, described)
    provenance = {"source": name, **scalars(runs[run].obj, told)}
    if len(runs) > 1:
        return runs[run], provenance | {"run": f"{run + 1} of {len(runs)}"}
    return Fields(runs[run].obj, source.where), provenance


def require_details(fields: Fields, rerun: str) -> None:
    """Raise ``ExperimentError`` if a file has no data per request."""
    if "ttfts" not in fields.obj:
        raise ExperimentError(
            f"{fields.where}: only the summary of a benchmark, no data for each request; {rerun}"
        )
    for key in ("input_lens", "output_lens"):
        if key not in fields.obj:
            raise fields.error(key, f"missing; {rerun}")
    if "latencies" not in fields.obj and "itls" not in fields.obj:
        raise fields.error("itls", f"missing, so no end-to-end latencies; {rerun}")


def read_requests(
    fields: Fields, options: ReadOptions, newer: str
) -> tuple[Requests, dict[str, Any]]:
    """Read the arrays of a client of this family, and say where the arrivals come from."""
    inputs = fields.integers("input_lens")
    count, limit = inputs.size, fields.obj.get("max_concurrency")
    ttft = fields.numbers("ttfts", count, missing=True)
    e2e = _e2e(fields, ttft)
    silent = np.isnan(ttft) | (ttft == 0)  # 0: no first token came
    failed = _failed(fields, count)
    start, note = _start_times(fields, options, count, newer)
    if "start_times" in fields.obj:
        start = np.where(failed & (start == 0), np.nan, start)  # 0: never sent
        limit = None
    requests = Requests(
        start_s=start,
        input_tokens=inputs,
        output_tokens=fields.integers("output_lens", count),
        ttft_s=np.where(silent, np.nan, ttft),
        e2e_s=np.where(silent, np.nan, e2e),
        failed=failed,
        max_concurrency=limit,
    )
    return requests, note


def scalars(obj: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Return the scalars, ready for JSON: numbers that are not finite become text."""
    told = {key: obj[key] for key in keys if isinstance(obj.get(key), (str, int, float))}
    for key, value in told.items():
        if isinstance(value, float) and not math.isfinite(value):
            told[key] = str(value)  # JSON cannot express it
    return told


def _start_times(
    fields: Fields, options: ReadOptions, count: int, newer: str
) -> tuple[npt.NDArray[np.float64], dict[str, Any]]:
    if "start_times" in fields.obj:
        options.refuse(fields.where, ["arrivals"], "start_times in the file tell the arrivals")
        limited = fields.obj.get("max_concurrency") is not None
        note = "the actual sends under max_concurrency, replayed in open loop"
        return fields.numbers("start_times", count), {"arrivals": note} if limited else {}
    if options.arrivals is None:
        raise fields.error(
            "start_times", f"missing, so no arrivals: give arrivals={GRAMMAR}, or {newer}"
        )
    made = generate(
        options.arrivals,
        count,
        fields.where,
        rate=fields.obj.get("request_rate"),
        burstiness=fields.obj.get("burstiness"),
    )
    return made.arrival_s, {"arrivals": made.note}


def _failed(fields: Fields, count: int) -> npt.NDArray[np.bool_]:
    if "errors" not in fields.obj:
        return np.zeros(count, dtype=np.bool_)
    return np.array([bool(error) for error in fields.items("errors", count)], dtype=np.bool_)


def _e2e(fields: Fields, ttft: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if "latencies" in fields.obj:
        return fields.numbers("latencies", ttft.size, missing=True)
    gaps = fields.number_lists("itls", ttft.size)
    return np.add(ttft, [float(row.sum()) for row in gaps])
