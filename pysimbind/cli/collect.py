"""The command ``collect``, which is ``python -m pysimbind.collect`` too.

Exit codes: 0 all runs are there; 1 some failed; 2 something given is wrong; 130 Ctrl-C, after which
the table says which runs are missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
import shlex
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..collect.measure import Tools, measure
from ..collect.plan import Run, read_plan
from ..collect.report import DONE, MISSING, SKIPPED, report
from ..collect.server import checked_base_url
from ..collect.store import Store
from ..errors import CollectError, InputError, nearest
from ._command import Command
from ._exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
from ._interrupts import Interrupts, interrupts
from ._outputs import print_report
from ._parser import FILE, FOLDER, Parser
from ._progress import add_quiet, say


def _configure(parser: Parser) -> None:
    parser.adder("arguments")(
        "config",
        metavar="CONFIG",
        complete=FILE,
        help="the runs: YAML (extra 'collect'), or .json",
    )
    _add_server(parser)
    add = parser.adder("runs")
    add(
        "--redo",
        action="append",
        default=[],
        metavar="NAME",
        help="measure a finished run again (repeat for more): block/run, or all of a block",
    )
    add(
        "--run-timeout",
        type=float,
        metavar="SECONDS",
        help="how long a benchmark may take (default: as long as it wants)",
    )
    add("--dry-run", action="store_true", help="print the commands of the runs that are missing")
    parser.adder("output")(
        "--output",
        required=True,
        metavar="DIR",
        complete=FOLDER,
        help="folder of the results, DIR/block/run/ (needed)",
    )
    add_quiet(parser)


def _add_server(parser: Parser) -> None:
    add = parser.adder("server")
    add(
        "--vllm",
        default="vllm",
        metavar="COMMAND",
        help="how to call vLLM, as in /opt/venv/bin/vllm (default: %(default)s)",
    )
    add(
        "--base-url",
        metavar="URL",
        help="measure the server that runs there, and do not stop it; its settings are taken "
        "from the file's vllm: section and from /metrics",
    )
    add(
        "--startup-timeout",
        type=float,
        default=1800.0,
        metavar="SECONDS",
        help="how long a server may take until it is healthy (default: %(default)g)",
    )


def _run(args: argparse.Namespace) -> int:
    runs = read_plan(args.config)
    redo = _redone(args.redo, runs)
    store = Store(args.output)
    tools = _tools(args)
    if args.dry_run:
        pending = store.pending(runs, redo)
        commands = [c for run in pending for c in _commands(tools, store, run)]
        if commands:
            print_report("\n".join(commands))
        return EXIT_OK
    if shutil.which(tools.vllm[0]) is None:
        raise InputError(f"--vllm {tools.vllm[0]}: not found; install vLLM, or name its command")
    with store.locked():
        pending = store.pending(runs, redo)
        with interrupts() as ctrl_c, _terminations(ctrl_c):
            return _collect(runs, pending, store, tools, ctrl_c, args.quiet)


def _collect(
    runs: Sequence[Run],
    pending: Sequence[Run],
    store: Store,
    tools: Tools,
    ctrl_c: Interrupts,
    quiet: bool,
) -> int:
    """Measure what is pending, print the table, and return the exit code."""
    states = dict.fromkeys((run.path for run in runs), SKIPPED)
    states |= dict.fromkeys((run.path for run in pending), MISSING)
    interrupted = False
    tools = dataclasses.replace(tools, check=ctrl_c.check)
    for number, run in enumerate(pending, 1):
        tell = functools.partial(_tell, f"[{number}/{len(pending)}] {run.path}: ", quiet)
        try:
            ctrl_c.check()
            began = time.monotonic()
            tell("measuring")
            measure(run, store, tools)
            tell(f"done in {time.monotonic() - began:.0f} s")
            states[run.path] = DONE
        except CollectError as exc:
            tell(f"failed: {exc}")
            states[run.path] = f"failed: {exc}"
        except KeyboardInterrupt:
            interrupted = True
            break
    print_report(report(runs, states, store))
    if interrupted:
        return EXIT_INTERRUPTED
    complete = all(state in (DONE, SKIPPED) for state in states.values())
    return EXIT_OK if complete else EXIT_FAILED


def _tell(prefix: str, quiet: bool, text: str) -> None:
    say(prefix + text, quiet=quiet)


@contextmanager
def _terminations(ctrl_c: Interrupts) -> Iterator[None]:
    """Take what a job scheduler or a closed terminal sends for Ctrl-C: no server must stay."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals
        return
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, ctrl_c) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _tools(args: argparse.Namespace) -> Tools:
    for option, value in (
        ("--startup-timeout", args.startup_timeout),
        ("--run-timeout", args.run_timeout),
    ):
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{option} {value:g}: must be a number of seconds > 0")
    try:
        vllm = tuple(shlex.split(args.vllm))
    except ValueError as exc:
        raise InputError(f"--vllm {args.vllm}: cannot be split into words: {exc}") from exc
    if not vllm:
        raise InputError("--vllm: names no command")
    url = None if args.base_url is None else checked_base_url(args.base_url)
    return Tools(vllm, url, args.startup_timeout, args.run_timeout)


def _redone(names: Sequence[str], runs: Sequence[Run]) -> tuple[Run, ...]:
    known = dict.fromkeys(name for run in runs for name in (run.block, run.path))
    for name in names:
        if name not in known:
            raise InputError(f"--redo {name}: no such run in the file{nearest(name, known)}")
    return tuple(run for run in runs if run.path in names or run.block in names)


def _commands(tools: Tools, store: Store, run: Run) -> list[str]:
    commands = tools.commands(run, str(store.folder(run)))
    return [shlex.join(command) for command in commands.values()]


COMMAND = Command(
    "collect",
    "measure a real server",
    "CONFIG --output DIR [OPTIONS]",
    "Measure a vLLM server, and save an experiment of each run.",
    _configure,
    _run,
    examples=(
        "runs.yaml --output results --dry-run",
        "runs.yaml --output results --base-url http://localhost:8000",
    ),
    notes=(
        "For each run in CONFIG it starts the server, runs vLLM's benchmark and stops the "
        "server (docs/collect.md). Runs that are finished are not repeated.",
    ),
)
