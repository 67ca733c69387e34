"""Whether a fit still holds. Oracles: a server that stayed as it was, and a slower one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from pysimbind import DataError, Experiment, FitError, FitResult, Parameters, ServerConfig, validate
from pysimbind.cli import main
from pysimbind.fit import fit
from tests.planted import MODEL, TRUTH, planted

from .facts import facts, tells

SLOWER = Parameters.from_vector(TRUTH.vector * 1.1, MODEL)


@pytest.fixture(scope="module")
def result() -> FitResult:
    return fit(planted("before", seed=1), model="small", holdout="alternate")


@pytest.fixture(scope="module")
def same() -> Experiment:
    return planted("after", seed=7, rate_rps=7)


@pytest.fixture(scope="module")
def slower() -> Experiment:
    return planted("slower", seed=7, rate_rps=7, truth=SLOWER)


def test_the_same_server_holds(result: FitResult, same: Experiment) -> None:
    found = validate(result, same)
    assert found.holds
    assert [c.name for c in found.criteria] == [
        "E2E MAPE",
        "E2E mean error",
        "TTFT MAPE",
        "TTFT mean error",
    ]
    assert [row.part for row in found.rows] == ["held-out"]
    assert found.report().endswith("the fit holds")


def test_a_server_that_became_slower_does_not(result: FitResult, slower: Experiment) -> None:
    """By a tenth, which the E2Es show."""
    found = validate(result, slower)
    assert not found.holds
    failed = [c for c in found.criteria if not c.holds]
    assert {"E2E MAPE", "E2E mean error"} <= {c.name for c in failed}
    assert "DRIFT: slower: E2E MAPE" in found.report()
    assert tells(found.report(), "the fit does not hold")


def test_limits_are_those_of_the_fit(result: FitResult, same: Experiment) -> None:
    """1.5 times the held-out errors, or the least limits: computed here from the fit's table."""
    held = result.accuracy[-1].accuracy
    found = {c.name: c for c in validate(result, same).criteria}
    assert found["E2E MAPE"].limit == max(3.0, 1.5 * held.e2e.mape)
    assert found["E2E mean error"].limit == max(3.0, 1.5 * abs(held.e2e.mean))
    assert found["TTFT mean error"].limit == max(15.0, 1.5 * abs(held.ttft.mean))
    asked = validate(result, same, e2e_limit=0.5, ttft_limit=50)
    assert [c.limit for c in asked.criteria] == [0.5, 0.5, 50, 50]
    assert not asked.holds
    assert "(as asked)" in asked.report()
    for limit in (0, -1, float("nan"), float("inf")):
        with pytest.raises(FitError, match=facts("e2e_limit .. 0")):
            validate(result, same, e2e_limit=limit)


def test_each_run_is_judged(result: FitResult, same: Experiment, slower: Experiment) -> None:
    """The pooled row is shown, and not judged."""
    found = validate(result, [same, slower])
    assert [row.name for row in found.rows] == ["after", "slower", "all runs"]
    assert [c.run for c in found.criteria] == ["after"] * 4 + ["slower"] * 4
    assert not found.holds


def test_nothing_to_compare_does_not_hold(result: FitResult, same: Experiment) -> None:
    """An E2E that was not measured can't speak for the fit."""
    bare = dataclasses.replace(same, e2e=np.full(same.num_requests, np.nan))
    found = validate(result, bare)
    assert not found.holds
    assert tells(found.report(), "E2E MAPE")
    json.dumps(found.as_dict(), allow_nan=False)


