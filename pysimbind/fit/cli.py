"""The command ``python -m pysimbind.fit``, which is ``python -m pysimbind fit`` too.

Exit codes: those of all commands; after Ctrl-C the best so far is saved and reported.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .._cli import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    Command,
    Parser,
    add_experiment,
    add_reading,
    add_settings,
    check_outputs,
    guarded,
    interrupts,
    print_report,
    read_experiment,
    read_settings,
    reading_inputs,
    with_semantics,
)
from ..errors import FitError
from ..experiment import experiment_names
from ..losses import LOSSES
from ._fit import fit
from ._methods import METHODS
from ._search import FitProgress
from .bounds import Fixed
from .progress import ProgressLine


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code, having printed at most one line about an error."""

    def work() -> int:
        parser = Parser(prog="python -m pysimbind.fit", allow_abbrev=False)
        COMMAND.configure(parser)
        return COMMAND.run(parser.parse_args(argv))

    return guarded(work)


def _run(args: argparse.Namespace) -> int:
    check_outputs([args.out], [*reading_inputs(args), args.bounds])
    experiment = with_semantics(read_experiment(args, read_settings(args.set)), args.semantics)
    with interrupts() as ctrl_c:
        progress = None if args.quiet or sys.stderr is None else ProgressLine()

        def callback(state: FitProgress) -> None:
            if progress is not None:
                progress(state)
            ctrl_c.check()

        try:
            result = fit(
                experiment,
                args.method,
                loss=args.loss,
                bounds=args.bounds,
                fixed=_fixed(args.fixed),
                max_evals=args.max_evals,
                max_time_s=args.max_time,
                seed=args.seed,
                callback=callback,
            )
        finally:
            if progress is not None:
                progress.close()
        if args.out is not None:
            result.save(args.out)
        print_report(result.report() + ("" if args.out is None else f"\nsaved: {args.out}"))
    if result.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_OK if result.success else EXIT_FAILED


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Fit the simulator's parameters to a measured run."
    parser.epilog = f"bundled experiments: {', '.join(experiment_names())}"
    add_experiment(parser)
    add_reading(parser)
    add_settings(parser)
    add = parser.add_argument
    add("--method", default="cmaes", metavar="NAME", help=f"{', '.join(METHODS)} (default: cmaes)")
    budgets = ", ".join(f"{m.name} {m.max_evals:,}" for m in METHODS.values())
    add("--max-evals", type=int, metavar="N", help=f"evaluations (default: {budgets})")
    add("--max-time", type=float, metavar="SECONDS", help="stop after this time (default: never)")
    seeds = ", ".join(f"{m.name} {m.seed}" for m in METHODS.values())
    add("--seed", type=int, metavar="S", help=f"same seed, same result (default: {seeds})")
    add(
        "--bounds",
        metavar="BOX",
        help="a box of the experiment, 'default', or a JSON file {name: [lower, upper]} "
        "(default: original where the experiment has it)",
    )
    add(
        "--loss",
        default="original",
        metavar="LOSS",
        help=f"{', '.join(LOSSES)}, or words as in 'relative,ttft,e2e:5,tpot.p99,soft_l1:0.05,"
        "warmup:10' (default: original)",
    )
    add(
        "--fixed",
        action="append",
        metavar="NAME[=VALUE]",
        help="hold a parameter (repeat for more), or 'none' (default: those that change nothing "
        "others can't, except with bayes)",
    )
    add("--out", metavar="FILE", help="save the result as JSON")
    add("--quiet", action="store_true", help="show no progress")


def _fixed(given: list[str] | None) -> Fixed | None:
    if given is None:
        return None
    if given == ["none"]:
        return ()
    values: dict[str, float | None] = {}
    for text in given:
        name, equals, number = text.partition("=")
        try:
            values[name] = float(number) if equals else None
        except ValueError:
            raise FitError(f"--fixed {text}: {number!r} is not a number") from None
    return values


COMMAND = Command("fit", "fit the parameters to a measured run", _configure, _run)
