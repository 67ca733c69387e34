"""The options that change the server which is simulated: its semantics and its settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ..config import FIELDS, FLAGS, POOL, SEMANTICS
from ..errors import ConfigError, nearest
from ..experiment import Experiment
from ..vllm import flags
from ._parser import Complete, Parser

_SETTABLE = (*(name for name in FIELDS if name != "semantics"), POOL)  # that has its own option
_VLLM_NAMES = {"num_gpu_blocks_override": "num_gpu_blocks"}


def add_server(parser: Parser, own: str = "the experiment's own") -> None:
    """Add ``--semantics`` and ``--set``; without ``--semantics`` it is what ``own`` says."""
    add = parser.adder("server")
    add(
        "--semantics",
        metavar="NAME",
        complete=Complete(SEMANTICS),
        help=f"rules of the scheduler: {', '.join(SEMANTICS)} (default: {own})",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="SETTING=VALUE",
        complete=Complete([f"{name}=" for name in _SETTABLE]),
        help=f"change a server setting (repeat for more): {', '.join(_SETTABLE)}",
    )


def read_settings(assignments: Sequence[str]) -> dict[str, Any]:
    """Read ``SETTING=VALUE`` words: numbers as vLLM takes them (2k), true, false, none."""
    settings: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        name = name.replace("-", "_")
        name = _VLLM_NAMES.get(name, name)
        if name == "semantics":
            raise ConfigError(f"--set {text}: use --semantics {value}")
        if name not in _SETTABLE:
            raise ConfigError(f"--set: unknown server setting {name!r}{nearest(name, _SETTABLE)}")
        if not equals:
            raise ConfigError(f"--set {text}: a value is needed, {name}=VALUE")
        try:
            settings[name] = _value(name, value.strip())
        except ConfigError as exc:
            raise ConfigError(f"--set {text}: {exc}") from exc
    return settings


def _value(name: str, text: str) -> Any:
    if name == POOL:
        return flags.human_int(name, text)
    if text.lower() == "none":
        return None
    if name == "horizon_s":
        try:
            return float(text)
        except ValueError:
            raise ConfigError("expected a number of seconds, or none") from None
    if name in FLAGS:
        if text.lower() not in ("true", "false"):
            raise ConfigError("expected true or false")
        return text.lower() == "true"
    flag = "num-gpu-blocks-override" if name == "num_gpu_blocks" else name.replace("_", "-")
    return flags.parse([f"--{flag}={text}"])[name]


def with_semantics(experiment: Experiment, semantics: str | None) -> Experiment:
    """Return the experiment under other semantics; raises ``ConfigError`` for an unknown name."""
    if semantics is None:
        return experiment
    config = experiment.config.replace(semantics=semantics)
    return dataclasses.replace(experiment, config=config)
