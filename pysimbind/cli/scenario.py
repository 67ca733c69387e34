"""What to simulate: an experiment, changed by options, and parameters from somewhere."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .. import _vllm_args
from .._cli import add_experiment, with_semantics
from .._jsonio import read_json
from ..config import FIELDS, FLAGS, ServerConfig
from ..errors import ConfigError, InputError, ParameterError, nearest
from ..experiment import Experiment, load_experiment
from ..fit.result import SCHEMA as FIT_SCHEMA
from ..fit.result import FitResult
from ..parameters import Parameters

_SETTABLE = tuple(name for name in FIELDS if name != "semantics")  # that has its own option
_VLLM_NAMES = {"num_gpu_blocks_override": "num_gpu_blocks"}


@dataclass(frozen=True)
class Scenario:
    """An experiment as changed, its parameters, where they come from, and what to know of it."""

    experiment: Experiment
    params: Parameters
    source: str
    notes: tuple[str, ...]


def add_scenario(parser: argparse.ArgumentParser) -> None:
    """Add the options that ``make_scenario`` reads."""
    add_experiment(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--params", metavar="FILE", help="parameters: a JSON file {name: value}")
    which.add_argument("--fit", metavar="FILE", help="parameters: a saved fit (fit --out FILE)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SETTING=VALUE",
        help=f"change a server setting (repeat for more): {', '.join(_SETTABLE)}",
    )
    parser.add_argument(
        "--max-concurrency",
        type=int,
        metavar="C",
        help="closed loop: at most C requests in flight, as vllm bench serve does",
    )


def make_scenario(args: argparse.Namespace) -> Scenario:
    """Load and change what the options name; raises ``InputError`` where they name nothing good."""
    given = load_experiment(args.experiment)
    experiment = with_semantics(given, args.semantics)
    config = experiment.config.replace(**read_settings(args.set))
    workload = experiment.workload
    if args.max_concurrency is not None:
        workload = workload.with_max_concurrency(args.max_concurrency)
    experiment = dataclasses.replace(experiment, config=config, workload=workload)
    params, source, notes = _parameters(args, experiment)
    return Scenario(experiment, params, source, (*_changes(given, experiment), *notes))


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
    return _vllm_args.parse([f"--{flag}={text}"])[name]


def _changes(given: Experiment, changed: Experiment) -> list[str]:
    before, after = given.config.as_dict(), changed.config.as_dict()
    parts = [f"{n} {before[n]} -> {after[n]}" for n in FIELDS if before[n] != after[n]]
    limit = changed.workload.max_concurrency
    if limit != given.workload.max_concurrency:
        parts.append(f"max_concurrency {given.workload.max_concurrency} -> {limit}")
    notes = [f"changed from the experiment: {', '.join(parts)}"] if parts else []
    assumed = given.provenance.get("config")
    if isinstance(assumed, str):
        notes.append(assumed)
    if changed.config.unmodelled:
        notes.append(_ignored(changed.config))
    return notes


def _ignored(config: ServerConfig) -> str:
    return f"settings that {config.semantics} does not act on: {', '.join(config.unmodelled)}"


def _parameters(
    args: argparse.Namespace, experiment: Experiment
) -> tuple[Parameters, str, list[str]]:
    if args.params is not None:
        return read_parameters(args.params), str(args.params), []
    if args.fit is not None:
        fit = FitResult.load(args.fit)
        notes = []
        if fit.caveat and fit.caveat != experiment.caveat:
            notes.append(f"caveat of the fit: {fit.caveat}")
        if fit.config.semantics != experiment.config.semantics:
            notes.append(
                f"the parameters were fitted under {fit.config.semantics} "
                f"(--semantics {fit.config.semantics} simulates that)"
            )
        source = f"{args.fit}, {fit.method} on {fit.experiment}"
        return Parameters.from_vector(fit.x), source, notes
    if experiment.baseline is None:
        raise InputError(
            f"{experiment.name} has no baseline parameters: give --params FILE, or --fit FILE "
            f"(made by `python -m pysimbind fit {args.experiment} --out FILE`)"
        )
    return experiment.baseline, "the experiment's baseline", []


def read_parameters(path: str) -> Parameters:
    """Read a JSON file {name: value}; raises ``ParameterError`` naming the file."""
    obj = read_json(path, ParameterError)
    if not isinstance(obj, dict):
        raise ParameterError(f"{path}: must be a JSON object {{name: value}} of all parameters")
    if obj.get("schema") == FIT_SCHEMA:
        raise ParameterError(f"{path}: this is a saved fit: give it as --fit {path}")
    try:
        return Parameters.from_mapping(obj)
    except ParameterError as exc:
        raise ParameterError(f"{path}: {exc}") from exc
