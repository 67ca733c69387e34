"""The list of mutants can be planted, and the script tells those that are caught from survivors.

The oracles are planted faults of our own: one that is caught, one that changes nothing, and one
that does not compile. ``python -m tests.mutants`` tries out the whole list.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from . import mutants
from .mutant_list import MUTANTS, Mutant


def test_every_mutant_can_be_planted() -> None:
    """Its text stands exactly once in the sources, and what replaces it is another."""
    for mutant in MUTANTS:
        path, line = mutants.locate(mutant)
        lines = path.read_text("utf-8").splitlines()
        assert mutant.old.strip().split("\n")[0].strip() in lines[line - 1]
        assert mutant.new != mutant.old
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_a_text_that_is_not_there_once_is_an_error() -> None:
    for old, times in (("no such text", 0), ("package sim", 37)):
        with pytest.raises(mutants.MutantError, match="x: its text occurs ") as caught:
            mutants.locate(Mutant("x", old, ""))
        assert (f"occurs {times} times" in str(caught.value)) == (times == 0)
    assert mutants.locate(Mutant("x", "package sim", "", "model.go"))[1] == 1


def test_the_page_lists_them() -> None:
    """All of them, in order, in their files, and each was caught."""
    text = mutants.PAGE.read_text("utf-8")
    rows = text[text.index(mutants.HEAD[0]) :].split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows[2:]]
    assert [cell[0] for cell in cells] == [mutant.name for mutant in MUTANTS]
    for mutant, (_, file, caught_by) in zip(MUTANTS, cells, strict=True):
        assert file == f"`{mutants.locate(mutant)[0].name}`"
        assert caught_by.startswith("`Test")


def test_who_catches_a_fault_is_read_from_what_go_prints() -> None:
    failed = "--- FAIL: TestEdges (0.01s)\n    --- FAIL: TestEdges/a (0.00s)\nFAIL\n"
    assert mutants.failing_test(failed) == "TestEdges"
    slow = "panic: test timed out after 2m0s\n\trunning tests:\n\t\tTestSlow (2m0s)\n"
    assert mutants.failing_test(slow) == "TestSlow"
    died = "panic: index\npysimbind/sim.(*v1Skip).take(0x1)\npysimbind/sim.TestDies(0x2)\n"
    assert mutants.failing_test(died) == "TestDies"
    for output in ("sim/x.go:1: undefined: y\nFAIL\tpysimbind/sim [build failed]\n", "no idea\n"):
        with pytest.raises(mutants.MutantError):
            mutants.failing_test(output)


def test_survivors_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run of the real thing, but for the Go tests: a search for the fault stands in for them."""
    seen = Mutant("a fault that is seen", "hingeTokens = 256", "hingeTokens = 255")
    searched: list[Path] = []
    silent = Mutant("a fault that nobody sees", "maxSetting = math", "maxSetting = 0 + math")

    def search(folder: Path) -> tuple[int, str]:
        searched.append(folder)
        model = (folder / mutants.SOURCES / "model.go").read_text("utf-8")
        return ("hingeTokens = 255" in model), "--- FAIL: TestModel (0.00s)\n"

    monkeypatch.setattr(mutants, "MUTANTS", [seen, silent])
    monkeypatch.setattr(mutants, "run_tests", search)
    page = tmp_path / "page.md"
    page.write_text("above\n\n| fault | in | caught by |\n|---|---|---|\n| old | | |\n\nbelow\n")
    monkeypatch.setattr(mutants, "PAGE", page)
    assert mutants.main(["--jobs", "1", "--update-page"]) == 1
    output = capsys.readouterr().out
    line = mutants.locate(seen)[1]
    assert f"| a fault that is seen | `model.go:{line}` | `TestModel` |" in output
    assert "**survived** |\n1 of 2 survived\n" in output
    assert len(searched) == 3  # once without a fault
    rows = page.read_text().splitlines()
    assert rows[:2] + rows[-2:] == ["above", "", "", "below"]
    assert rows[4] == "| a fault that is seen | `model.go` | `TestModel` |"
    assert mutants.main(["is seen", "--jobs", "1"]) == 0


def test_tests_that_fail_anyhow_catch_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutants, "run_tests", lambda folder: (1, "--- FAIL: TestAny (0.00s)\n"))
    with pytest.raises(mutants.MutantError, match="fail without a fault"):
        mutants.main(["--jobs", "1"])


@pytest.mark.slow
def test_go_catches_a_fault(tmp_path: Path) -> None:
    """With Go itself, in a copy that is left as it was."""
    mutants.copy_sources(tmp_path)
    watermark = next(m for m in MUTANTS if m.name == "the watermark of 0.9.1 not zeroed")
    assert mutants.try_out(watermark, tmp_path).caught_by.startswith("Test")
    changed = subprocess.run(
        ["diff", "-r", mutants.ROOT / mutants.SOURCES, tmp_path / mutants.SOURCES],
        capture_output=True,
        check=False,
    )
    assert changed.returncode == 0
