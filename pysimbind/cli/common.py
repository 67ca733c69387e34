"""What the commands share: exit codes, one-line errors, Ctrl-C, and options.

Exit codes: 0 it worked; 1 the job failed; 2 something given is wrong or a library is not
installed; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from .._io.files import check_writable
from ..config import FIELDS, FLAGS, POOL, SEMANTICS
from ..errors import (
    ConfigError,
    InputError,
    MissingExtraError,
    OutputError,
    PysimbindError,
    nearest,
)
from ..experiment import Experiment
from ..formats import ARRIVALS, load_experiment
from ..vllm import flags

_SETTABLE = (*(name for name in FIELDS if name != "semantics"), POOL)  # that has its own option
_VLLM_NAMES = {"num_gpu_blocks_override": "num_gpu_blocks"}
_READING = (
    "server_log",
    "server_args",
    "arrivals",
    "workload",
    "columns",
    "run",
    "drop_warmup",
)

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


def program() -> str:
    """Return how this process was called, for usage lines and errors."""
    for dash_m, module in itertools.pairwise(sys.orig_argv):
        if dash_m == "-m" and module.partition(".")[0] == "pysimbind":
            return f"python -m {module}"
    return "pysimbind"


class Parser(argparse.ArgumentParser):
    """A parser that raises ``InputError`` in place of printing its usage.

    A word that begins as a negative number is a value, as in ``--regression-coeffs -1e-05,2``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._negative_number_matcher = re.compile(r"-\.?\d")

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong, and say where to read more."""
        unknown = message.partition("unrecognized arguments: ")[2].split(" ")[0]
        if unknown.startswith("--"):
            message += nearest(unknown, self._option_string_actions)
        raise InputError(f"{message} (see {self.prog} --help)")


@dataclass(frozen=True)
class Command:
    """One command: ``configure`` adds its options to a parser, ``run`` returns the exit code."""

    name: str
    summary: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def guarded(work: Callable[[], int]) -> int:
    """Do the work of a command; returns its exit code, having printed one line about an error."""
    try:
        return work()
    except (InputError, MissingExtraError) as exc:
        return _complain(exc, EXIT_USAGE)
    except PysimbindError as exc:
        return _complain(exc, EXIT_FAILED)
    except MemoryError:
        return _complain("not enough memory for this workload", EXIT_FAILED)
    except KeyboardInterrupt:
        return _complain("interrupted before there was a result", EXIT_INTERRUPTED)


def _complain(problem: object, code: int) -> int:
    with contextlib.suppress(OSError):
        print(f"pysimbind: error: {problem}", file=sys.stderr)
    return code


class Interrupts:
    """Ctrl-C as a mark, looked at between batches: a second one can't cut the saving short.

    ``pending``: whether there was one.
    """

    def __init__(self) -> None:
        self.pending = False
        self._told = self._at_once = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Mark the signal; raise at once where that was asked for."""
        self.pending = True
        if self._at_once:
            self._at_once = False  # one is enough
            self.check()

    def check(self) -> None:
        """Raise ``KeyboardInterrupt`` if there was a Ctrl-C."""
        if self.pending:
            self._told = True
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise ``KeyboardInterrupt`` when Ctrl-C comes, or now if none was told of one before."""
        self._at_once = True
        try:
            if not self._told:
                self.check()
            yield
        finally:
            self._at_once = False


@contextlib.contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Mark Ctrl-C while the context lasts, and give the signal back afterwards."""
    marked = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield marked  # only the main thread gets signals
        return
    before = signal.signal(signal.SIGINT, marked)
    try:
        yield marked
    finally:
        signal.signal(signal.SIGINT, before)


def leave(code: int) -> int:
    """Return the exit code; after a Ctrl-C, another one may not change it while Python ends."""
    if code == EXIT_INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


def print_report(text: str) -> None:
    """Print to standard output; raises ``OutputError`` if it cannot be written there.

    Characters that its encoding lacks become question marks.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "replace").decode(encoding), flush=True)
    except OSError as exc:
        # What is still in the buffer would fail once more when Python flushes it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(exc, BrokenPipeError):  # the reader left (head, less): no failure
            raise OutputError(f"the report cannot be written: {exc.strerror}") from exc


def check_outputs(outputs: Sequence[str | None], inputs: Sequence[str | None]) -> None:
    """Find what cannot be written before there is anything to write; None is an option not given.

    Raises ``OutputError`` for a file that cannot be written, is given twice, or is read too.
    """
    taken = {os.path.realpath(path) for path in inputs if path is not None and os.path.exists(path)}
    for path in outputs:
        if path is None:
            continue
        check_writable(path)
        where = os.path.realpath(path)
        if where in taken:
            raise OutputError(f"{path}: already an input or another output; name another file")
        taken.add(where)


def add_experiment(parser: argparse.ArgumentParser) -> None:
    """Add the experiment to work on and the semantics to simulate it with."""
    parser.add_argument(
        "experiment",
        nargs="?",
        default="exp1_30rr",
        metavar="EXPERIMENT",
        help="a bundled experiment or a measurement file (default: %(default)s)",
    )
    add_semantics(parser)


def add_semantics(parser: argparse.ArgumentParser) -> None:
    """Add the semantics to simulate with."""
    parser.add_argument(
        "--semantics",
        metavar="NAME",
        help=f"{', '.join(SEMANTICS)} (default: the experiment's own)",
    )


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add the options that ``read_experiment`` reads: what a measurement file may not tell."""
    group = parser.add_argument_group("reading a measurement file (docs/formats.md)")
    add = group.add_argument
    add("--server-log", metavar="FILE", help="the vLLM server's log: settings and KV blocks")
    add(
        "--server-args",
        metavar="TEXT",
        help="its command line, as in --server-args='vllm serve ...'",
    )
    add("--arrivals", metavar="SPEC", help=f"draw the arrivals as the client did: {ARRIVALS}")
    add("--workload", metavar="FILE", help="token counts, for files that have none")
    add("--columns", metavar="MAP", help="columns of a table: arrival=NAME,ttft=NAME:ms,...")
    add("--run", type=int, metavar="N", help="which of several runs in the file, from 1")
    add(
        "--drop-warmup", action="store_true", help="leave warm-up requests out, not just unmeasured"
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add ``--set``, which ``read_settings`` reads."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SETTING=VALUE",
        help=f"change a server setting (repeat for more): {', '.join(_SETTABLE)}",
    )


def read_experiment(
    args: argparse.Namespace,
    settings: Mapping[str, Any] | None = None,
    experiment: str | None = None,
) -> Experiment:
    """Load what ``add_experiment`` and ``add_reading`` name.

    ``settings`` win over all that is known of the server; ``experiment`` is read in place of the
    one that the options name. Raises ``InputError`` where they name nothing good.
    """
    name = args.experiment if experiment is None else experiment
    return load_experiment(name, settings=settings or None, **reading_options(args))


def reading_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return what ``add_reading`` asks for, as options of ``load_experiment``."""
    return {name: getattr(args, name) for name in _READING}


def reading_inputs(args: argparse.Namespace) -> list[str | None]:
    """Return the files beside the experiment that ``read_experiment`` reads."""
    return [args.server_log, args.workload]


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
