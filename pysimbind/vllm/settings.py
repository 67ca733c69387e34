"""The settings of a server, from its log, its command line, or files beside a measurement.

Each source gives a ``Known``. ``resolve`` merges them into a ``ServerConfig``, and reports for each
setting its source or the assumption.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..config import FIELDS, FLAGS, POOL, ServerConfig
from ..errors import ConfigError
from . import flags

SETTINGS: tuple[str, ...] = tuple(n for n in FIELDS if n not in ("semantics", "horizon_s"))
"""The settings of a server. The other fields say how to simulate it."""

_ASYNC_SINCE, _SYNC_UNTIL = (0, 15), (0, 11)
_BLOCK_SIZES = (1, 8, 16, 32, 64, 128, 256)

# Other names that files and logs use for a setting.
_ALIASES = {
    "max_seq_len": "max_model_len",
    "chunked_prefill_enabled": "enable_chunked_prefill",
    "num_gpu_blocks_override": "num_gpu_blocks",
}
_TOKENS = (POOL, "num_kv_tokens")

_START = re.compile(r"vLLM API server version|Initializing an? (?:V1 )?LLM engine")
_VERSION = re.compile(
    r"(?:vLLM API server version v?|Initializing an? (?:V1 )?LLM engine \(v)([^\s)]+)"
)
_KV_TOKENS = re.compile(r"KV cache size: ([\d,]+) tokens")
_KV_BLOCKS = re.compile(r"num_gpu_blocks is: (\d+)|# (?:GPU|cuda) blocks: (\d+)")
_ARGUMENT = re.compile(r"'(\w+)': ([\w.+-]+)")
_ENGINE_OPTION = re.compile(r"\b(\w+)=([\w.+-]+)")
_BUDGET = re.compile(r"Chunked prefill is enabled with (max_num_batched_tokens)=(\d+)")
_ASYNC = re.compile(r"Asynchronous scheduling is (enabled|disabled)")
# vLLM's CPU platform turns asynchronous scheduling off, whatever the flags say.
_ON_CPU = re.compile(r"LLM engine .*config: .*\bdevice_config=cpu\b")

# The assumption for an unknown setting, if the default differs between releases.
_UNTOLD = {
    "num_gpu_blocks": "a pool without limit is assumed",
    "max_model_len": "no limit is assumed",
    "async_scheduling": "off is assumed, as until vLLM 0.11",
    "max_num_batched_tokens": "vLLM's default on most GPUs is assumed",
    "max_num_seqs": "vLLM's default on most GPUs is assumed",
}


@dataclass(frozen=True)
class Known:
    """The settings of a server that one source gives."""

    where: str
    """The source: a file or a word."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Field of ``ServerConfig`` -> value."""
    kv_cache_tokens: int | None = None
    """Size of the KV pool in tokens, if given."""
    vllm_version: str | None = None
    """Version as in ``0.11.0``, if given."""

    @property
    def cited(self) -> str:
        """The source without its folder, for reports that others read."""
        return os.path.basename(self.where)


def from_vllm_args(args: str, where: str) -> Known:
    """Read a ``vllm serve`` command line, pasted as one string.

    Flags that are not modelled are skipped. Raises ``ConfigError`` for a bad value or a misspelt
    flag.
    """
    return Known(where, flags.parse(args))


def from_mapping(mapping: Mapping[str, Any], where: str) -> Known:
    """Read the settings in a mapping that may hold other keys too. Null means unknown.

    ``max_seq_len`` and similar names are read as the field that they mean. ``kv_cache_tokens`` and
    ``num_kv_tokens`` are the size of the KV pool. ``vllm_version`` is the version.
    """
    settings = {}
    for name, value in mapping.items():
        known = _ALIASES.get(name, name)
        if known in FIELDS and value is not None:
            settings[known] = value
    tokens = [mapping[name] for name in _TOKENS if mapping.get(name) is not None]
    version = mapping.get("vllm_version")
    return Known(
        where, settings, tokens[0] if tokens else None, None if version is None else str(version)
    )


def from_log(text: str, where: str) -> Known:
    """Read the settings that a vLLM server logs when it starts; the last of several starts counts.

    The lines are those of ``vllm/entrypoints/openai/api_server.py`` (version, ``non-default
    args``), ``vllm/v1/engine/core.py`` (``Initializing a V1 LLM engine``),
    ``vllm/config/scheduler.py`` (token budget), ``vllm/config/vllm.py`` (asynchronous scheduling),
    ``vllm/v1/core/kv_cache_utils.py`` (``GPU KV cache size``) and ``vllm/v1/metrics/loggers.py``
    (``num_gpu_blocks is``). Raises ``ConfigError`` if the text has none of them, or if the pool has
    several sizes: data-parallel engines are not modelled.
    """
    text = text[_last_start(text) :]
    settings: dict[str, Any] = {}
    for line in text.splitlines():
        if "LLM engine" in line and "config:" in line:
            settings |= _named(_ENGINE_OPTION.findall(line), where)
        elif "non-default args:" in line:
            settings |= _named(_ARGUMENT.findall(line), where)
    settings |= _named(_BUDGET.findall(text), where)
    for state in _ASYNC.findall(text):
        settings["async_scheduling"] = state == "enabled"
    if _ON_CPU.search(text):
        settings["async_scheduling"] = False
    settings = flags.narrowed(settings)
    tokens = _one(where, "KV cache size", [t.replace(",", "") for t in _KV_TOKENS.findall(text)])
    blocks = _one(where, "num_gpu_blocks", [a or b for a, b in _KV_BLOCKS.findall(text)])
    if blocks is not None:
        settings["num_gpu_blocks"] = blocks
    version = _VERSION.search(text)
    if not settings and tokens is None and version is None:
        raise ConfigError(
            f"{where}: not the log of a vLLM server's start: none of 'vLLM API server version', "
            "'non-default args:', 'GPU KV cache size:' and 'num_gpu_blocks is:' is in it"
        )
    return Known(where, settings, tokens, None if version is None else version[1])


