"""A child process in a group of its own, with its output in a file."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import CollectError

# Signal, and seconds to wait after it: vLLM ends its requests and workers at the first.
STOPPING = ((signal.SIGINT, 30.0), (signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0))
_TAIL_BYTES = 64 * 1024
_LONGEST_LINE = 300
_TELLS_WHY = re.compile(r"\b\w*(?:Error|Exception|Interrupt)\b|\berror:", re.ASCII)
_POINTS_ELSEWHERE = ("See root cause above", "See stack trace", "Traceback")


class Process:
    """A command that runs until it ends or ``stop`` is called; use it as a context manager.

    It has a process group of its own: Ctrl-C in the terminal does not reach it, and stopping it
    stops its children too. Raises ``CollectError`` where it cannot be started.
    """

    def __init__(
        self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        try:
            with log.open("wb") as file:
                self._popen = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=env,
                    start_new_session=True,
                )
        except OSError as exc:
            raise CollectError(
                f"cannot start `{shlex.join(command)}`: {exc.strerror or exc}"
            ) from exc

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def exit_code(self) -> int | None:
        """Return the exit code, None while it runs; minus the number of a signal that ended it."""
        return self._popen.poll()

    def wait(self, seconds: float) -> int | None:
        """Return the exit code once it has ended, None if it runs on after so many seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._popen.wait(seconds)
        return None

    def stop(self, stopping: Sequence[tuple[signal.Signals, float]] = STOPPING) -> None:
        """End the whole group, with one signal after the other until it has ended."""
        for number, grace_s in stopping:
            if self.exit_code() is not None:
                break
            self._signal(number)
            self.wait(grace_s)
        self._signal(signal.SIGKILL)  # what the leader may have left behind

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody left in the group
            os.killpg(self._popen.pid, number)

    def ending(self) -> str:
        """Say how it ended: the exit code and the line of its output that tells most."""
        code = self.exit_code()
        how = f"exit code {code}"
        if code is not None and code < 0:
            how = f"killed by {_signal_name(-code)}"
        line = telling_line(self.log)
        return f"{how}, {line!r}" if line else f"{how}, no output"


def telling_line(log: Path) -> str:
    """Return the last line of a log that names an error; else its last line, ``""`` if empty."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if _TELLS_WHY.search(line)]
    causes = [line for line in errors if not any(phrase in line for phrase in _POINTS_ELSEWHERE)]
    best = (causes or errors or lines or [""])[-1]
    return best if len(best) <= _LONGEST_LINE else best[: _LONGEST_LINE - 3] + "..."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
