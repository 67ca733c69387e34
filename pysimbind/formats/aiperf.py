"""AIPerf's ``profile_export.jsonl``: one JSON object per line and request.

Source: ``ai-dynamo/aiperf``, ``docs/tutorials/working-with-profile-exports.md`` and
``MetricRecordMetadata``. ``metadata.request_start_ns`` (any clock, ns) is the time of sending, and
``credit_issued_ns`` (newer releases) the planned time. ``metrics`` hold values with a unit:
``time_to_first_token``, ``request_latency``, ``input_sequence_length`` (for a failed request
``error_isl``), and ``output_sequence_length`` (older: ``output_token_count``). If the server
reported them, there are also ``usage_prompt_tokens`` and ``usage_prompt_cache_read_tokens``.
``error`` is null unless the request failed. Requests with a ``benchmark_phase`` other than
``profiling`` are warm-up.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ..experiment import Experiment
from ._fields import Fields
from ._options import ReadOptions
from ._requests import CACHED, CLIENT_INPUT, INTENDED, SERVER_INPUT, Requests, experiment_of
from ._source import Source

FloatArray = npt.NDArray[np.float64]

_SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_MEASURED = "profiling"
_NS = 1e-9


def detect(source: Source) -> bool:
    """Tell whether a file begins with a record of AIPerf."""
    obj = source.first
    if not isinstance(obj, dict) or "metrics" not in obj:
        return False
    return isinstance(obj.get("metadata"), dict) and "request_start_ns" in obj["metadata"]


def read(source: Source, options: ReadOptions) -> Experiment:
    """Make the experiment; ``ExperimentError`` names the file, line and key."""
    records = [Fields(obj, place) for place, obj in source.documents()]
    metas = [record.child("metadata") for record in records]
    metrics = [_metrics(record) for record in records]
    failed = np.array([record.obj.get("error") is not None for record in records])
    start = [meta.count("request_start_ns") for meta in metas]
    zero = min(start)
    client = _column(metrics, ("input_sequence_length", "error_isl"))
    server = _column(metrics, ("usage_prompt_tokens",))
    outputs = _column(metrics, ("output_sequence_length", "output_token_count"))
    requests = Requests(
        start_s=np.array([(ns - zero) * _NS for ns in start]),
        input_tokens=_required(records, np.where(np.isnan(server), client, server), "input"),
        output_tokens=_required(
            records, np.where(failed & np.isnan(outputs), 0, outputs), "output"
        ),
        ttft_s=_times(metrics, "time_to_first_token"),
        e2e_s=_times(metrics, "request_latency"),
        failed=failed,
        facts=_facts(metas, metrics, client, server, zero),
        warmup=np.array(
            [meta.obj.get("benchmark_phase", _MEASURED) != _MEASURED for meta in metas]
        ),
    )
    return experiment_of(source, options, requests, {"source": "AIPerf"})


def _facts(
    metas: list[Fields],
    metrics: list[Fields],
    client: FloatArray,
    server: FloatArray,
    zero: int,
) -> dict[str, FloatArray]:
    facts = {}
    if all(meta.obj.get("credit_issued_ns") is not None for meta in metas):
        facts[INTENDED] = np.array([(m.count("credit_issued_ns") - zero) * _NS for m in metas])
    cached = _column(metrics, ("usage_prompt_cache_read_tokens",))
    if np.isfinite(cached).any():
        facts[CACHED] = cached
    if np.isfinite(server).any():
        facts |= {SERVER_INPUT: server, CLIENT_INPUT: client}
    return facts


def _metrics(record: Fields) -> Fields:
    """Return the metrics. Older releases leave them null for a failed request."""
    if record.get("metrics") is None:
        return Fields({}, record.where, "metrics")
    return record.child("metrics")


def _column(metrics: list[Fields], names: tuple[str, ...]) -> FloatArray:
    """Return, for each request, the first metric that it has; NaN if it has none."""
    values = []
    for fields in metrics:
        name = next((name for name in names if name in fields.obj), None)
        values.append(math.nan if name is None else fields.child(name).number("value"))
    return np.array(values)


def _times(metrics: list[Fields], name: str) -> FloatArray:
    values = []
    for fields in metrics:
        if name not in fields.obj:
            values.append(math.nan)
            continue
        metric = fields.child(name)
        unit = metric.text("unit")
        if unit not in _SECONDS:
            raise metric.error("unit", f"is {unit!r}, expected one of {', '.join(_SECONDS)}")
        values.append(metric.number("value") * _SECONDS[unit])
    return np.array(values)


def _required(records: list[Fields], counts: FloatArray, what: str) -> npt.NDArray[np.int64]:
    bad = np.flatnonzero(~((counts >= 0) & (counts == np.floor(counts)) & (counts < 2**53)))
    if bad.size:
        record = records[bad[0]]
        raise record.error("metrics", f"no {what} token count ({what}_sequence_length)")
    return counts.astype(np.int64)
