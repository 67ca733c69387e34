"""Fits of several runs, of any model, in any bounds. Oracles: planted parameters, objectives."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from pysimbind import (
    DataError,
    Experiment,
    FitError,
    FitResult,
    Objective,
    ParameterError,
    ServerConfig,
    Space,
    check_experiment,
    load_experiment,
)
from pysimbind.cli import main
from pysimbind.fit import METHODS, FitProgress, fit
from tests.planted import MODEL, TRUTH, planted

from .facts import facts, tells

FEW_SEATS = ServerConfig(max_num_seqs=8)


@pytest.fixture(scope="module")
def runs() -> tuple[Experiment, ...]:
    """Two runs of one server, the second with other settings."""
    return (
        planted("slow", seed=1, rate_rps=3, requests=120),
        planted("busy", seed=2, rate_rps=9, requests=120, config=FEW_SEATS),
    )


@pytest.fixture(scope="module")
def joint(runs: tuple[Experiment, ...]) -> FitResult:
    return fit(runs, model="small")


def test_several_runs_share_parameters(runs: tuple[Experiment, ...], joint: FitResult) -> None:
    """Each has its own workload and server; the loss is the mean of theirs."""
    assert joint.experiment == "slow, busy"
    assert [run.config for run in joint.runs] == [ServerConfig(), FEW_SEATS]
    with Objective(runs, "small") as together:
        assert together(joint.x) == joint.fun
    for run in runs:
        predicted = joint.predict(run)
        assert np.median(np.abs(predicted.e2e / run.e2e - 1)) < 0.02
    with pytest.raises(FitError, match=facts("('slow', 'busy')")):
        joint.predict(runs[0].workload)
    assert joint.predict(runs[0].workload, FEW_SEATS).e2e.shape == (120,)


def test_weights_decide_between_runs(runs: tuple[Experiment, ...]) -> None:
    """With nearly all weight on one run, the fit is that of this run alone."""
    wrong = [runs[0], planted("other", seed=3, truth=TRUTH, noise=0.5)]
    alone = fit(runs[0], model="small")
    heavy = fit(wrong, model="small", weights=[1e9, 1])
    predicted, wanted = heavy.predict(runs[0]).e2e, alone.predict(runs[0]).e2e
    assert np.median(np.abs(predicted / wanted - 1)) < 0.01
    assert [run.weight for run in heavy.runs] == [1e9, 1.0]
    with pytest.raises(FitError, match=facts("1 .. 2 runs")):
        fit(runs, weights=[1.0])


def test_the_model_that_predicts_best_unless_something_is_known(
    runs: tuple[Experiment, ...],
) -> None:
    assert fit(runs[0], max_evals=1).model.name == "extended"
    assert fit("exp1_30rr", max_evals=1).model.name == "quadratic15"
    own = fit(runs[0], model="1,D,P,ctx", max_evals=30)
    assert list(own.params)[:4] == ["intercept", "sum_decode_tokens", "sum_prefill_tokens", "ctx"]
    with pytest.raises(ParameterError, match=facts("'ctxt'")):
        fit(runs[0], model="1,D,ctxt")


def test_a_term_without_effect_is_named_and_stays(runs: tuple[Experiment, ...]) -> None:
    """No step of this run has more than 256 tokens where prompts are short."""
    run = runs[0]
    short = Experiment(
        "short",
        type(run.workload)(run.workload.arrival_s, np.full(120, 20), run.workload.output_tokens),
        run.config,
        run.ttft,
        run.e2e,
    )
    result = fit(short, model="1,D,P,hinge", max_evals=60)
    assert result.no_effect == ("hinge",)
    assert result.params["hinge"] == 0
    assert "no effect here" in result.report()


# --- where it searches ---------------------------------------------------------------------------


def test_kinds_of_bounds(runs: tuple[Experiment, ...]) -> None:
    run = runs[0]
    size = len(MODEL.names)
    nonnegative = fit(run, model="small", bounds="nonnegative", max_evals=50)
    assert nonnegative.bounds == Space(np.zeros(size), np.full(size, np.inf), MODEL)
    assert nonnegative == fit(run, model="small", max_evals=50)
    free = fit(run, model="small", bounds="free", max_evals=50)
    assert np.isneginf(free.bounds.lower).all()
    around = fit(run, model="small", bounds="around:0.1", initial=TRUTH, max_evals=50)
    np.testing.assert_allclose(around.bounds.lower, 0.9 * TRUTH.vector)
    np.testing.assert_allclose(around.bounds.upper, 1.1 * TRUTH.vector)
    some = fit(run, model="small", bounds={"out": [0, 1e-5], "vllm_overhead": [None, 100]})
    assert some.bounds.as_dict()["intercept"] == [0, None]
    assert some.params["out"] <= 1e-5
    assert some.params["vllm_overhead"] <= 100
    assert some.at_bound["vllm_overhead"] == "upper"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "bounds"),
    [
        *itertools.product(["cmaes", "lbfgsb", "nelder-mead"], ["nonnegative", "free"]),
        ("de", "nonnegative"),  # of a free box it has seen too little by then
    ],
)
def test_global_methods_take_bounds_without_end(
    runs: tuple[Experiment, ...], method: str, bounds: str
) -> None:
    result = fit(runs[0], method, model="small", bounds=bounds, max_evals=2500)
    assert result.accuracy[0].accuracy.e2e.mape < 3
    assert not set(result.at_bound.values()) - {"lower"}


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ("around:x", "share .. 0"),
        ("around:0", "share .. 0"),
        ("around:0.5", "around"),
        ("nonnegativ", "'nonnegativ' .. 'nonnegative'"),
        ("original", "'original'"),
    ],
)
def test_bounds_that_are_none(runs: tuple[Experiment, ...], bounds: str, message: str) -> None:
    with pytest.raises(FitError, match=facts(message)):
        fit(runs[0], model="small", bounds=bounds)


def test_bounds_of_another_model(runs: tuple[Experiment, ...]) -> None:
    box = load_experiment("exp1_30rr").bounds["original"]
    with pytest.raises(FitError, match=facts("'quadratic15' .. 'small'")):
        fit(runs[0], model="small", bounds=box)


def test_an_initial_guess_is_a_start(runs: tuple[Experiment, ...]) -> None:
    """The first evaluation of a global method's only start is it; held names keep its values."""
    seen = []
    initial = {**TRUTH.as_dict(), "schedule_time": 7.0}
    result = fit(
        runs[0],
        "lsq",
        model="small",
        initial=initial,
        callback=lambda progress: seen.append(progress.x),
    )
    assert result.fixed["schedule_time"] == 7
    assert any(tells(note, "initial") for note in result.notes)
    with pytest.raises(ParameterError, match="missing"):
        fit(runs[0], model="small", initial={"intercept": 1})