def test_the_command(
    result: FitResult,
    same: Experiment,
    slower: Experiment,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 0 if it holds, 3 if not; the verdict as JSON."""
    record, new, out = (tmp_path / name for name in ("r.json", "new.json", "out.json"))
    result.save(record)
    for run, code in ((same, 0), (slower, 3)):
        run.save(new)
        assert main(["validate", str(record), str(new), "--out", str(out)]) == code
        assert capsys.readouterr().out == f"{validate(result, run).report()}\nsaved: {out}\n"
        assert json.loads(out.read_text())["holds"] is (code == 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["{new}", "{new}"], "new.json: not a saved fit"),
        (["{record}", "none.json"], "none.json"),
        (["{record}"], "the following arguments are required: EXPERIMENT"),
        (["{record}", "{new}", "--e2e-limit", "0"], "e2e_limit .. 0"),
        (["{record}", "{new}", "--replicas", "0"], "--replicas .. 100000"),
        (["{record}", "{new}", "--out", "{record}"], "already an input"),
        (["{record}", "{new}", "--strict"], "ttft_exceeds_e2e"),
    ],
)
def test_mistakes_are_one_line(
    result: FitResult,
    same: Experiment,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    record, new = tmp_path / "r.json", tmp_path / "new.json"
    result.save(record)
    ttft = same.ttft.copy()
    ttft[3] = 2 * same.e2e[3]
    dataclasses.replace(same, ttft=ttft).save(new)
    words = [word.format(record=record, new=new) for word in options]
    assert main(["validate", *words]) == 2
    said = capsys.readouterr().err
    assert tells(said, message)
    assert said.count("\n") == 1


def test_other_settings_are_told(result: FitResult) -> None:
    """Oracle: the two settings that are changed here. It is no reason not to hold."""
    config = ServerConfig(max_num_seqs=64, async_scheduling=True)
    found = validate(result, planted("after", seed=7, config=config))
    assert found.holds
    assert [(d.run, d.name, d.value, d.fitted_run, d.fitted_value) for d in found.settings] == [
        ("after", "max_num_seqs", 64, "before", 256),
        ("after", "async_scheduling", True, "before", False),
    ]
    note, empty = found.report().splitlines()[:2]
    assert note.startswith("after: note: server_settings: ")
    assert tells(note, "before .. max_num_seqs .. 64 .. 256 .. async_scheduling .. true .. false")
    assert empty == ""
    assert found.as_dict()["settings"][0] == {
        "run": "after",
        "name": "max_num_seqs",
        "value": 64,
        "fitted_run": "before",
        "fitted_value": 256,
    }


def test_the_same_settings_are_not(result: FitResult, same: Experiment) -> None:
    found = validate(result, same)
    assert found.settings == ()
    assert "server_settings" not in found.report()


def test_settings_are_compared_with_the_nearest_run_that_was_fitted_to() -> None:
    """The third run has the new one's settings, but was held out: the fit has not met them."""
    seats = {"wide": 256, "narrow": 8, "unseen": 4}
    runs = [
        planted(name, config=ServerConfig(max_num_seqs=n, max_model_len=1500), requests=60)
        for name, n in seats.items()
    ]
    fitted = fit(runs, model="small", holdout="runs:unseen", max_evals=20)
    new = ServerConfig(max_num_seqs=8, max_model_len=None)
    found = validate(fitted, [runs[1], planted("new", config=new), runs[2]])
    told = [(d.run, d.name, d.value, d.fitted_run, d.fitted_value) for d in found.settings]
    assert told == [
        ("new", "max_model_len", None, "narrow", 1500),
        ("unseen", "max_num_seqs", 4, "wide", 256),
    ]
    assert tells(found.report(), "new: note: server_settings .. narrow .. max_model_len .. none")


def test_a_record_without_accuracy_sets_no_limits_of_its_own(
    result: FitResult, same: Experiment
) -> None:
    """As an interrupted fit leaves it: the least limits and the floor are left."""
    found = validate(dataclasses.replace(result, accuracy=()), same)
    assert not [c for c in found.criteria if "the fit's own" in c.why]
    assert found.criteria[0].limit == 3.0


def test_strict_is_for_commands(same: Experiment) -> None:
    """From Python, the checks are in the result."""
    ttft = same.ttft.copy()
    ttft[3] = 2 * same.e2e[3]
    bad = dataclasses.replace(same, ttft=ttft)
    found = validate(fit(same, model="small"), bad)
    assert "ttft_exceeds_e2e" in found.report()
    with pytest.raises(DataError):
        found.checks[0].refuse()
