"""What a server tells of itself: settings and counters, from its log and from ``/metrics``.

The metrics are those of vLLM 0.9 to 0.32 (``v1/metrics/loggers.py``); for the log see
``pysimbind.vllm.settings.from_log``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from ..vllm.settings import Known, from_log
from .store import SERVER_LOG

COUNTERS = ("num_preemptions", "prefix_cache_queries", "prefix_cache_hits")
"""Counters of which the growth during a run is recorded, as vLLM names them."""
_TOKENS = ("prompt_tokens", "generation_tokens")
_OLD_PREFIX = "gpu_"  # 0.9 called them gpu_prefix_cache_queries, gpu_prefix_cache_hits

_SCHEDULER_OF_2026 = (0, 10)

_SAMPLE = re.compile(
    r"^vllm:(\w+)(?:\{(.*)\})?\s+([\d.]+(?:[eE][+-]?\d+)?)$", re.ASCII | re.MULTILINE
)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"', re.ASCII)


def observe(
    flags: Known, log: str | None, metrics: str | None, version: str | None
) -> tuple[list[Known], str]:
    """Return what is known of a server, and ``""`` or why its log could not be read.

    The later source wins (see ``resolve``): ``flags``, which the file asks for, then what the
    server tells. ``log``, ``metrics``: texts, None where there is none.
    """
    known = [flags]
    problem = ""
    if log is not None:
        try:
            known.append(from_log(log, SERVER_LOG))
        except ConfigError as exc:
            problem = str(exc)
    known.append(Known("/metrics", _from_metrics(metrics or "")))
    known.append(Known("/version", _by_version(version), vllm_version=version))
    return known, problem


def _from_metrics(metrics: str) -> dict[str, Any]:
    for name, labels, _ in _SAMPLE.findall(metrics):
        if name == "cache_config_info":
            return _from_labels(dict(_LABEL.findall(labels)))
    return {}


def _from_labels(labels: Mapping[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name in ("block_size", "num_gpu_blocks"):
        if labels.get(name, "").isdigit():
            told[name] = int(labels[name])
    if labels.get("enable_prefix_caching") in ("True", "False"):
        told["enable_prefix_caching"] = labels["enable_prefix_caching"] == "True"
    return told


def _by_version(version: str | None) -> dict[str, Any]:
    """Return the rules of the scheduler that follow from the release."""
    numbers = re.match(r"(\d+)\.(\d+)", version or "")
    if numbers is None:
        return {}
    release = int(numbers[1]), int(numbers[2])
    return {"semantics": "vllm-v1-0.9.1" if release < _SCHEDULER_OF_2026 else "vllm-v1"}


def read_version(answer: str | None) -> str | None:
    """Return the release from what ``GET /version`` answers, None if it tells none."""
    try:
        obj = json.loads(answer or "")
    except ValueError:
        return None
    version = obj.get("version") if isinstance(obj, dict) else None
    return version if isinstance(version, str) else None


def growth(before: str | None, after: str | None) -> dict[str, int] | None:
    """Return how much vLLM's counters grew between two texts of ``/metrics``, over all engines.

    None where either text is missing; counters that the server does not have are left out.
    """
    if before is None or after is None:
        return None
    old, new = _totals(before), _totals(after)
    return {
        name: round(new[name] - old.get(name, 0.0)) for name in (*COUNTERS, *_TOKENS) if name in new
    }


def _totals(metrics: str) -> dict[str, float]:
    totals: dict[str, float] = {}
    for name, _, value in _SAMPLE.findall(metrics):
        counter = name.removesuffix("_total").removeprefix(_OLD_PREFIX)
        if name.endswith("_total") and counter in (*COUNTERS, *_TOKENS):
            totals[counter] = totals.get(counter, 0.0) + float(value)
    return totals