def test_the_ridge_pulls_later_terms_to_zero(runs: tuple[Experiment, ...]) -> None:
    """And leaves intercept, decode and prefill tokens alone."""
    weak = fit(runs[0], "lsq", model="small", ridge=0)
    strong = fit(runs[0], "lsq", model="small", ridge=10)
    assert weak.ridge == 0
    assert strong.params["out"] < 1e-2 * weak.params["out"]
    assert strong.params["intercept"] > 0.5 * TRUTH["intercept"]
    assert fit(runs[0], model="small", loss="original", max_evals=9).ridge == 0
    with pytest.raises(FitError, match=facts("ridge")):
        fit(runs[0], ridge=-1)


# --- data ----------------------------------------------------------------------------------------


def spoilt(run: Experiment) -> Experiment:
    ttft = run.ttft.copy()
    ttft[5] = 3 * run.e2e[5]
    return Experiment(run.name, run.workload, run.config, ttft, run.e2e)


def test_bad_data_is_masked_and_said(runs: tuple[Experiment, ...]) -> None:
    """A TTFT above the E2E tells nothing; strict refuses."""
    result = fit([spoilt(runs[0]), runs[1]], model="small", max_evals=60)
    names = [finding["name"] for finding in result.runs[0].findings]
    assert "ttft_exceeds_e2e" in names
    assert f"slow: {check_experiment(spoilt(runs[0])).findings[0]}" in result.report()
    assert "[5]; " in result.report()  # which request it is
    assert result.accuracy[0].accuracy.ttft.requests == 119
    with pytest.raises(DataError, match=facts("ttft_exceeds_e2e")):
        fit([spoilt(runs[0]), runs[1]], model="small", strict=True)


