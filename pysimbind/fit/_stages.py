"""What comes after a search, stage by stage: Ctrl-C leaves out the rest, and keeps what there is.

``fit`` catches ``KeyboardInterrupt`` here. A command that only marks signals, so that none splits a
batch or a file, gives an ``Attendant`` for callback: it may raise while a stage is under way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

from ._search import Callback, FitProgress
from .status import FitStatus

_T = TypeVar("_T")


class Attendant:
    """A callback that ``fit`` also asks for a context around each stage after the search.

    What of it raises ``KeyboardInterrupt``, entering included, ends the stages.
    """

    def __call__(self, progress: FitProgress) -> None:
        """Do as a callback of ``fit`` does."""
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
        """Return what ``work`` does, or ``without`` if Ctrl-C ends it or ended one before it."""
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
        """Why the fit ended, all in all."""
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
