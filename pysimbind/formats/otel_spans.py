"""The OpenTelemetry spans of a vLLM server (``--otlp-traces-endpoint``), as OTLP JSON.

Source: ``SpanAttributes`` in ``vllm/tracing``. The file holds export requests (``{"resourceSpans":
...}``), as one document or one per line, as the collector's file exporter writes them. Every span
named ``llm_request`` is a request. It starts at the arrival in the API server
(``startTimeUnixNano``). Its attributes hold ``gen_ai.usage.prompt_tokens`` and
``completion_tokens``, ``gen_ai.latency.time_to_first_token`` and ``gen_ai.latency.e2e`` (s).

Latencies are the server's: they include neither network nor client. Other spans are ignored, and so
are the times of queue, prefill and decode.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import ExperimentError
from ..experiment import Experiment
from ._fields import Fields
from ._options import ReadOptions
from ._requests import Requests, experiment_of
from ._source import Source

_SPAN = "llm_request"
_START = "startTimeUnixNano"
_PROMPT, _COMPLETION = "gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens"
_TTFT, _E2E = "gen_ai.latency.time_to_first_token", "gen_ai.latency.e2e"
_INTEGER = re.compile(r"[0-9]{1,19}")
_NS = 1e-9


def detect(source: Source) -> bool:
    """Tell whether a file begins with an export of spans."""
    return isinstance(source.first, dict) and "resourceSpans" in source.first


def read(source: Source, options: ReadOptions) -> Experiment:
    """Make the experiment; ``ExperimentError`` names the file, line and key."""
    spans = list(_spans(source))
    if not spans:
        raise ExperimentError(f"{source.where}: no span is named {_SPAN!r}: not a vLLM server's")
    starts = [_nanoseconds(span) for span, _ in spans]
    zero = min(starts)
    attributes = [fields for _, fields in spans]
    ttft, e2e = (np.array([a.number(key) for a in attributes]) for key in (_TTFT, _E2E))
    requests = Requests(
        start_s=np.array([(ns - zero) * _NS for ns in starts]),
        input_tokens=np.array([a.count(_PROMPT) for a in attributes]),
        output_tokens=np.array([a.count(_COMPLETION) for a in attributes]),
        ttft_s=ttft,
        e2e_s=e2e,
        failed=np.isnan(e2e),
    )
    provenance = {"source": "vLLM OpenTelemetry spans", "clock": "the server's"}
    return experiment_of(source, options, requests, provenance)


def _spans(source: Source) -> Iterator[tuple[Fields, Fields]]:
    """Yield each request's span and its attributes as an object."""
    for place, obj in source.documents():
        for resource in _each(Fields(obj, place), "resourceSpans"):
            for scope in _each(resource, "scopeSpans"):
                for span in _each(scope, "spans"):
                    if span.obj.get("name") == _SPAN:
                        yield span, _attributes(span)


def _each(fields: Fields, key: str) -> Iterator[Fields]:
    for i, value in enumerate(fields.items(key)):
        yield Fields(value, fields.where, f"{fields.at}{'.' if fields.at else ''}{key}[{i}]")


def _attributes(span: Fields) -> Fields:
    found: dict[str, Any] = {}
    for each in _each(span, "attributes"):
        value = Fields(each.get("value"), each.where, f"{each.at}.value").obj
        kind, plain = next(iter(value.items()), ("", None))
        if kind == "intValue" and isinstance(plain, str) and _INTEGER.fullmatch(plain):
            plain = int(plain)  # 64-bit integers are strings in OTLP's JSON
        found[each.text("key")] = plain
    return Fields(found, span.where, f"{span.at}.attributes")


def _nanoseconds(span: Fields) -> int:
    value = span.get(_START)
    if isinstance(value, bool) or not _INTEGER.fullmatch(str(value)):
        raise span.error(_START, f"must be nanoseconds since 1970, got {value!r:.40}")
    return int(value)