def test_auto_says_what_it_did() -> None:
    """Least squares; CMA-ES too where the queue grows to the end, and never a worse loss."""
    calm = fit(planted(rate_rps=2), model="small")
    assert tells(calm.notes, "CMA-ES .. least squares")
    swamped = planted("swamped", rate_rps=60, requests=300, config=ServerConfig(max_num_seqs=4))
    result = fit(swamped, model="small", max_evals=1500)
    note = result.notes[-1]
    assert tells(note, "swamped") or result.nfev == 1500
    assert result.fun <= fit(swamped, "lsq", model="small").fun


# --- command line --------------------------------------------------------------------------------


def test_the_command_takes_runs_and_the_rest(runs: tuple[Experiment, ...], tmp_path: Path) -> None:
    files = [tmp_path / "slow.json", tmp_path / "busy.json"]
    for run, file in zip(runs, files, strict=True):
        run.save(file)
    initial, out = tmp_path / "initial.json", tmp_path / "out.json"
    initial.write_text(json.dumps(TRUTH.as_dict()))
    options = (
        "--model small --weights 1,3 --holdout alternate --ridge 1e-4 --method lsq --quiet "
        f"--bounds nonnegative --initial {initial} --out {out}"
    )
    assert main(["fit", *map(str, files), *options.split()]) == 0
    wanted = fit(
        runs,
        "lsq",
        model="small",
        weights=[1, 3],
        holdout="alternate",
        ridge=1e-4,
        bounds="nonnegative",
        initial=TRUTH,
    )
    assert FitResult.load(out) == wanted
    again = tmp_path / "again.json"
    assert (
        main(
            [
                "fit",
                str(files[0]),
                "--initial",
                str(out),
                "--model",
                "small",
                "--quiet",
                "--out",
                str(again),
            ]
        )
        == 0
    )
    assert FitResult.load(again) == fit(runs[0], model="small", initial=wanted.parameters)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strict"], "ttft_exceeds_e2e"),
        (["--weights", "1,x"], "'1,x'"),
        (["--holdout", "runs:x"], "'x'"),
        (["--model", "smal"], "'small'"),
        (["--initial", "none.json"], "none.json"),
        (["--resume", "none.json"], "none.json"),
    ],
)
def test_mistakes_are_one_line(
    runs: tuple[Experiment, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    file = tmp_path / "run.json"
    spoilt(runs[0]).save(file)
    assert main(["fit", str(file), "--model", "small", *options, "--max-evals", "9"]) == 2
    said = capsys.readouterr().err
    assert tells(said, message)
    assert said.count("\n") == 1


@pytest.mark.parametrize("stop_at", [1, 2, 3])
def test_ctrl_c_ends_the_folds_too(runs: tuple[Experiment, ...], stop_at: int) -> None:
    """In the final search, in the first fold's, or in the second's: no fold is searched by half."""
    begun = 0

    def interrupt(progress: FitProgress) -> None:
        nonlocal begun
        begun += progress.nit == 1
        if begun == stop_at and progress.nit == 2:
            raise KeyboardInterrupt

    result = fit(runs, "lsq", model="small", holdout="kfold:2", callback=interrupt, max_evals=50)
    assert begun == stop_at
    assert result.interrupted
    assert result.notes[-1] == f"held-out errors are those of {max(0, stop_at - 2)} of 2 folds"
    held_out = [row.name for row in result.accuracy if row.part == "held-out"]
    assert held_out == [run.name for run in runs[: max(0, stop_at - 2)]]


def test_a_held_out_run_is_no_reason_for_more_search(runs: tuple[Experiment, ...]) -> None:
    saturated = planted("saturated", rate_rps=100, requests=100)
    result = fit([runs[0], saturated], model="small", holdout="runs:saturated")
    assert not any("saturated," in note or tells(note, "queue") for note in result.notes)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("error", [ValueError, RuntimeError, FloatingPointError])
def test_what_a_callback_raises_gets_out(
    runs: tuple[Experiment, ...], tmp_path: Path, method: str, error: type[Exception]
) -> None:
    """Whatever the library between them catches; what was evaluated is kept."""

    def fail(progress: FitProgress) -> None:
        if progress.nit == 2:
            raise error("mine")

    saved = tmp_path / "checkpoint.json"
    with pytest.raises(error, match=facts("mine")):
        fit(runs[0], method, model="small", max_evals=200, callback=fail, checkpoint=saved)
    assert saved.exists()
