"""Sections of a collect file as flags on a command line: ``max_num_seqs: 8`` is
``--max-num-seqs 8``.

vLLM itself refuses flags that it does not have. Here stand only those that collect sets, has to
understand, or must not record.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from ..vllm import flags as modelled

Scalar = str | int | float
Value = bool | Scalar | list[Scalar] | dict[str, Any] | None
"""What a flag may be set to."""

EXTRA = "extra_args"
"""The key of a section whose words are passed on as they are."""

_BY_COLLECT = "is set by collect: leave it out"
_HTTP = "is not supported: collect speaks plain HTTP to the server"
_RECORDED = "would be recorded with the results: set "
_RESERVED: Mapping[str, Mapping[str, str]] = {
    "vllm": {
        "api_key": f"{_RECORDED}VLLM_API_KEY in the environment instead",
        "hf_token": f"{_RECORDED}HF_TOKEN in the environment instead",
        "config": "names a file that is not read here: give its flags themselves",
        "headless": "makes a server without the HTTP endpoints that collect needs",
        "grpc": _HTTP,
        "uds": _HTTP,
        **dict.fromkeys(("ssl_keyfile", "ssl_certfile"), _HTTP),
    },
    "benchmark": dict.fromkeys(
        (
            *("append_result", "base_url", "host", "port", "model", "result_dir"),
            *("result_filename", "save_detailed", "save_result", "served_model_name"),
        ),
        _BY_COLLECT,
    ),
}
_SECRET = re.compile(
    r"(^|_)(api_?keys?|(api|hf|auth|access|bearer)_?tokens?|secrets?|passwords?)(_|$)"
)

# Flags that collect itself passes on, or reads out of the section.
_OWN = ("model", "host", "port", "served_model_name")
_UNDERSTOOD: Mapping[str, tuple[str, ...]] = {
    "vllm": (*_OWN, *modelled.NAMES),
    "benchmark": (),
}
NO_NEGATIVE: Mapping[str, frozenset[str]] = {
    "vllm": frozenset(
        (
            *("aggregate_engine_logging", "data_parallel_multi_port_external_lb"),
            *("disable_frontend_multiprocessing", "disable_log_requests", "disable_log_stats"),
            *("enable_reasoning", "use_v2_block_manager"),
        )
    ),
    "benchmark": frozenset(
        (
            *("custom_ensure_client_side_data", "custom_skip_chat_template", "disable_shuffle"),
            *("disable_tqdm", "enable_multimodal_chat", "ignore_eos", "insecure"),
            *("no_oversample", "no_reranker", "no_stream", "plot_dataset_stats"),
            *("plot_timeline", "profile", "skip_chat_template", "skip_tokenizer_init"),
            *("trust_remote_code", "use_beam_search"),
        )
    ),
}
"""Switches of vLLM 0.9 to 0.32 by section that have no form --no-flag: false leaves them out."""

# The original's way to write "no limit": vLLM itself refuses a length of 0.
_UNSET_AT_ZERO = ("sharegpt_output_len",)
_FLAG = re.compile(r"[A-Za-z0-9][\w.]*", re.ASCII)


def normalised(section: Mapping[str, Value], name: str, where: str) -> dict[str, Any]:
    """Return the settings of the section ``name`` that say something, with underscores.

    Left out: null, and what the original wrote for "not set". Raises ``ConfigError`` for a key
    that cannot be a flag, a flag that must not be here, one given twice, or a bad ``extra_args``.
    """
    settings: dict[str, Any] = {}
    for key, value in section.items():
        flag, place = key.replace("-", "_"), f"{where}.{key}"
        if not _FLAG.fullmatch(flag):
            raise ConfigError(f"{where}: {key!r:.60} cannot be a flag")
        _refuse(flag, name, place)
        if flag in settings:
            raise ConfigError(f"{place}: given twice, with dashes and with underscores")
        if isinstance(value, list) and flag != EXTRA:
            for i, word in enumerate(map(_text, value)):
                if _looks_like_a_flag(word):
                    raise ConfigError(f"{place}[{i}]: {word!r:.60} looks like a flag")
        if not (value is None or (flag in _UNSET_AT_ZERO and value == 0)):
            settings[flag] = _checked_extra(value, name, place) if flag == EXTRA else value
    return settings


def words(settings: Mapping[str, Any], name: str) -> list[str]:
    """Return the command-line words of normalised settings, ``extra_args`` last."""
    found: list[str] = []
    for flag, value in settings.items():
        if flag != EXTRA:
            found += _flag_words(flag, value, flag in NO_NEGATIVE[name])
    return [*found, *settings.get(EXTRA, ())]


def _refuse(flag: str, name: str, where: str) -> None:
    """Refuse a reserved flag and secrets; vLLM's parser takes the beginning of a flag for it."""
    head = flag.partition(".")[0]  # vLLM reads a.b as the key b of the mapping a
    for reserved, why in _RESERVED[name].items():
        if reserved.startswith(head):
            raise ConfigError(f"{where}: {why}")
    if _SECRET.search(head):
        raise ConfigError(f"{where}: {_RECORDED}secrets in the environment instead")
    positive, understood = head.removeprefix("no_"), _UNDERSTOOD[name]
    for known in understood:
        if known.startswith(positive) and positive not in understood:
            raise ConfigError(f"{where}: unknown flag; did you mean {known!r}?")


def _checked_extra(value: Value, name: str, where: str) -> list[str]:
    if not isinstance(value, list):
        raise ConfigError(f"{where}: must be a list of words, got {value!r:.60}")
    texts = [_text(word) for word in value]
    for text in texts:
        if not text.startswith("--"):
            continue
        flag = text.removeprefix("--").partition("=")[0].replace("-", "_")
        _refuse(flag, name, f"{where}: {text.partition('=')[0]}")
        if name == "vllm" and flag in _OWN:
            raise ConfigError(f"{where}: {text}: give it as {flag} in {name}")
    return texts


def _flag_words(flag: str, value: Value, no_negative: bool) -> list[str]:
    option = "--" + flag.replace("_", "-")
    if isinstance(value, bool):
        off = [] if no_negative else [option.replace("--", "--no-", 1)]
        return [option] if value else off
    if isinstance(value, list):
        return [option, *map(_text, value)]
    if isinstance(value, dict):
        return [option, json.dumps(value, separators=(",", ":"), default=str)]
    text = _text(value)
    return [f"{option}={text}"] if _looks_like_a_flag(text) else [option, text]


def _looks_like_a_flag(text: str) -> bool:
    return text.startswith("-") and not text[1:2].isdigit()


def _text(value: object) -> str:
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return str(value)