def resolve(sources: Sequence[Known]) -> tuple[ServerConfig, dict[str, Any]]:
    """Merge sources into a config (the last source wins), and report the origin of each setting.

    The report holds ``sources`` {setting: where}, ``assumed`` {setting: value} for unknown settings
    (see ``assumption``), and ``vllm_version`` if known. Some settings follow from others: KV blocks
    from the pool's tokens, the block size from tokens and blocks. Asynchronous scheduling follows
    from the version: on since 0.15, off until 0.11. Raises ``ConfigError``, with the source, for a
    bad value.
    """
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for source in sources:
        _check(source)
        values |= source.settings
        origin |= {name: source.cited for name in source.settings if name in SETTINGS}
    _infer_block_size(sources, values, origin)
    _infer_blocks(sources, values, origin)
    version = next((s.vllm_version for s in reversed(sources) if s.vllm_version), None)
    _infer_async(version, values, origin)
    config = ServerConfig.from_mapping(values)
    report: dict[str, Any] = {
        "sources": origin,
        "assumed": {n: getattr(config, n) for n in SETTINGS if n not in values},
    }
    return config, report if version is None else {**report, "vllm_version": version}


def assumption(name: str) -> str:
    """Say in words what is assumed for an unknown setting."""
    return _UNTOLD.get(name, "vLLM's default is assumed")


def _check(source: Known) -> None:
    try:
        config = ServerConfig.from_mapping(source.settings)
        if source.kv_cache_tokens is not None:
            config.with_kv_cache_tokens(source.kv_cache_tokens)
    except ConfigError as exc:
        raise ConfigError(f"{source.where}: {exc}") from exc


def _infer_block_size(
    sources: Iterable[Known], values: dict[str, Any], origin: dict[str, str]
) -> None:
    if "block_size" in values:
        return
    for source in sources:
        tokens, blocks = source.kv_cache_tokens, source.settings.get("num_gpu_blocks")
        if tokens is not None and blocks is not None and tokens / blocks in _BLOCK_SIZES:
            values["block_size"] = tokens // blocks
            origin["block_size"] = f"{source.cited}: {tokens} tokens in {blocks} blocks"


def _infer_blocks(sources: Sequence[Known], values: dict[str, Any], origin: dict[str, str]) -> None:
    for source in reversed(sources):
        if "num_gpu_blocks" in source.settings:
            return
        if source.kv_cache_tokens is not None:
            size = values.get("block_size", ServerConfig().block_size)
            pool = ServerConfig(block_size=size, max_model_len=values.get("max_model_len"))
            pool = pool.with_kv_cache_tokens(source.kv_cache_tokens)
            values["num_gpu_blocks"] = pool.num_gpu_blocks
            origin["num_gpu_blocks"] = (
                f"{source.cited}: {source.kv_cache_tokens} tokens in blocks of {size}"
            )
            return


def _infer_async(version: str | None, values: dict[str, Any], origin: dict[str, str]) -> None:
    match = re.search(r"(\d+)\.(\d+)", version or "")
    if match is None or "async_scheduling" in values:
        return
    release = (int(match[1]), int(match[2]))
    if release >= _ASYNC_SINCE or release <= _SYNC_UNTIL:
        values["async_scheduling"] = release >= _ASYNC_SINCE
        origin["async_scheduling"] = f"the default of vLLM {version}"


def _last_start(text: str) -> int:
    """Return where the last start begins. An engine's first lines belong to its server."""
    starts = [match.start() for match in _START.finditer(text) if "API" in match[0]]
    if not starts:
        starts = [match.start() for match in _START.finditer(text)]
    return starts[-1] if starts else 0


def _named(pairs: Iterable[tuple[str, str]], where: str) -> dict[str, Any]:
    """Read ``name, value`` pairs of a log that name a setting."""
    settings: dict[str, Any] = {}
    for name, text in pairs:
        known = _ALIASES.get(name, name)
        to_choose = text in ("None", "-1")  # -1: vLLM chooses the value
        if known in (*SETTINGS, *flags.LIMITS) and not to_choose:
            settings[known] = _value(known, text, where)
    return settings


def _value(name: str, text: str, where: str) -> Any:
    if name in FLAGS and text in ("True", "False"):
        return text == "True"
    try:
        return float(text) if name == "watermark" else int(text)
    except ValueError as exc:
        raise ConfigError(f"{where}: {name} is {text!r}: not a value of this setting") from exc


def _one(where: str, what: str, numbers: Iterable[str]) -> int | None:
    found = {int(number) for number in numbers}
    if len(found) > 1:
        raise ConfigError(
            f"{where}: {what} has several values ({', '.join(map(str, sorted(found)))}): more than "
            "one engine; give the log of one"
        )
    return found.pop() if found else None
