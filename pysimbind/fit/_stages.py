"""The stages after a search. Ctrl-C skips the remaining stages and keeps the results so far.

``fit`` catches ``KeyboardInterrupt`` here. A command may only mark signals, so that none splits a
batch or a file. It then gives an ``Attendant`` as callback, which may raise during a stage.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

from ._search import Callback, FitProgress
from .status import FitStatus

_T = TypeVar("_T")


class Attendant:
    """A callback that also gives ``fit`` a context around each stage after the search.

    A ``KeyboardInterrupt`` from this context, also when it is entered, ends the stages.
    """

    def __call__(self, progress: FitProgress) -> None:
        """Act as a callback of ``fit``."""
        raise NotImplementedError

    def stage(self) -> contextlib.AbstractContextManager[object]:
        """Return the context of one stage."""
        raise NotImplementedError


class Stages:
    """Runs the stages after a search that ended with ``status``, until a Ctrl-C."""

    def __init__(self, callback: Callback | None, status: FitStatus) -> None:
        self._context = (
            callback.stage if isinstance(callback, Attendant) else contextlib.nullcontext
        )
        self._ended = status
        self._lacking: list[str] = []

    def run(self, what: str, work: Callable[[], _T], without: _T) -> _T:
        """Return the result of ``work``; or ``without`` after a Ctrl-C, now or before."""
        if not self._lacking:
            try:
                with self._context():
                    return work()
            except KeyboardInterrupt:
                pass
        self._lacking.append(what)
        return without

    @property
    def status(self) -> FitStatus:
        """Why the fit ended, stages included."""
        return FitStatus.INTERRUPTED if self._lacking else self._ended

    @property
    def notes(self) -> tuple[str, ...]:
        """Say what the result lacks, if anything."""
        if not self._lacking:
            return ()
        ended = "" if self._ended is FitStatus.INTERRUPTED else f" ({self._ended.message})"
        return (
            f"Ctrl-C came after the search had ended{ended}: "
            f"not computed: {', '.join(self._lacking)}",
        )
