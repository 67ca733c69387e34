"""The command ``fit``, which is ``python -m pysimbind.fit`` too.

Exit codes: those of all commands; after Ctrl-C the best so far is saved and reported.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence

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
from ..losses import LOSSES
from ..models import MODELS, QUADRATIC15
from ._command import Command
from ._exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
from ._interrupts import Interrupts, interrupts
from ._outputs import check_outputs, print_report
from ._parser import FILE, Complete, Parser
from ._progress import Progress, add_quiet
from ._reading import (
    BUNDLED,
    DEFAULT_EXPERIMENT,
    EXPERIMENT,
    add_reading,
    add_strict,
    read_experiment,
    reading_inputs,
)
from ._server import add_server, read_settings, with_semantics


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

    def __init__(self, progress: Progress, ctrl_c: Interrupts) -> None:
        self._progress, self._ctrl_c = progress, ctrl_c

    def __call__(self, fit: FitProgress) -> None:
        best = f"best {fit.fun:.4g} {fit.unit}"
        self._progress.show(fit.method, fit.nfev, fit.max_evals, best, fit.time_s)
        self._ctrl_c.check()

    def stage(self) -> contextlib.AbstractContextManager[object]:
        return self._ctrl_c.at_once()


def _fit(
    args: argparse.Namespace, experiments: Sequence[Experiment], ctrl_c: Interrupts
) -> FitResult:
    progress = Progress(quiet=args.quiet)
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
        progress.close()


def _read(args: argparse.Namespace, name: str) -> Experiment:
    settings = read_settings(args.set)
    return with_semantics(read_experiment(args, settings, name), args.semantics)


def _configure(parser: Parser) -> None:
    parser.adder("arguments")(
        "experiments",
        nargs="*",
        default=[DEFAULT_EXPERIMENT],
        metavar="EXPERIMENT",
        complete=EXPERIMENT,
        help="bundled experiments or measurement files, which share the parameters "
        f"(default: {DEFAULT_EXPERIMENT})",
    )
    add_reading(parser)
    add_strict(parser)
    add_server(parser)
    _add_parameters(parser)
    _add_search(parser)
    parser.adder("output")(
        "--out", metavar="FILE", complete=FILE, help="save the fit record as JSON"
    )
    add_quiet(parser)


def _add_parameters(parser: Parser) -> None:
    add = parser.adder("parameters")
    add(
        "--model",
        metavar="MODEL",
        complete=Complete(MODELS),
        help=f"{', '.join(MODELS)}, or terms as in 'intercept,D,P,ctx,out' (default: quadratic15 "
        "where the experiments bring a baseline or bounds, else extended)",
    )
    add(
        "--bounds",
        metavar="BOX",
        complete=Complete(("original", *(kind for kind in BOUNDS if ":" not in kind)), files=True),
        help=f"{', '.join(BOUNDS)}, a box of the experiment, or a JSON file {{name: [lower, "
        "upper]} (default: original where the experiment has it, else nonnegative)",
    )
    add(
        "--fixed",
        action="append",
        metavar="NAME[=VALUE]",
        complete=Complete(("none", *QUADRATIC15.names)),
        help="hold a parameter (repeat for more), or 'none' (default: those whose effect others "
        "can take over, except with bayes)",
    )
    add(
        "--initial",
        metavar="FILE",
        complete=FILE,
        help="parameters to start from: {name: value}, or a saved fit",
    )
    add("--ridge", type=float, metavar="W", help="pull of the later terms to 0 (default: 3e-5)")


def _add_search(parser: Parser) -> None:
    add = parser.adder("search")
    add(
        "--loss",
        default="recipe",
        metavar="LOSS",
        complete=Complete(LOSSES),
        help=f"{', '.join(LOSSES)}, or words as in 'relative,ttft,e2e:5,tpot.p99,soft_l1:0.05,"
        "warmup:10' (default: %(default)s)",
    )
    add("--weights", type=_weights, metavar="W,W,...", help="of the runs (default: equal)")
    add("--holdout", metavar="WHAT", help=f"keep from the fit, and predict: {HOLDOUTS}")
    add(
        "--method",
        default="auto",
        metavar="NAME",
        complete=Complete(METHODS),
        help=f"{', '.join(METHODS)} (default: %(default)s)",
    )
    budgets = ", ".join(f"{m.name} {m.max_evals:,}" for m in METHODS.values())
    add("--max-evals", type=int, metavar="N", help=f"evaluations (default: {budgets})")
    add("--max-time", type=float, metavar="SECONDS", help="stop after this time (default: never)")
    seeds = ", ".join(f"{m.name} {m.seed}" for m in METHODS.values())
    add("--seed", type=int, metavar="S", help=f"same seed, same result (default: {seeds})")
    add(
        "--checkpoint",
        metavar="FILE",
        complete=FILE,
        help="keep what was evaluated here, for --resume",
    )
    add(
        "--resume",
        metavar="FILE",
        complete=FILE,
        help="go on from this checkpoint: same options, same result",
    )


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


COMMAND = Command(
    "fit",
    "fit the parameters to measured runs",
    "[EXPERIMENT ...] [OPTIONS]",
    "Fit the simulator's parameters to one measured run, or to several at once.",
    _configure,
    _run,
    examples=(
        "--out fit.json",
        "run1.json run2.json --server-log server.log --out fit.json",
        "run1.json --method lsq --holdout alternate",
    ),
    notes=(BUNDLED, "After Ctrl-C the best parameters so far are saved and reported."),
)
