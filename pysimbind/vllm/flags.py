"""Read the flags of ``vllm serve`` into settings of ``ServerConfig``."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from ..errors import ConfigError

SWITCHES: tuple[str, ...] = (
    "enable_prefix_caching",
    "enable_chunked_prefill",
    "scheduler_reserve_full_isl",
    "async_scheduling",
)
"""Settings that are on or off, by their names in ``ServerConfig``."""

VALUES: tuple[str, ...] = (
    "max_num_seqs",
    "max_num_batched_tokens",
    "block_size",
    "num_gpu_blocks",
    "max_model_len",
    "long_prefill_token_threshold",
    "watermark",
)
"""Settings that have a value, by their names in ``ServerConfig``."""

_RENAMED = {"num_gpu_blocks": "num-gpu-blocks-override"}
# flag without leading dashes -> (field, value of an on/off flag; None: a value must follow)
_TABLE: dict[str, tuple[str, bool | None]] = {}
for _field in VALUES:
    _TABLE[_RENAMED.get(_field, _field.replace("_", "-"))] = (_field, None)
for _field in SWITCHES:
    _TABLE[_field.replace("_", "-")] = (_field, True)
    _TABLE["no-" + _field.replace("_", "-")] = (_field, False)

# Settings that also limit another setting. The scheduler uses the smaller of the two.
LIMITS = {
    "max_num_active_seqs": "max_num_seqs",
    "max_num_scheduled_tokens": "max_num_batched_tokens",
}
_TABLE |= {_limit.replace("_", "-"): (_limit, None) for _limit in LIMITS}

NAMES: tuple[str, ...] = tuple(name.replace("-", "_") for name in _TABLE)
"""The flags that are read, with underscores and without their leading dashes."""

# An unknown flag this similar to a known one is a misspelling, unless vLLM has such a flag.
_LIKENESS = 0.75
_ALIKE = (
    *("hash-block-size", "mamba-block-size", "max-log-len", "max-num-queued-tokens"),
    *("dbo-prefill-token-threshold", "long-prefill-token-threshold-adaptive"),
    "no-long-prefill-token-threshold-adaptive",
)
# Shell words that end a command or redirect its output.
_SHELL = re.compile(r"\|.*|&.*|;.*|\d*[<>].*|#.*", re.DOTALL)
_MODULE = re.compile(r"vllm\.entrypoints\.[\w.]*api_server")
_SCALE = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_SCALE = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse(args: str | Iterable[str]) -> dict[str, Any]:
    """Return field -> value for the modelled flags. If a flag is repeated, the last one counts.

    Raises ``ConfigError`` for a bad or missing value, a misspelt flag, or a stray word.
    """
    tokens = _split(args)
    settings: dict[str, Any] = {}
    words_may_follow = True  # "vllm serve MODEL" before the first flag, values of skipped flags
    i = 0
    while i < len(tokens):
        token = tokens[i]
        i += 1
        if not token.startswith("-"):
            if not words_may_follow:
                raise ConfigError(f"stray {token!r} in the vLLM arguments after {tokens[i - 2]!r}")
            continue
        flag, equals, value = token.partition("=")
        name = flag.lstrip("-").replace("_", "-")
        words_may_follow = name not in _TABLE or not flag.startswith("--")
        if words_may_follow:
            _refuse_misspelling(flag, name)
            continue
        field, switch = _TABLE[name]
        if not equals and i < len(tokens) and _is_value(tokens[i], switch):
            value, equals = tokens[i], "="
            i += 1
        settings[field] = _value(flag, field, switch, value if equals else None)
    return narrowed(settings)


def narrowed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings after those of ``LIMITS`` have lowered the settings that they limit."""
    fields = {name: value for name, value in settings.items() if name not in LIMITS}
    for limit, field in LIMITS.items():
        if limit in settings:
            fields[field] = min(settings[limit], fields.get(field, settings[limit]))
    return fields


def _split(args: str | Iterable[str]) -> list[str]:
    if not isinstance(args, str):
        return [str(arg) for arg in args]
    try:
        return _of_server(shlex.split(args.replace("\\\n", " ")))
    except ValueError as exc:
        raise ConfigError(f"vLLM arguments cannot be split into words: {exc}") from exc


def _of_server(tokens: list[str]) -> list[str]:
    """Return the server's words from a pasted shell line, without other commands and comments."""
    called = (i for i, token in enumerate(tokens) if token == "serve" or _MODULE.fullmatch(token))
    words = tokens[next(called, -1) + 1 :]
    for i, word in enumerate(words):
        if _SHELL.fullmatch(word):
            return words[:i]
        if word.endswith(";"):
            return [*words[:i], word[:-1]]
    return words


def _is_value(token: str, switch: bool | None) -> bool:
    if switch is None:
        return not token.startswith("-") or token[1:2].isdigit()
    return token.lower() in ("true", "false")  # the older "--enable-chunked-prefill False"


def _value(flag: str, field: str, switch: bool | None, text: str | None) -> Any:
    if switch is not None:
        if text is None:
            return switch
        if text.lower() not in ("true", "false"):
            raise ConfigError(f"{flag} takes no value, got {text!r}")
        return switch == (text.lower() == "true")
    if text is None:
        raise ConfigError(f"{flag} needs a value")
    if field == "watermark":
        try:
            return float(text)
        except ValueError as exc:
            raise ConfigError(f"{flag}: {text!r} is not a number") from exc
    if field == "max_model_len" and text in ("auto", "-1"):
        return None  # vLLM chooses it by model and memory: unknown here
    return human_int(flag, text)


def human_int(flag: str, text: str) -> int:
    """Read ``2048``, ``2k`` (2000), ``25.6k`` (25600) or ``2K`` (2048), as vLLM does."""
    match = re.fullmatch(r"([+-]?\d+(?:\.\d+)?)([kKmMgGtT]?)", text.strip(), re.ASCII)
    if match is None:
        raise ConfigError(f"{flag}: {text!r} is not a whole number (2048, 2k = 2000, 2K = 2048)")
    number, suffix = match.groups()
    if suffix in _SCALE:
        return int(Decimal(number) * _SCALE[suffix])
    if "." in number:
        raise ConfigError(f"{flag}: {text!r} has a decimal point; only k, m, g and t allow one")
    return int(number) * _BINARY_SCALE.get(suffix, 1)


def _refuse_misspelling(flag: str, name: str) -> None:
    if name == "config":
        raise ConfigError("--config names a file that is not read here: give its flags themselves")
    if name in _ALIKE:
        return
    if name.startswith("disable-"):
        name = name.replace("disable", "no-enable", 1)
    off = name.startswith("no-")
    flags = [known for known in _TABLE if known.startswith("no-") == off]
    close = difflib.get_close_matches(name, flags, n=1, cutoff=_LIKENESS)
    if close:
        raise ConfigError(f"unknown vLLM flag {flag!r}; did you mean '--{close[0]}'?")
