"""Hold-out: oracles are the definitions of each kind, and fits to the training part alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pysimbind import Experiment, FitError
from pysimbind.fit import FitResult, fit
from pysimbind.fit.holdout import hold_out
from tests.planted import planted

from .facts import facts


@pytest.fixture(scope="module")
def runs() -> tuple[Experiment, ...]:
    return tuple(planted(f"run{i}", seed=i, rate_rps=3 + 2 * i, requests=60) for i in range(4))


def known(experiment: Experiment) -> list[int]:
    return np.flatnonzero(np.isfinite(experiment.e2e)).tolist()


def test_nothing_is_held_out_by_default(runs: tuple[Experiment, ...]) -> None:
    held = hold_out(runs, None)
    assert held.final.train == runs
    assert (held.text, held.final.held_out, held.folds) == ("", (), ())


@pytest.mark.parametrize("spec", ["runs:run1;run3", "runs: run3 ; run1", ["run1", "run3"]])
def test_whole_runs(runs: tuple[Experiment, ...], spec: str | list[str]) -> None:
    held = hold_out(runs, spec)
    assert held.final.train == (runs[0], runs[2])
    assert held.final.held_out == (runs[1], runs[3])
    assert held.text == "runs:run1;run3"


def test_the_end_of_each_run(runs: tuple[Experiment, ...]) -> None:
    """By arrival, whatever the order in the workload."""
    order = np.random.default_rng(0).permutation(60)
    shuffled = dataclasses.replace(
        runs[0],
        workload=type(runs[0].workload)(
            runs[0].workload.arrival_s[order],
            runs[0].workload.input_tokens[order],
            runs[0].workload.output_tokens[order],
            strict=False,
        ),
        ttft=runs[0].ttft[order],
        e2e=runs[0].e2e[order],
    )
    split = hold_out((runs[0], shuffled), "time:0.25").final
    assert known(split.train[0]) == list(range(45))
    assert known(split.held_out[0]) == list(range(45, 60))
    assert sorted(order[known(split.held_out[1])]) == list(range(45, 60))


def test_every_so_manyth_request(runs: tuple[Experiment, ...]) -> None:
    for spec, every in (("alternate", 2), ("alternate:2", 2), ("alternate:3", 3)):
        split = hold_out(runs[:1], spec).final
        assert known(split.held_out[0]) == list(range(every - 1, 60, every))
        assert sorted(known(split.train[0]) + known(split.held_out[0])) == list(range(60))


def test_folds_of_runs(runs: tuple[Experiment, ...]) -> None:
    """Each run is held out once; the final fit sees them all."""
    held = hold_out(runs, "kfold:3")
    assert held.final.train == runs
    assert [split.held_out for split in held.folds] == [(runs[0], runs[3]), (runs[1],), (runs[2],)]
    assert all(set(map(id, s.train + s.held_out)) == set(map(id, runs)) for s in held.folds)
    assert len(hold_out(runs, "kfold").folds) == len(hold_out(runs, "kfold:9").folds) == 4


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("runs:rnu1", "'rnu1' .. 'run1'"),
        (["run0", "run1", "run2", "run3"], "every run"),
        ("time", "0 .. 1"),
        ("time:1", "0 .. 1"),
        ("time:x", "0 .. 1"),
        ("time:0.001", "'time:0.001' .. 'run0'"),
        ("alternate:1", "'1' .. 2"),
        ("kfold:1", "'1' .. 2"),
        ("alternat", "'alternat' .. 'alternate'"),
    ],
)
def test_what_holds_nothing_out(
    runs: tuple[Experiment, ...], spec: str | list[str], message: str
) -> None:
    with pytest.raises(FitError, match=facts(message)):
        hold_out(runs, spec)


def test_folds_need_several_runs(runs: tuple[Experiment, ...]) -> None:
    with pytest.raises(FitError, match=facts("folds .. one")):
        hold_out(runs[:1], "kfold")


# --- in a fit ------------------------------------------------------------------------------------


def parts(result: FitResult) -> list[tuple[str, str]]:
    return [(row.name, row.part) for row in result.accuracy]


def test_a_fit_sees_the_training_part_only(runs: tuple[Experiment, ...]) -> None:
    """Same bits as a fit to that part; the table has the other part too."""
    held = fit(runs, model="small", holdout="runs:run3")
    alone = fit(runs[:3], model="small")
    assert held.x.tobytes() == alone.x.tobytes()
    assert [run.role for run in held.runs] == ["training"] * 3 + ["held-out"]
    names = ["run0", "run1", "run2", "all runs"]
    assert parts(held) == [*((name, "training") for name in names), ("run3", "held-out")]
    assert held.accuracy[:4] == alone.accuracy
    assert held.accuracy[-1].accuracy.e2e.mape < 2.5  # the noise: 2 % lognormal, 1.6 % on average
    assert "held out runs:run3" in held.report()


def test_held_out_requests_of_a_run(runs: tuple[Experiment, ...]) -> None:
    e2e = runs[0].e2e.copy()
    held = fit(runs[0], model="small", holdout="alternate:3")
    e2e[2::3] *= 5  # which the fit does not see
    other = fit(dataclasses.replace(runs[0], e2e=e2e), model="small", holdout="alternate:3")
    assert other.x.tobytes() == held.x.tobytes()
    assert [row.accuracy.e2e.requests for row in held.accuracy] == [40, 20]
    assert other.accuracy[0] == held.accuracy[0]
    assert other.accuracy[1].accuracy.e2e.mape > 50
    assert held.runs[0].role == "both"


def test_folds_in_a_fit(runs: tuple[Experiment, ...]) -> None:
    """Held-out rows are of the folds' own fits, the parameters of the fit to everything."""
    folded = fit(runs[:3], model="small", holdout="kfold:3")
    everything = fit(runs[:3], model="small")
    assert folded.x.tobytes() == everything.x.tobytes()
    names = ["run0", "run1", "run2", "all runs"]
    assert parts(folded) == [(n, part) for part in ("training", "held-out") for n in names]
    one = fit(runs[:3], model="small", holdout="runs:run1")
    assert folded.accuracy[5] == one.accuracy[-1]
    assert [run.role for run in folded.runs] == ["both"] * 3
    with pytest.raises(FitError, match=facts("folds .. checkpoint")):
        fit(runs, model="small", holdout="kfold", checkpoint="nowhere.json")


def test_each_fold_holds_what_an_iterator_names(runs: tuple[Experiment, ...]) -> None:
    fixed = ["out", "schedule_time"]
    once = fit(runs[:2], model="small", holdout="kfold:2", fixed=iter(fixed))
    assert once == fit(runs[:2], model="small", holdout="kfold:2", fixed=fixed)
