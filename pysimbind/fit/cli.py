"""The command ``python -m pysimbind.fit``.

Exit codes: 0 a fit; 1 the job failed; 2 something given is wrong or a library is not installed;
130 Ctrl-C, with the best so far saved and reported.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn

from ..errors import FitError, InputError, MissingExtraError, OutputError, PysimbindError
from ..experiment import experiment_names, load_experiment
from ..losses import LOSSES
from ._fit import fit
from ._methods import METHODS
from ._search import FitProgress
from .bounds import Fixed
from .progress import ProgressLine
from .result import FitResult, check_writable

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code, having printed at most one line about an error."""
    try:
        return _main(argv)
    except (InputError, MissingExtraError) as exc:
        return _complain(exc, EXIT_USAGE)
    except PysimbindError as exc:
        return _complain(exc, EXIT_FAILED)
    except KeyboardInterrupt:
        return _complain("interrupted before the first evaluation", EXIT_INTERRUPTED)


def _main(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)
    if args.out is not None:
        check_writable(args.out)
    experiment = load_experiment(args.experiment)
    with _interrupts() as interrupts:
        progress = None if args.quiet or sys.stderr is None else ProgressLine()

        def callback(state: FitProgress) -> None:
            if progress is not None:
                progress(state)
            interrupts.check()

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
        _print_report(result, args.out)
    if result.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_OK if result.success else EXIT_FAILED


class _Interrupts:
    """Ctrl-C as a mark, looked at between batches: a second one can't cut the saving short."""

    def __init__(self) -> None:
        self._pending = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._pending = True

    def check(self) -> None:
        if self._pending:
            raise KeyboardInterrupt


@contextlib.contextmanager
def _interrupts() -> Iterator[_Interrupts]:
    interrupts = _Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts  # only the main thread gets signals
        return
    before = signal.signal(signal.SIGINT, interrupts)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise FitError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m pysimbind.fit",
        allow_abbrev=False,
        description="Fit the simulator's parameters to a measured run.",
        epilog=f"bundled experiments: {', '.join(experiment_names())}",
    )
    add = parser.add_argument
    add(
        "experiment",
        nargs="?",
        default="exp1_30rr",
        metavar="EXPERIMENT",
        help="a bundled experiment or a measurement file (default: %(default)s)",
    )
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
    add("--loss", default="original", metavar="NAME", help=f"{', '.join(LOSSES)}")
    add(
        "--fixed",
        action="append",
        metavar="NAME[=VALUE]",
        help="hold a parameter (repeat for more), or 'none' (default: those that change nothing "
        "others can't, except with bayes)",
    )
    add("--out", metavar="FILE", help="save the result as JSON")
    add("--quiet", action="store_true", help="show no progress")
    return parser


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


def _print_report(result: FitResult, out: str | None) -> None:
    saved = "" if out is None else f"\nsaved: {out}"
    try:
        print(result.report() + saved, flush=True)
    except OSError as exc:
        # What is still in the buffer would fail once more when Python flushes it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(exc, BrokenPipeError):  # the reader left (head, less): no failure
            raise OutputError(f"the report cannot be written: {exc.strerror}") from exc


def _complain(problem: object, code: int) -> int:
    with contextlib.suppress(OSError):
        print(f"pysimbind: error: {problem}", file=sys.stderr)
    return code
