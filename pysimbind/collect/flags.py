"""Sections of a collect file as flags on a command line: ``max_num_seqs: 8`` is
``--max-num-seqs 8``.

Flags that are not known here go to vLLM as they are: it refuses what it does not have.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..errors import ConfigError
from ..vllm import flags

EXTRA = "extra_args"
"""The key of a section whose words are passed on as they are."""

_BY_COLLECT = "is set by collect: leave it out"
_RECORDED = "would be recorded with the results: set {} in the environment instead"
_HTTP = "is not supported: collect speaks plain HTTP to the server"
_RESERVED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "vllm": {
            "api_key": _RECORDED.format("VLLM_API_KEY"),
            "hf_token": _RECORDED.format("HF_TOKEN"),
            "config": "names a file that is not read here: give its flags themselves",
            "headless": "makes a server without the HTTP endpoints that collect needs",
            **dict.fromkeys(("grpc", "uds", "ssl_keyfile", "ssl_certfile"), _HTTP),
        },
        "benchmark": dict.fromkeys(
            (
                *("append_result", "base_url", "host", "port", "model", "result_dir"),
                *("result_filename", "save_detailed", "save_result", "served_model_name"),
            ),
            _BY_COLLECT,
        ),
    }
)
# Flags of the server that are simulated: their values are looked at here.
_SIMULATED = {*flags.VALUES, "num_gpu_blocks_override"} - {"num_gpu_blocks"}
# The original's way to write "no limit": vLLM itself refuses a length of 0.
_UNSET_AT_ZERO = ("sharegpt_output_len",)


def normalised(section: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """Return the settings of the section ``name`` that say something, with underscores.

    Left out: null, and what the original wrote for "not set". Raises ``ConfigError`` for a flag
    that collect sets itself or does not support, one given twice, or a bad ``extra_args``.
    """
    settings: dict[str, Any] = {}
    for key, value in section.items():
        flag = key.replace("-", "_")
        if flag in _RESERVED[name]:
            raise ConfigError(f"{where}.{key}: {_RESERVED[name][flag]}")
        if flag in settings:
            raise ConfigError(f"{where}.{key}: given twice, with dashes and with underscores")
        if flag == EXTRA:
            value = _checked_extra(value, name, f"{where}.{key}")
        if not (value is None or (flag in _UNSET_AT_ZERO and value == 0)):
            settings[flag] = value
    return settings


def words(settings: Mapping[str, Any], name: str, where: str) -> list[str]:
    """Return the command-line words of normalised settings, ``extra_args`` last.

    Raises ``ConfigError`` for a value that no flag takes.
    """
    found: list[str] = []
    for flag, value in settings.items():
        if flag != EXTRA:
            found += _flag_words(flag, value, name, f"{where}.{flag}")
    return [*found, *settings.get(EXTRA, ())]


def _checked_extra(value: Any, name: str, where: str) -> list[str]:
    if not isinstance(value, list) or not all(_is_scalar(word) for word in value):
        raise ConfigError(f"{where}: must be a list of words, got {value!r:.60}")
    texts = [_text(word) for word in value]
    for text in texts:
        flag = text.partition("=")[0].removeprefix("--").replace("-", "_")
        if text.startswith("--") and flag in _RESERVED[name]:
            raise ConfigError(f"{where}: {text}: {_RESERVED[name][flag]}")
    return texts


def _flag_words(flag: str, value: Any, name: str, where: str) -> list[str]:
    option = "--" + flag.replace("_", "-")
    if name == "vllm" and flag in _SIMULATED:
        value = _scalar(value, where)
    if name == "vllm" and flag in flags.SWITCHES and not isinstance(value, bool):
        raise ConfigError(f"{where}: must be true or false, got {value!r:.60}")
    if isinstance(value, bool):
        if value:
            return [option]
        # The switches of `vllm bench serve`, and those of the server that disable something, have
        # no --no-. They are off unless they are given.
        plain = name == "benchmark" or flag.startswith("disable_")
        return [] if plain else [option.replace("--", "--no-", 1)]
    if isinstance(value, list):
        return [option, *(_scalar(item, where) for item in value)]
    if isinstance(value, dict):
        return [option, json.dumps(value, separators=(",", ":"), default=str)]
    text = _scalar(value, where)
    return [f"{option}={text}"] if _looks_like_a_flag(text) else [option, text]


def _looks_like_a_flag(text: str) -> bool:
    return text.startswith("-") and not text[1:2].isdigit()


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _scalar(value: Any, where: str) -> str:
    if not _is_scalar(value):
        raise ConfigError(f"{where}: must be one number or text, got {value!r:.60}")
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return str(value)
