"""Progress on standard error: a line rewritten on a terminal, else a line each tenth."""

from __future__ import annotations

import io
import time

import pytest

from pysimbind.cli._progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show(progress: Progress, done: int, what: str = "cmaes") -> None:
    progress.show(what, done, 1000, "best 0.000125 s^2", seconds=done / 100)


def test_in_a_file_it_is_a_line_each_tenth() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    for done in range(10, 1001, 10):
        show(progress, done)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0] == "cmaes 100/1,000  best 0.000125 s^2  100/s  9 s left"
    assert "\r" not in stream.getvalue()


@pytest.mark.parametrize("what", ["cmaes", "max_num_seqs=64 max_num_batched_tokens=2048 x0.5"])
def test_on_a_terminal_it_is_one_line_rewritten(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    clock = iter(range(100))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    stream = Terminal()
    progress = Progress(stream)
    for done in (250, 500, 1000):
        show(progress, done, what)
    progress.close()
    shown = stream.getvalue().split("\r")
    assert len(shown) == 4
    assert stream.getvalue().count("\n") == 1
    assert all(len(part.rstrip("\n")) == 79 for part in shown[1:])
    assert shown[1].startswith(f"[##........] {what[:5]}")
    assert "250/1,000  best 0.000125 s^2  100/s  8 s left" in shown[1]


def test_a_terminal_that_is_narrow_gets_no_second_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    show(Progress(stream), 1000)
    assert len(stream.getvalue()) == len("\r\n") + 19


def test_a_second_job_begins_a_line_of_its_own() -> None:
    stream = Terminal()
    progress = Progress(stream)
    show(progress, 1000, "first")
    show(progress, 1000, "second")
    assert [line.split()[1] for line in stream.getvalue().splitlines() if line] == [
        "first",
        "second",
    ]


def test_slow_work_shows_a_rate_and_long_times(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    Progress(stream).show("runs", 1, 10, seconds=1000)
    assert stream.getvalue() == "runs 1/10  0.001/s  2 h 30 min left\n"


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    show(Progress(quiet=True), 1000)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("gone", ["closed", "none"])
def test_what_nobody_reads_stops_nothing(gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream if gone == "closed" else None)
    progress = Progress()
    stream.close()
    show(progress, 1000)
    progress.close()
