"""Ctrl-C as a mark that the commands look at where it is safe to stop."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from ._exits import EXIT_INTERRUPTED


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
