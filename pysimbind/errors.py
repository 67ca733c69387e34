"""The exceptions of pysimbind, all in one tree.

``InputError`` and its children report a mistake in the user's input (exit code 2 of the command
line). Any other ``PysimbindError`` reports a job that failed (exit code 1).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PysimbindError(Exception):
    """Base of all exceptions that pysimbind raises on purpose."""


class InputError(PysimbindError, ValueError):
    """An input is wrong. The message says what is wrong, where, and how to correct it."""


class ParameterError(InputError):
    """A coefficient, overhead or bound is missing, unknown, not finite, or of a wrong shape."""


class WorkloadError(InputError):
    """Arrivals, token counts or token ids do not describe a workload."""


class ConfigError(InputError):
    """A server setting is unknown, out of range, or not available under the chosen semantics."""


class ExperimentError(InputError):
    """An experiment is unknown, or its file cannot be read as one."""


class DataError(InputError):
    """The measurements are too doubtful for a fit, and the caller asked for strict checks."""


class FitError(InputError):
    """The settings of a fit contradict each other, or do not suit the data."""


class OutputError(InputError):
    """A result cannot be written to the given place."""


class CollectError(PysimbindError, RuntimeError):
    """A measurement on a real server failed: the server, the benchmark, or what it wrote."""


class MissingExtraError(PysimbindError, ImportError):
    """An optional dependency is not installed; the message names the extra."""


class NativeError(PysimbindError, RuntimeError):
    """The compiled simulator failed, or cannot be used."""


class LibraryError(NativeError):
    """The compiled library is missing, cannot be loaded, or has another ABI version."""


class ForkError(NativeError):
    """The process was forked after the library was loaded: Go's threads do not survive."""


class HandleError(NativeError):
    """A closed simulator was used."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name nearest to ``name``, or ``""``."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
