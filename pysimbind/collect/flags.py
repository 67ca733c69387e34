"""Sections of a collect file as flags on a command line: ``max_num_seqs: 8`` is
``--max-num-seqs 8``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from ..errors import ConfigError, nearest
from ._flag_lists import BENCH, FORMER_BENCH, FORMER_SERVE, SERVE, Kinds

EXTRA = "extra_args"
"""The key of a section whose words are passed on as they are: flags that are not known here."""

_BY_COLLECT = "is set by collect: leave it out"
_KEY = "would be recorded with the results: set VLLM_API_KEY in the environment instead"
_HTTP = "is not supported: collect speaks plain HTTP to the server"
_RESERVED: Mapping[str, Mapping[str, str]] = {
    "vllm": {
        "api_key": _KEY,
        "hf_token": "would be recorded with the results: set HF_TOKEN in the environment instead",
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
# The original's way to write "no limit": vLLM itself refuses a length of 0.
_UNSET_AT_ZERO = ("sharegpt_output_len",)


def _table(*lists: Kinds) -> Mapping[str, str]:
    kinds = [item for each in lists for item in each.items()]
    return MappingProxyType(
        {flag.replace("-", "_"): kind for kind, text in kinds for flag in text.split()}
    )


TABLES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"vllm": _table(SERVE, FORMER_SERVE), "benchmark": _table(BENCH, FORMER_BENCH)}
)
"""Section -> flag, with underscores -> kind: ON_OFF, SWITCH, VALUE or LIST."""


def normalised(section: Mapping[Any, Any], name: str, where: str) -> dict[str, Any]:
    """Return the settings of the section ``name`` that say something, with underscores.

    Left out: null, and what the original wrote for "not set". Raises ``ConfigError`` for a key
    that is no flag, a flag that collect sets itself, one given twice, or a bad ``extra_args``.
    """
    settings: dict[str, Any] = {}
    for key, value in section.items():
        flag = str(key).replace("-", "_")
        _check_known(flag, name, f"{where}.{key}")
        if flag in settings:
            raise ConfigError(f"{where}.{key}: given twice, with dashes and with underscores")
        if flag == EXTRA:
            value = _checked_extra(value, name, f"{where}.{key}")
        if not (value is None or (flag in _UNSET_AT_ZERO and value == 0)):
            settings[flag] = value
    return settings


def words(settings: Mapping[str, Any], name: str, where: str) -> list[str]:
    """Return the command-line words of normalised settings, ``extra_args`` last.

    Raises ``ConfigError`` for a value that its flag does not take.
    """
    found: list[str] = []
    for flag, value in settings.items():
        if flag != EXTRA:
            found += _flag_words(flag, TABLES[name][flag], value, f"{where}.{flag}")
    return [*found, *settings.get(EXTRA, ())]


def _check_known(flag: str, name: str, where: str) -> None:
    if flag in _RESERVED[name]:
        raise ConfigError(f"{where}: {_RESERVED[name][flag]}")
    known = TABLES[name]
    if flag in known or flag == EXTRA:
        return
    positive = flag.removeprefix("no_")
    if known.get(positive) == "ON_OFF":
        raise ConfigError(f"{where}: write {positive}: false")
    command = "vllm serve" if name == "vllm" else "vllm bench serve"
    raise ConfigError(
        f"{where}: unknown flag of {command}{nearest(flag, [*known, EXTRA])} "
        f"(newer flags go into {EXTRA}: [--flag, value])"
    )


def _checked_extra(value: Any, name: str, where: str) -> list[str]:
    if not isinstance(value, list) or not all(_is_scalar(word) for word in value):
        raise ConfigError(f"{where}: must be a list of words, got {value!r:.60}")
    texts = [_text(word) for word in value]
    for text in texts:
        flag = text.partition("=")[0].removeprefix("--").replace("-", "_")
        if text.startswith("--") and (flag in TABLES[name] or flag in _RESERVED[name]):
            raise ConfigError(f"{where}: {text} is a known flag: give it as {flag} in {name}")
    return texts


def _flag_words(flag: str, kind: str, value: Any, where: str) -> list[str]:
    option = "--" + flag.replace("_", "-")
    if kind in ("ON_OFF", "SWITCH"):
        if not isinstance(value, bool):
            raise ConfigError(f"{where}: must be true or false, got {value!r:.60}")
        off = [option.replace("--", "--no-", 1)] if kind == "ON_OFF" else []
        return [option] if value else off
    if kind == "LIST":
        items = value if isinstance(value, list) else [value]
        return [option, *(_scalar(item, where) for item in items)]
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


def suggest(name: str, known: Iterable[str]) -> str:
    """Return the nearest known names first, and all of them where there is none near."""
    names = list(known)
    return nearest(name, names) or f" (known: {', '.join(names)})"
