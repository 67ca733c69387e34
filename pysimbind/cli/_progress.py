"""How far a job is, on standard error: one line rewritten on a terminal, else line by line."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from typing import TextIO

from ._parser import Parser

_REWRITE_S = 0.1  # on a terminal: at most ten times a second
_LINE_S = 5.0  # elsewhere: every tenth of the work, and at least this often
_BAR = 10


class Progress:
    """A line with a bar, what is done, its rate and the time left.

    ``stream``: standard error unless given; nothing is shown where there is none, or where
    ``quiet``.
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = None if quiet else stream or sys.stderr
        self._terminal = self._stream is not None and self._stream.isatty()
        self._began_s = time.monotonic()
        self._shown_s = float("-inf")
        self._tenths = 0
        self._open = False  # a line on the terminal waits for its end

    def show(
        self, what: str, done: int, total: int, more: str = "", seconds: float | None = None
    ) -> None:
        """Show that so many of ``total`` are done, if it is time to; the last ends the line.

        ``seconds``: how long that took (without it: since the line began).
        """
        if self._stream is None:
            return
        now_s = time.monotonic()
        if self._due(now_s, done, total):
            self._shown_s, self._tenths = now_s, 10 * done // total
            took_s = now_s - self._began_s if seconds is None else seconds
            self._write(what, format_progress(done, total, took_s, more))
        if done >= total:
            self.close()

    def close(self) -> None:
        """End the line on a terminal; what is shown next begins anew."""
        if self._open:
            self._put("\n")
        self._open, self._tenths, self._began_s = False, 0, time.monotonic()

    def _due(self, now_s: float, done: int, total: int) -> bool:
        since_s = now_s - self._shown_s
        if done >= total:
            return True
        if self._terminal:
            return since_s >= _REWRITE_S
        return 10 * done // total > self._tenths or (self._tenths > 0 and since_s >= _LINE_S)

    def _write(self, what: str, figures: str) -> None:
        if not self._terminal:
            self._put(f"{what} {figures}\n")
            return
        filled = min(_BAR * self._tenths // 10, _BAR)
        bar = f"[{'#' * filled}{'.' * (_BAR - filled)}] "
        width = shutil.get_terminal_size().columns - 1
        room = width - len(bar) - len(figures) - 1
        if len(what) > room:  # the figures matter more than the name of the job
            what = what[: max(room - 3, 0)] + "..."
        self._put("\r" + f"{bar}{what} {figures}"[:width].ljust(width))
        self._open = True

    def _put(self, text: str) -> None:
        assert self._stream is not None
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more: the job goes on
            self._stream.write(text)
            self._stream.flush()


def format_progress(done: int, total: int, seconds: float, more: str = "") -> str:
    """Return what is done in so many seconds, the rate, and the time left or taken."""
    rate = done / seconds if seconds > 0 else 0.0
    if done >= total:
        left = f"in {_duration(seconds)}"
    else:
        left = f"{_duration((total - done) / rate)} left" if rate > 0 else "..."
    per_s = f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"
    return "  ".join([f"{done:,}/{total:,}", *([more] if more else []), per_s, left])


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def say(text: str, *, quiet: bool) -> None:
    """Print a line on standard error, unless ``quiet`` or nobody reads it."""
    if not quiet and sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            print(text, file=sys.stderr, flush=True)


def add_quiet(parser: Parser) -> None:
    """Add ``--quiet``."""
    parser.adder("output")("--quiet", action="store_true", help="show no progress")
