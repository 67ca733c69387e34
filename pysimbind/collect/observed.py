"""What a server tells of itself: settings and counters, from its log and from ``/metrics``.

The log lines are those of vLLM 0.9 to 0.32 (``v1/core/kv_cache_utils.py``, ``config/vllm.py``,
``config/scheduler.py``, ``v1/engine/core.py``); the metrics those of ``v1/metrics/loggers.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..config import ServerConfig

COUNTERS = ("num_preemptions", "prefix_cache_queries", "prefix_cache_hits")
"""Counters of which the growth during a run is recorded, as vLLM names them."""
_TOKENS = ("prompt_tokens", "generation_tokens")
_OLD_PREFIX = "gpu_"  # 0.9 called them gpu_prefix_cache_queries, gpu_prefix_cache_hits

_ASYNC_BY_DEFAULT = (0, 15)
_SCHEDULER_OF_2026 = (0, 10)

_SAMPLE = re.compile(
    r"^vllm:(\w+)(?:\{(.*)\})?\s+([\d.]+(?:[eE][+-]?\d+)?)$", re.ASCII | re.MULTILINE
)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"', re.ASCII)


def _digits(text: str) -> int:
    return int(text.replace(",", ""))


def _is_true(text: str) -> bool:
    return text in ("True", "enabled")


# setting -> (what the log says, its value)
_LOG: Mapping[str, tuple[re.Pattern[str], Callable[[str], Any]]] = {
    "max_num_batched_tokens": (
        re.compile(r"Chunked prefill is enabled with max_num_batched_tokens=(\d+)"),
        _digits,
    ),
    "max_model_len": (re.compile(r"engine .*with config: .*\bmax_seq_len=(\d+)"), _digits),
    "enable_prefix_caching": (
        re.compile(r"engine .*with config: .*\benable_prefix_caching=(True|False)"),
        _is_true,
    ),
    "enable_chunked_prefill": (
        re.compile(r"engine .*with config: .*\benable_chunked_prefill=(True|False)"),
        _is_true,
    ),
    "async_scheduling": (
        re.compile(r"Asynchronous scheduling is (enabled|disabled)\b"),
        _is_true,
    ),
}
_KV_TOKENS = re.compile(r"\bKV cache size: ([\d,]+) tokens")
# vLLM's CPU platform turns asynchronous scheduling off, whatever the flags say.
_ON_CPU = re.compile(r"engine .*with config: .*\bdevice_config=cpu\b")


@dataclass(frozen=True)
class Observed:
    """The settings that a server runs with, and where each of them comes from.

    ``sources``: setting -> "flag", "log", "/metrics", "version" or "assumed: vLLM's default".
    """

    config: ServerConfig
    sources: Mapping[str, str]


def observe(
    flags: ServerConfig,
    given: frozenset[str],
    log: str | None,
    metrics: str | None,
    version: str | None,
) -> Observed:
    """Complete the config that the flags ask for by what the server tells; that wins over flags.

    ``given``: the settings that flags set. ``log``, ``metrics``: texts, None where there is none.
    Raises ``ConfigError`` for what no server can have, such as a pool of no block.
    """
    changes, sources = _by_version(version, given)
    sources |= dict.fromkeys(given, "flag")
    for source, told in (("log", _from_log(log or "")), ("/metrics", _from_metrics(metrics or ""))):
        changes |= told
        sources |= dict.fromkeys(told, source)
    config = flags.replace(**changes)
    tokens = _KV_TOKENS.search(log or "")
    if "num_gpu_blocks" not in changes and tokens is not None:
        config = config.with_kv_cache_tokens(_digits(tokens[1]))
        sources["num_gpu_blocks"] = "log"
    assumed = {name: "assumed: vLLM's default" for name in config.as_dict() if name not in sources}
    assumed.pop("horizon_s")
    if config.num_gpu_blocks is None:
        assumed["num_gpu_blocks"] = "not told: unlimited is assumed"
    return Observed(config, sources | assumed)


def _from_log(log: str) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, (pattern, read) in _LOG.items():
        found = pattern.search(log)
        if found is not None:
            told[name] = read(found[1])
    if _ON_CPU.search(log):
        told["async_scheduling"] = False
    return told


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
        told["enable_prefix_caching"] = _is_true(labels["enable_prefix_caching"])
    return told


def _by_version(
    version: str | None, given: frozenset[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what follows from the release: the scheduler's rules, and what is on by default."""
    numbers = re.match(r"(\d+)\.(\d+)", version or "")
    if numbers is None:
        return {}, {}
    release = int(numbers[1]), int(numbers[2])
    changes: dict[str, Any] = {}
    if release < _SCHEDULER_OF_2026:
        changes["semantics"] = "vllm-v1-0.9.1"
    else:
        changes["semantics"] = "vllm-v1"
        if "async_scheduling" not in given:
            changes["async_scheduling"] = release >= _ASYNC_BY_DEFAULT
    return changes, dict.fromkeys(changes, "version")


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
