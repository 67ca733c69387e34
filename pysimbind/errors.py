"""The exceptions that pysimbind raises, all in one tree.

``InputError`` and its children are mistakes in what the user gave (exit code 2 from the command
line); everything else under ``PysimbindError`` is a job that failed (exit code 1).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PysimbindError(Exception):
    """Base of everything that pysimbind raises on purpose."""


class InputError(PysimbindError, ValueError):
    """Something that the caller gave is wrong; the message says what, where and how to mend it."""


class ParameterError(InputError):
    """A coefficient, overhead or bound is missing, unknown, misshapen or not finite."""


class WorkloadError(InputError):
    """Arrivals, token counts or token ids do not describe a workload."""


class ConfigError(InputError):
    """A server setting is unknown, out of range, or not available under the chosen semantics."""


class ExperimentError(InputError):
    """An experiment is unknown, or its file cannot be read as one."""


class DataError(InputError):
    """An experiment's measurements are too doubtful to be fitted, and the caller is strict."""


class FitError(InputError):
    """A fit was asked for with settings that do not go together."""


class OutputError(InputError):
    """A result cannot be written where it was asked for."""


class CollectError(PysimbindError, RuntimeError):
    """A measurement on a real server failed: the server, the benchmark, or what it wrote."""


class MissingExtraError(PysimbindError, ImportError):
    """An optional dependency is not installed; the message names the extra."""


class NativeError(PysimbindError, RuntimeError):
    """The compiled simulator failed, or cannot be used."""


class LibraryError(NativeError):
    """The compiled library is missing, cannot be loaded, or has another ABI version."""


class ForkError(NativeError):
    """The process was forked after the library had been loaded: Go's threads did not survive."""


class HandleError(NativeError):
    """A simulator was used after it had been closed."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name nearest to ``name``, or ``""``."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
