"""How far a fit is, on standard error: one line rewritten on a terminal, else line by line."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

from ..fit._search import FitProgress

_REWRITE_S = 0.1  # on a terminal: at most ten times a second
_LINE_S = 5.0  # elsewhere: every tenth of the evaluations, and at least this often
_BAR = 10  # short: the whole line fits into 80 columns


class ProgressLine:
    """A callback of ``fit`` that shows best loss, evaluations per second and time left."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._shown_s = float("-inf")
        self._tenths = 0
        self._open = False  # a line on the terminal waits for its end

    def __call__(self, progress: FitProgress) -> None:
        """Show ``progress``, if it is time to."""
        now_s = time.monotonic()
        since_s = now_s - self._shown_s
        tenths = 10 * progress.nfev // progress.max_evals
        done = progress.nfev >= progress.max_evals
        due = since_s >= _REWRITE_S if self._terminal else tenths > self._tenths
        if due or done or (self._tenths and since_s >= _LINE_S):
            self._shown_s, self._tenths = now_s, tenths
            self._write(progress)

    def close(self) -> None:
        """End the line on a terminal."""
        if self._open:
            self._put("\n")
            self._open = False

    def _write(self, progress: FitProgress) -> None:
        text = format_progress(progress)
        if not self._terminal:
            self._put(text + "\n")
            return
        filled = _BAR * progress.nfev // progress.max_evals
        line = f"[{'#' * filled}{'.' * (_BAR - filled)}] {text}"
        width = shutil.get_terminal_size().columns - 1
        self._put("\r" + line[:width].ljust(width))
        self._open = True

    def _put(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # nobody reads it any more: the fit goes on


def format_progress(progress: FitProgress) -> str:
    """Return one line: method, evaluations, best loss, rate and time left."""
    return (
        f"{progress.method} {progress.nfev:,}/{progress.max_evals:,}  "
        f"best {progress.fun:.4g} {progress.unit}  "
        f"{progress.evals_per_s:,.0f}/s  {_duration(progress.time_left_s)} left"
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
