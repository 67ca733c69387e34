"""Ctrl-C after the search: what was found is kept, and the result says what it lacks.

Oracles: the same fit when nothing interrupts it, and the exit code that docs/fitting.md promises.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pysimbind import Experiment, FitResult
from pysimbind.cli import fit as cli
from pysimbind.cli import main
from pysimbind.fit import FitProgress, FitStatus, _fit, _task, fit
from pysimbind.fit._checkpoint import Checkpoint
from tests.planted import planted

from .facts import tells

OPTIONS: dict[str, Any] = {"method": "lsq", "model": "small", "max_evals": 30}
COMMAND = ("--method", "lsq", "--model", "small", "--max-evals", "30", "--quiet")
STAGES = {
    "identify": (_task, "what the data tell of the parameters, losses known before, accuracy"),
    "compare": (_task, "losses known before, accuracy"),
    "evaluate": (_fit, "accuracy"),
}
PARTS = {"identify": "identifiability", "compare": "comparisons", "evaluate": "accuracy"}


@pytest.fixture(scope="module")
def run() -> Experiment:
    return planted("run", requests=60)


@pytest.fixture(scope="module")
def whole(run: Experiment) -> FitResult:
    return fit(run, **OPTIONS)


def interrupt(*args: object, **kwargs: object) -> NoReturn:
    raise KeyboardInterrupt


def after_a_signal(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return a stage that gets a real SIGINT, and goes on if that raises nothing."""

    def signalled(*args: object, **kwargs: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return work(*args, **kwargs)

    return signalled


def check_cut(result: FitResult, whole: FitResult, stage: str) -> None:
    """Check that ``result`` is ``whole`` without this stage and those after it, and says so."""
    missing = list(PARTS)[list(PARTS).index(stage) :]
    note = (
        f"Ctrl-C came after the search had ended ({whole.message}): "
        f"not computed: {STAGES[stage][1]}"
    )
    nothing = {PARTS[each]: {} if each == "identify" else () for each in missing}
    expected = dataclasses.replace(
        whole, status=FitStatus.INTERRUPTED, notes=(*whole.notes, note), **nothing
    )
    assert result == expected
    assert result.interrupted
    assert not result.success


@pytest.mark.parametrize("stage", STAGES)
def test_the_result_is_kept(
    stage: str, run: Experiment, whole: FitResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(STAGES[stage][0], stage, interrupt)
    result = fit(run, **OPTIONS)
    check_cut(result, whole, stage)
    assert result.notes[-1] in result.report()
    result.save(tmp_path / "r.json")
    assert FitResult.load(tmp_path / "r.json") == result


@pytest.mark.parametrize("stage", STAGES)
def test_the_command_saves_it_and_ends_with_130(
    stage: str,
    run: Experiment,
    whole: FitResult,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = STAGES[stage][0]
    monkeypatch.setattr(module, stage, after_a_signal(getattr(module, stage)))
    run.save(tmp_path / "run.json")
    out = tmp_path / "r.json"
    assert main(["fit", str(tmp_path / "run.json"), *COMMAND, "--out", str(out)]) == 130
    result = FitResult.load(out)
    # the run went through a file
    check_cut(result, dataclasses.replace(whole, runs=result.runs), stage)
    assert result.notes[-1] in capsys.readouterr().out


def test_the_command_writes_the_whole_record_in_spite_of_ctrl_c(
    run: Experiment, whole: FitResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came too late to cut anything off: the result is as ever, and the exit code is 130."""
    monkeypatch.setattr(FitResult, "save", after_a_signal(FitResult.save))
    run.save(tmp_path / "run.json")
    out = tmp_path / "r.json"
    assert main(["fit", str(tmp_path / "run.json"), *COMMAND, "--out", str(out)]) == 130
    result = FitResult.load(out)
    assert result == dataclasses.replace(whole, runs=result.runs)


def test_ctrl_c_between_stages_ends_the_next(
    run: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command only marks it there, and must not forget it."""
    stage = cli._Attendant.stage

    def signalled(self: cli._Attendant) -> contextlib.AbstractContextManager[object]:
        os.kill(os.getpid(), signal.SIGINT)
        return stage(self)

    monkeypatch.setattr(cli._Attendant, "stage", signalled)
    run.save(tmp_path / "run.json")
    out = tmp_path / "r.json"
    assert main(["fit", str(tmp_path / "run.json"), *COMMAND, "--out", str(out)]) == 130
    assert STAGES["identify"][1] in FitResult.load(out).notes[-1]


@pytest.mark.parametrize("again", [False, True])
def test_what_ctrl_c_in_the_search_leaves(
    again: bool, run: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One ends the search, and the rest is said of the best so far; another ends that too."""
    call = cli._Attendant.__call__

    def signalled(self: cli._Attendant, progress: FitProgress) -> None:
        if progress.nit == 2:
            os.kill(os.getpid(), signal.SIGINT)
        call(self, progress)

    monkeypatch.setattr(cli._Attendant, "__call__", signalled)
    if again:
        monkeypatch.setattr(_fit, "evaluate", after_a_signal(_fit.evaluate))
    run.save(tmp_path / "run.json")
    out = tmp_path / "r.json"
    assert main(["fit", str(tmp_path / "run.json"), *COMMAND, "--out", str(out)]) == 130
    result = FitResult.load(out)
    assert (result.status, result.nit) == (FitStatus.INTERRUPTED, 2)
    assert result.identifiability
    assert result.comparisons
    assert bool(result.accuracy) is not again
    lacks = "Ctrl-C came after the search had ended: not computed: accuracy"
    assert (lacks in result.notes) is again


def test_ctrl_c_while_the_checkpoint_is_saved(
    run: Experiment, whole: FitResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoint, "save", interrupt)
    result = fit(run, **OPTIONS, checkpoint=tmp_path / "c.json")
    assert result.interrupted
    assert (result.fun, result.nfev) == (whole.fun, whole.nfev)
    assert tells(result.notes[-1], "Ctrl-C")
    assert result.accuracy == whole.accuracy
