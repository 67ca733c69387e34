"""The result file of ``python -m sglang.bench_serving --output-details``.

Source: ``python/sglang/bench_serving.py``, since 2026 ``python/sglang/benchmark/metrics.py``. The
file is JSON lines, and each run appends one object. An unlimited request rate is a bare
``Infinity``. The arrays are those of ``vllm bench serve`` without ``start_times`` and
``latencies``, so the option ``arrivals`` draws the arrivals.

SGLang's client sends request 0 at once, and then sleeps exponential gaps of numpy's legacy
generator. These are the gaps of the ``sequential`` generator at burstiness 1. They are the same
numbers only if the data set drew nothing from that generator before: ``sharegpt`` draws nothing,
``random`` does.

The server is SGLang's, whose scheduler differs from vLLM's. A fit shows how well vLLM's rules
explain it.
"""

from __future__ import annotations

from ..experiment import Experiment
from ._options import ReadOptions
from ._requests import experiment_of
from ._source import Source
from .vllm_bench import chosen_run, read_requests, require_details

_OWN = "mean_e2e_latency_ms"  # vLLM's client calls it mean_e2el_ms
_PROVENANCE = ("backend", "dataset_name", "request_rate", "max_concurrency", "duration")
_RERUN = "run sglang.bench_serving again with --output-details"


def detect(source: Source) -> bool:
    """Tell whether a file is a result of SGLang's client, detailed or not."""
    return isinstance(source.first, dict) and _OWN in source.first


def read(source: Source, options: ReadOptions) -> Experiment:
    """Make the experiment of one run; ``ExperimentError`` names the file, line and key."""
    fields, provenance = chosen_run(source, options, "sglang.bench_serving", _PROVENANCE)
    require_details(fields, _RERUN)
    requests, note = read_requests(fields, options, "measure with a client that records them")
    return experiment_of(source, options, requests, provenance | note)
