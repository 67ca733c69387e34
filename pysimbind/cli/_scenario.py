"""What to simulate: an experiment, changed by options, and parameters from somewhere."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass

from .._io.files import read_json
from ..config import FIELDS, ServerConfig
from ..errors import InputError, ParameterError
from ..experiment import Experiment
from ..fit import FitResult
from ..fit.saved import SCHEMA as FIT_SCHEMA
from ..models import MODELS, QUADRATIC15
from ..parameters import Parameters
from ._parser import FILE, Complete, Parser
from ._reading import DEFAULT_EXPERIMENT, EXPERIMENT, add_reading, read_experiment
from ._server import add_server, read_settings, with_semantics
from ._workload import add_workload, read_workload, with_workload


@dataclass(frozen=True)
class Scenario:
    """An experiment as changed, its parameters, where they come from, and what to know of it."""

    experiment: Experiment
    params: Parameters
    source: str
    notes: tuple[str, ...]


def add_scenario(parser: Parser) -> None:
    """Add the options that ``make_scenario`` reads."""
    parser.adder("arguments")(
        "experiment",
        nargs="?",
        default=DEFAULT_EXPERIMENT,
        metavar="EXPERIMENT",
        complete=EXPERIMENT,
        help="a bundled experiment or a measurement file (default: %(default)s)",
    )
    add_reading(parser)
    add_server(parser)
    parser.adder("server")(
        "--max-concurrency",
        type=int,
        metavar="C",
        help="closed loop: at most C requests in flight, as vllm bench serve does",
    )
    add = parser.adder("parameters", one=True)
    add(
        "--params",
        metavar="FILE",
        complete=FILE,
        help="a JSON file {name: value} (default: the experiment's baseline)",
    )
    add("--fit", metavar="FILE", complete=FILE, help="a saved fit (fit --out FILE)")
    add_model(parser)
    add_workload(parser)


def make_scenario(args: argparse.Namespace) -> Scenario:
    """Load and change what the options name; raises ``InputError`` where they name nothing good."""
    given = read_experiment(args)
    other = read_workload(args)
    if other is not None:
        given = with_workload(given, other)
    experiment = with_semantics(given, args.semantics)
    config = experiment.config.replace(**read_settings(args.set))
    workload = experiment.workload
    if args.max_concurrency is not None:
        workload = workload.with_max_concurrency(args.max_concurrency)
    experiment = dataclasses.replace(experiment, config=config, workload=workload)
    params, source, notes = _parameters(args, experiment)
    return Scenario(experiment, params, source, (*_changes(given, experiment), *notes))


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
        return read_parameters(args.params, args.model), str(args.params), []
    if args.model is not None:
        raise InputError("--model says what the names in --params FILE mean: give both")
    if args.fit is not None:
        fit = FitResult.load(args.fit)
        return fit.parameters, f"{args.fit}, {fit.method} on {fit.experiment}", _of(fit, experiment)
    if experiment.baseline is None:
        raise InputError(
            f"{experiment.name} has no baseline parameters: give --params FILE, or --fit FILE "
            f"(made by `pysimbind fit {args.experiment} --out FILE`)"
        )
    return experiment.baseline, "the experiment's baseline", []


def _of(fit: FitResult, experiment: Experiment) -> list[str]:
    """Say what of a fit does not go with the experiment."""
    notes = []
    if fit.caveat and fit.caveat != experiment.caveat:
        notes.append(f"caveat of the fit: {fit.caveat}")
    semantics = list(dict.fromkeys(run.config.semantics for run in fit.runs))
    if experiment.config.semantics not in semantics:
        notes.append(
            f"the parameters were fitted under {semantics[0]} "
            f"(--semantics {semantics[0]} simulates that)"
        )
    return notes


def add_model(parser: Parser) -> None:
    """Add the model whose parameters ``read_parameters`` reads."""
    parser.adder("parameters")(
        "--model",
        metavar="MODEL",
        complete=Complete(MODELS),
        help=f"model of --params: {', '.join(MODELS)}, or terms as in 'intercept,D,P,ctx' "
        "(default: quadratic15)",
    )


def read_parameters(path: str, model: str | None = None) -> Parameters:
    """Read a JSON file {name: value} of a model, or what ``export --format json`` wrote.

    Raises ``ParameterError`` naming the file.
    """
    obj = read_json(path, ParameterError)
    if not isinstance(obj, dict):
        raise ParameterError(f"{path}: must be a JSON object {{name: value}} of all parameters")
    if obj.get("schema") == FIT_SCHEMA:
        raise ParameterError(f"{path}: this is a saved fit: give it as --fit {path}")
    if isinstance(obj.get("params"), dict):  # exported, with the terms of its model
        model, obj = model or obj.get("model", model), obj["params"]
    try:
        return Parameters.from_mapping(obj, model or QUADRATIC15)
    except ParameterError as exc:
        raise ParameterError(f"{path}: {exc}") from exc
