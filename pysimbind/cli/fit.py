"""The command ``python -m pysimbind.fit``, which is ``python -m pysimbind fit`` too.

Exit codes: those of all commands; after Ctrl-C the best so far is saved and reported.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from .._io.files import read_json
from ..errors import FitError, ParameterError
from ..experiment import Experiment
from ..fit._fit import fit
from ..fit._methods import METHODS
from ..fit._search import FitProgress
from ..fit._stages import Attendant
from ..fit.bounds import KINDS as BOUNDS
from ..fit.bounds import Fixed
from ..fit.holdout import KINDS as HOLDOUTS
from ..fit.result import FitResult
from ..fit.saved import SCHEMA
from ..formats import experiment_names
from ..losses import LOSSES
from ..models import MODELS
from .common import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    Command,
    Interrupts,
    add_reading,
    add_semantics,
    add_settings,
    check_outputs,
    interrupts,
    print_report,
    read_experiment,
    read_settings,
    reading_inputs,
    with_semantics,
)
from .progress import ProgressLine

DEFAULT_EXPERIMENT = "exp1_30rr"


def _run(args: argparse.Namespace) -> int:
    inputs = [*args.experiments, *reading_inputs(args), args.bounds, args.initial]
    check_outputs([args.out, args.checkpoint], inputs)
    check_outputs([args.out], [args.resume])  # a checkpoint may go on in the file that it is from
    experiments = [_read(args, name) for name in args.experiments]
    with interrupts() as ctrl_c:
        result = _fit(args, experiments, ctrl_c)
        if args.out is not None:
            result.save(args.out)
        print_report(result.report() + ("" if args.out is None else f"\nsaved: {args.out}"))
    if result.interrupted or ctrl_c.pending:  # it came while all that was left was to write
        return EXIT_INTERRUPTED
    return EXIT_OK if result.success else EXIT_FAILED


class _Attendant(Attendant):
    """Shows progress, and lets Ctrl-C end the search after a batch, what follows it at once."""

    def __init__(self, progress: ProgressLine | None, ctrl_c: Interrupts) -> None:
        self._progress, self._ctrl_c = progress, ctrl_c

    def __call__(self, progress: FitProgress) -> None:
        if self._progress is not None:
            self._progress(progress)
        self._ctrl_c.check()

    def stage(self) -> contextlib.AbstractContextManager[object]:
        return self._ctrl_c.at_once()


def _fit(
    args: argparse.Namespace, experiments: Sequence[Experiment], ctrl_c: Interrupts
) -> FitResult:
    progress = None if args.quiet or sys.stderr is None else ProgressLine()

    try:
        return fit(
            experiments,
            args.method,
            model=args.model,
            loss=args.loss,
            bounds=args.bounds,
            fixed=_fixed(args.fixed),
            weights=args.weights,
            holdout=args.holdout,
            initial=None if args.initial is None else _initial(args.initial),
            ridge=args.ridge,
            max_evals=args.max_evals,
            max_time_s=args.max_time,
            seed=args.seed,
            callback=_Attendant(progress, ctrl_c),
            checkpoint=args.checkpoint,
            resume=args.resume,
            strict=args.strict,
        )
    finally:
        if progress is not None:
            progress.close()


def _read(args: argparse.Namespace, name: str) -> Experiment:
    settings = read_settings(args.set)
    return with_semantics(read_experiment(args, settings, name), args.semantics)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Fit the simulator's parameters to a measured run, or to several runs at once."
    )
    parser.epilog = f"bundled experiments: {', '.join(experiment_names())}"
    parser.add_argument(
        "experiments",
        nargs="*",
        default=[DEFAULT_EXPERIMENT],
        metavar="EXPERIMENT",
        help="bundled experiments or measurement files, which share the parameters "
        f"(default: {DEFAULT_EXPERIMENT})",
    )
    add_semantics(parser)
    _add_problem(parser.add_argument)
    _add_search(parser.add_argument)
    add = parser.add_argument
    add("--out", metavar="FILE", help="save the fit record as JSON")
    add("--strict", action="store_true", help="refuse data that the checks find fault with")
    add("--quiet", action="store_true", help="show no progress")
    add_reading(parser)
    add_settings(parser)


def _add_problem(add: Callable[..., Any]) -> None:
    add(
        "--model",
        metavar="MODEL",
        help=f"{', '.join(MODELS)}, or terms as in 'intercept,D,P,ctx,out' (default: quadratic15 "
        "where the experiments bring a baseline or bounds, else extended)",
    )
    add(
        "--loss",
        default="recipe",
        metavar="LOSS",
        help=f"{', '.join(LOSSES)}, or words as in 'relative,ttft,e2e:5,tpot.p99,soft_l1:0.05,"
        "warmup:10' (default: recipe)",
    )
    add(
        "--bounds",
        metavar="BOX",
        help=f"{', '.join(BOUNDS)}, a box of the experiment, or a JSON file {{name: [lower, "
        "upper]}} (default: original where the experiment has it, else nonnegative)",
    )
    add(
        "--fixed",
        action="append",
        metavar="NAME[=VALUE]",
        help="hold a parameter (repeat for more), or 'none' (default: those that change nothing "
        "others can't, except with bayes)",
    )
    add("--holdout", metavar="WHAT", help=f"keep from the fit, and predict: {HOLDOUTS}")
    add("--weights", type=_weights, metavar="W,W,...", help="of the runs (default: equal)")
    add("--initial", metavar="FILE", help="parameters to start from: {name: value}, or a fit")
    add("--ridge", type=float, metavar="W", help="pull of the later terms to 0 (default: 3e-5)")


def _add_search(add: Callable[..., Any]) -> None:
    add("--method", default="auto", metavar="NAME", help=f"{', '.join(METHODS)} (default: auto)")
    budgets = ", ".join(f"{m.name} {m.max_evals:,}" for m in METHODS.values())
    add("--max-evals", type=int, metavar="N", help=f"evaluations (default: {budgets})")
    add("--max-time", type=float, metavar="SECONDS", help="stop after this time (default: never)")
    seeds = ", ".join(f"{m.name} {m.seed}" for m in METHODS.values())
    add("--seed", type=int, metavar="S", help=f"same seed, same result (default: {seeds})")
    add("--checkpoint", metavar="FILE", help="keep what was evaluated here, for --resume")
    add("--resume", metavar="FILE", help="go on from there: same options, same result")


def _weights(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers, as in 1,2,1") from None


def _initial(path: str) -> object:
    """Read parameters {name: value}, or those of a fit record."""
    obj = read_json(path, ParameterError)
    if isinstance(obj, dict) and obj.get("schema") == SCHEMA:
        return FitResult.load(path).parameters
    if not isinstance(obj, dict):
        raise ParameterError(f"{path}: must be a JSON object {{name: value}} of all parameters")
    return obj


def _fixed(given: list[str] | None) -> Fixed | None:
    if given is None:
        return None
    if given == ["none"]:
        return ()
    if "none" in given:
        raise FitError(
            "--fixed none: holds nothing, so it stands alone; leave it or the others out"
        )
    values: dict[str, float | None] = {}
    for text in given:
        name, equals, number = text.partition("=")
        try:
            values[name] = float(number) if equals else None
        except ValueError:
            raise FitError(f"--fixed {text}: {number!r} is not a number") from None
    return values


COMMAND = Command("fit", "fit the parameters to measured runs", _configure, _run)
