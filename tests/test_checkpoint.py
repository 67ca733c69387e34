"""A resumed fit ends in the same bits as one that was never interrupted: that one is the oracle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pysimbind import Experiment, FitError, FitResult
from pysimbind.fit import FitProgress, fit
from tests.planted import TRUTH, planted

from .facts import facts

METHODS = {"auto": 250, "lsq": 60, "cmaes": 300, "de": 300, "lbfgsb": 80, "nelder-mead": 80}


@pytest.fixture(scope="module")
def run() -> Experiment:
    return planted(requests=40, rate_rps=30)


def same(a: FitResult, b: FitResult) -> None:
    assert a.x.tobytes() == b.x.tobytes()
    assert a == b


def stop_at(nit: int, how: type[BaseException]) -> Any:
    def callback(progress: FitProgress) -> None:
        if progress.nit == nit:
            raise how

    return callback


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", [StopIteration, KeyboardInterrupt])
def test_resumed_is_as_never_interrupted(
    run: Experiment, tmp_path: Path, method: str, how: type[BaseException]
) -> None:
    file = tmp_path / "c.json"
    options: dict[str, Any] = {"model": "small", "max_evals": METHODS[method]}
    whole = fit(run, method, **options)
    first = fit(run, method, **options, callback=stop_at(3, how), checkpoint=file)
    assert first.nit == 3
    assert first.nfev < whole.nfev
    second = fit(run, method, **options, callback=stop_at(5, how), resume=file, checkpoint=file)
    assert second.nit == 5
    same(fit(run, method, **options, resume=file), whole)


def test_more_evaluations_than_the_first_time(run: Experiment, tmp_path: Path) -> None:
    """The budget may cut a generation: the rest of it is simulated when resumed."""
    file = tmp_path / "c.json"
    fit(run, "cmaes", model="small", max_evals=75, checkpoint=file)
    resumed = fit(run, "cmaes", model="small", max_evals=250, resume=file)
    same(resumed, fit(run, "cmaes", model="small", max_evals=250))


def test_replayed_losses_are_not_simulated_again(run: Experiment, tmp_path: Path) -> None:
    """A file with other losses leads elsewhere: so it is what the resumed fit goes by."""
    file = tmp_path / "c.json"
    before = fit(run, "de", model="small", max_evals=100, checkpoint=file)
    saved = json.loads(file.read_text())
    assert len(saved["losses"]) == 100
    saved["losses"][:64] = [1e-9 * (i + 1) for i in range(64)]
    file.write_text(json.dumps(saved))
    # the next generation is another one, which the checksums of the file tell
    with pytest.raises(FitError, match=facts("batch 2")):
        fit(run, "de", model="small", max_evals=100, resume=file)
    assert before.nfev == 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 5}, "seed .. 0 .. 5"),
        ({"loss": "original"}, "loss .. 'original'"),
        ({"model": "1,D,P"}, "model .. 'small'"),
        ({"ridge": 0.5}, "ridge"),
        ({"bounds": {"out": [0, 1]}}, "bounds"),
        ({"initial": TRUTH}, "starting points"),
        ({"method": "de"}, "method .. 'cmaes' .. 'de'"),
    ],
)
def test_other_settings_are_refused(
    run: Experiment, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    file = tmp_path / "c.json"
    options: dict[str, Any] = {"method": "cmaes", "model": "small", "max_evals": 50}
    fit(run, **options, checkpoint=file)
    with pytest.raises(FitError, match=facts(message)) as caught:
        fit(run, **{**options, **change}, resume=file)
    assert str(file) in str(caught.value)


def test_other_data_are_refused(run: Experiment, tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    fit(run, "cmaes", model="small", max_evals=50, checkpoint=file)
    with pytest.raises(FitError, match=facts("data")):
        fit(planted(seed=9), "cmaes", model="small", max_evals=50, resume=file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "x"}, "checkpoint"),
        ({"version": 99}, "version .. 99"),
        ({"batches": [[1]]}, "checkpoint"),
        ({"losses": [1.0]}, "number"),
        ({"time_s": None}, "checkpoint"),
    ],
)
def test_files_that_are_no_checkpoint(
    run: Experiment, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    file = tmp_path / "c.json"
    fit(run, "cmaes", model="small", max_evals=50, checkpoint=file)
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(FitError, match=facts(message)):
        fit(run, "cmaes", model="small", max_evals=50, resume=file)
