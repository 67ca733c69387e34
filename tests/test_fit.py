"""Fits from Python.

Oracles: planted parameters whose predictions must come back; the recorded trials of the original
Bayesian run; the bars of 2e-4 and 1.2e-4 s^2 set for the bundled experiment; arithmetic for the
rest.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pysimbind
from pysimbind.config import ServerConfig
from pysimbind.errors import ExperimentError, FitError, MissingExtraError, ParameterError
from pysimbind.experiment import Experiment
from pysimbind.fit import METHODS, FitProgress, FitResult, FitStatus, fit
from pysimbind.formats import load_experiment
from pysimbind.losses import Loss
from pysimbind.objective import Objective
from pysimbind.parameters import ALIASES, NAMES, Parameters, Space
from pysimbind.results import SimResult
from pysimbind.simulator import Simulator
from pysimbind.workload import Workload

from .facts import facts, tells

ALIASED = ("schedule_time", "update_time", "queue_overhead")
FAST = {
    "auto": 300,
    "cmaes": 300,
    "de": 300,
    "lsq": 300,
    "lbfgsb": 100,
    "nelder-mead": 100,
    "bayes": 6,
}
LOCAL = ["lsq", "lbfgsb", "nelder-mead"]


def search(experiments: Any, method: str = "cmaes", **options: Any) -> FitResult:
    """Fit by the loss of the original experiment, whose bars are known."""
    return fit(experiments, method, **{"loss": "original", **options})


@pytest.fixture(scope="module")
def exp1() -> Experiment:
    return load_experiment("exp1_30rr")


@pytest.fixture(scope="module")
def quick(exp1: Experiment) -> FitResult:
    return search(exp1, max_evals=300)


# --- how good ------------------------------------------------------------------------------------


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("cmaes", "lbfgsb", "nelder-mead")]


@pytest.mark.parametrize("method", ["de", "lsq", *SLOW])
def test_the_default_run_beats_the_bar(exp1: Experiment, method: str) -> None:
    result = search(exp1, method)
    assert result.success
    assert result.fun < 2e-4
    assert result.nfev <= METHODS[method].max_evals
    rows = {row.name: row for row in result.comparisons}
    assert rows["this fit"].loss == result.fun
    assert rows["baseline"].loss == pytest.approx(0.0040, abs=1e-4)
    assert rows["original best"].loss > 1000


PLANTED = Parameters.from_mapping(
    {
        **dict.fromkeys(NAMES, 1e-9),
        "sum_decode_tokens": 4e-5,
        "sum_prefill_tokens": 1e-5,
        "num_prefills": 5e-5,
        "intercept": 6e-3,
        "schedule_time": 544,
        "update_time": 80,
        "queue_overhead": 1000,
        "vllm_overhead": 5500,
    }
)


def truth(workload: Workload, config: ServerConfig) -> SimResult:
    with Simulator(workload, config) as simulator:
        return simulator.run(PLANTED)


@pytest.mark.slow
def test_planted_parameters_predict_again(exp1: Experiment) -> None:
    planted = truth(exp1.workload, exp1.config)
    result = search(dataclasses.replace(exp1, ttft=planted.ttft, e2e=planted.e2e))
    predicted = result.predict(exp1)
    assert np.median(np.abs(predicted.e2e / planted.e2e - 1)) < 0.01
    assert predicted.e2e.mean() == pytest.approx(planted.e2e.mean(), rel=0.01)
    assert predicted.ttft.mean() == pytest.approx(planted.ttft.mean(), rel=0.03)
    # and at a load that the fit never saw
    busier = Workload(
        exp1.workload.arrival_s / 1.5, exp1.workload.input_tokens, exp1.workload.output_tokens
    )
    unseen = truth(busier, exp1.config)
    again = result.predict(busier)
    assert np.median(np.abs(again.e2e / unseen.e2e - 1)) < 0.01
    assert again.e2e.mean() == pytest.approx(unseen.e2e.mean(), rel=0.01)
    assert again.ttft.mean() == pytest.approx(unseen.ttft.mean(), rel=0.06)


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("exp1_30rr", "original"),
        ("vllm-cpu-sync-r3", "original"),
        ("vllm-cpu-sync-r3", "relative,e2e,soft_l1:0.05"),
    ],
)
def test_least_squares_predicts_planted_e2es(name: str, loss: str) -> None:
    """Within 1 %, from a baseline or from the middle of the default box."""
    experiment = load_experiment(name)
    planted = truth(experiment.workload, experiment.config)
    target = dataclasses.replace(experiment, ttft=planted.ttft, e2e=planted.e2e)
    predicted = search(target, "lsq", loss=loss).predict(target)
    assert np.median(np.abs(predicted.e2e / planted.e2e - 1)) < 0.01
    assert predicted.e2e.mean() == pytest.approx(planted.e2e.mean(), rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("method", LOCAL)
def test_local_methods_need_no_baseline(exp1: Experiment, method: str) -> None:
    """In a box with no way of knowing, and a bundled run of another server."""
    experiment = load_experiment("vllm-cpu-sync-r3")
    assert experiment.baseline is None
    result = search(experiment, method, loss="recipe", max_evals=3000)
    assert result.accuracy[0].accuracy.e2e.mape < 10
    assert result.success


def test_least_squares_gets_below_the_bar_of_the_original_run_at_once(exp1: Experiment) -> None:
    """1.2e-4 s^2, which the baseline misses by a factor of 30, within few evaluations."""
    result = search(exp1, "lsq", max_evals=2000)
    assert result.fun < 1.2e-4


def test_derivatives_are_counted(exp1: Experiment) -> None:
    counts = {method: search(exp1, method, max_evals=200).njev for method in ("cmaes", *LOCAL)}
    assert counts["cmaes"] == counts["nelder-mead"] == 0
    assert counts["lbfgsb"] == 200
    assert 200 / 9 <= counts["lsq"] < 200 / 9 + 1  # one for each eight steps tried
    report = search(exp1, "lbfgsb", max_evals=20).report()
    assert tells(report, "20 evaluations .. 20 with derivatives")


def test_a_composed_loss_is_what_a_fit_reports(exp1: Experiment, tmp_path: Path) -> None:
    loss = Loss.parse("relative,tpot.p90:2,e2e,soft_l1:0.05,warmup:10")
    result = search(exp1, "lsq", loss=loss, max_evals=100)
    assert (result.loss, result.unit) == (loss.name, "rel^2")
    with Objective(exp1, loss=loss) as objective:
        assert objective(result.x) == result.fun
    assert f"loss {loss.name}," in result.report()
    assert search(exp1, "lsq", loss=loss.name, max_evals=100) == result
    result.save(tmp_path / "r.json")
    loaded = FitResult.load(tmp_path / "r.json")
    assert loaded == result
    assert Loss.parse(loaded.loss) == loss


def test_the_bayesian_run_begins_as_the_original_did(exp1: Experiment) -> None:
    assert exp1.trials is not None
    seen: list[np.ndarray] = []
    result = search(exp1, "bayes", max_evals=5, callback=lambda p: seen.append(p.x))
    assert (result.seed, result.bounds_name, result.fixed) == (1, "original", {})
    with Objective(exp1, loss="original") as objective:
        first = objective.batch(exp1.trials.x[:5])
    best_so_far = np.argmin(first)
    assert result.x == pytest.approx(exp1.trials.x[best_so_far], rel=1e-12)
    assert result.fun == pytest.approx(first.min(), rel=1e-9)
    for i, x in enumerate(seen):
        assert x == pytest.approx(exp1.trials.x[np.argmin(first[: i + 1])], rel=1e-12)


# --- same seed, same bits ------------------------------------------------------------------------


@pytest.mark.parametrize("method", sorted(FAST))
def test_same_seed_same_bits_and_no_global_random_state(exp1: Experiment, method: str) -> None:
    first = search(exp1, method, max_evals=FAST[method], seed=11)
    np.random.seed(99)  # noqa: NPY002  # the state that must neither matter nor change
    before = np.random.get_state()  # noqa: NPY002
    second = search(exp1, method, max_evals=FAST[method], seed=11)
    after = np.random.get_state()  # noqa: NPY002
    other = search(exp1, method, max_evals=FAST[method], seed=3)
    assert second.x.tobytes() == first.x.tobytes()
    assert second == first
    assert other != first
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


# --- budgets and ends ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cmaes", "de", *LOCAL])
@pytest.mark.parametrize("max_evals", [1, 47, 100])
def test_never_more_evaluations_than_asked_for(
    exp1: Experiment, method: str, max_evals: int
) -> None:
    result = search(exp1, method, max_evals=max_evals)
    assert result.nfev == max_evals
    assert result.status is FitStatus.EVALUATIONS
    assert result.success


def test_the_time_budget_ends_a_fit(exp1: Experiment) -> None:
    result = search(exp1, max_evals=10**9, max_time_s=0.2)
    assert result.status is FitStatus.TIME
    assert result.success
    assert result.time_s >= 0.2


def test_the_callback_sees_the_best_so_far_and_may_stop(exp1: Experiment) -> None:
    seen: list[FitProgress] = []

    def callback(progress: FitProgress) -> None:
        seen.append(progress)
        if len(seen) == 4:
            raise StopIteration

    for method in ("cmaes", "de", *LOCAL):
        seen.clear()
        result = search(exp1, method, callback=callback)
        assert result.status is FitStatus.CALLBACK
        assert result.success
        assert result.nit == 4
        assert [p.nit for p in seen] == [1, 2, 3, 4]
        assert [p.fun for p in seen] == sorted((p.fun for p in seen), reverse=True)
        assert (seen[-1].nfev, seen[-1].fun) == (result.nfev, result.fun)


@pytest.mark.parametrize("method", sorted(FAST))
def test_ctrl_c_gives_the_best_so_far(exp1: Experiment, method: str) -> None:
    def callback(progress: FitProgress) -> None:
        if progress.nit == 2:
            raise KeyboardInterrupt

    result = search(exp1, method, callback=callback)
    assert result.interrupted
    assert not result.success
    assert "interrupted" in result.message
    assert result.nit == 2
    with Objective(exp1, loss="original") as objective:
        assert objective(result.x) == result.fun


def test_ctrl_c_before_the_first_evaluation_is_raised(
    exp1: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Objective, candidates: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Objective, "batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(exp1, max_evals=10)


@pytest.mark.parametrize("method", sorted(FAST))
def test_a_box_without_a_feasible_point_fails_and_is_saved_all_the_same(
    exp1: Experiment, method: str, tmp_path: Path
) -> None:
    bounds = {**exp1.bounds["original"].as_dict(), "intercept": [-2.0, -1.0]}
    bounds |= {name: [0.0, 1e-9] for name in NAMES[: NAMES.index("intercept")]}
    result = search(exp1, method, bounds=bounds, max_evals=FAST[method])
    assert result.status is FitStatus.INFEASIBLE
    assert not result.success
    assert result.fun == math.inf
    assert result.infeasible == {"negative_step": result.nfev}
    assert result.history == ()
    result.save(tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text())["fun"] is None
    assert FitResult.load(tmp_path / "r.json") == result


def test_history_falls_to_the_final_loss(exp1: Experiment) -> None:
    result = search(exp1, max_evals=2000)
    evaluations = [nfev for nfev, _ in result.history]
    losses = [fun for _, fun in result.history]
    assert evaluations == sorted(set(evaluations))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == result.fun
    assert 1 <= evaluations[0] <= evaluations[-1] <= 2000


# --- what is held --------------------------------------------------------------------------------


def test_the_aliases_are_held_at_the_baseline_by_default(
    exp1: Experiment, quick: FitResult
) -> None:
    assert quick.fixed == {"schedule_time": 544, "update_time": 80, "queue_overhead": 1000}
    assert {name: quick.params[name] for name in ALIASED} == quick.fixed
    assert tells(quick.fixed_why, "parameters")


@pytest.mark.parametrize("alias", ALIASES)
def test_holding_an_alias_costs_nothing(exp1: Experiment, alias: dict[str, float]) -> None:
    assert exp1.baseline is not None
    moved = {name: exp1.baseline[name] + 50 * change for name, change in alias.items()}
    with Objective(exp1, loss="original") as objective:
        before = objective(exp1.baseline)
        after = objective({**exp1.baseline.as_dict(), **moved})
    assert after == pytest.approx(before, rel=1e-3)  # steps are truncated to whole microseconds


def test_the_baseline_is_moved_into_the_bounds(exp1: Experiment) -> None:
    bounds = {**exp1.bounds["original"].as_dict(), "schedule_time": [300, 400]}
    assert search(exp1, bounds=bounds, max_evals=1).fixed["schedule_time"] == 400


def test_without_a_baseline_aliases_are_absent(exp1: Experiment) -> None:
    bare = dataclasses.replace(exp1, baseline=None, bounds={})
    result = search(bare, model="quadratic15", max_evals=1)
    assert result.bounds_name == "nonnegative"
    assert set(map(tuple, result.bounds.as_dict().values())) == {(0, None)}
    assert result.fixed == dict.fromkeys(ALIASED, 0.0)


@pytest.mark.parametrize("method", sorted(FAST))
def test_fixed_by_name_and_by_value(exp1: Experiment, method: str) -> None:
    fixed = {"intercept": 0.00612, "vllm_overhead": None}
    result = search(exp1, method, fixed=fixed, max_evals=FAST[method])
    assert result.fixed == {"intercept": 0.00612, "vllm_overhead": 6000}
    assert result.params["intercept"] == 0.00612
    assert result.params["vllm_overhead"] == 6000
    assert result.params["schedule_time"] != 544
    assert "intercept" not in result.at_bound


def test_fixed_by_names_alone_and_nothing_fixed(exp1: Experiment) -> None:
    assert search(exp1, fixed=["update_time"], max_evals=1).fixed == {"update_time": 80}
    assert search(exp1, fixed="update_time", max_evals=1).fixed == {"update_time": 80}
    assert search(exp1, fixed=(), max_evals=1).fixed == {}


@pytest.mark.parametrize("method", ["cmaes", *LOCAL])
def test_one_free_parameter_is_enough(exp1: Experiment, method: str) -> None:
    others = [name for name in NAMES if name != "intercept"]
    result = search(exp1, method, fixed=others, max_evals=400)
    with Objective(exp1, loss="original") as objective:
        grid = np.tile(result.x, (1001, 1))
        grid[:, NAMES.index("intercept")] = np.linspace(0, 0.01, 1001)
        assert result.fun <= objective.batch(grid).min() * 1.05


# --- where it searches ---------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", ["original", pytest.param("follow-up", marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", sorted(FAST))
def test_the_result_lies_in_the_box(exp1: Experiment, method: str, bounds: str) -> None:
    result = search(exp1, method, bounds=bounds, fixed=(), max_evals=FAST[method])
    assert result.bounds == exp1.bounds[bounds]
    assert exp1.bounds[bounds].contains(result.x)


def test_bounds_as_name_space_mapping_and_file_are_the_same(
    exp1: Experiment, tmp_path: Path
) -> None:
    space = exp1.bounds["original"]
    file = tmp_path / "box.json"
    file.write_text(json.dumps(space.as_dict()))
    named = search(exp1, bounds="original", max_evals=60)
    for bounds in (space, space.as_dict(), file, str(file)):
        assert search(exp1, bounds=bounds, max_evals=60).x.tobytes() == named.x.tobytes()
    assert search(exp1, max_evals=60) == named


def test_a_parameter_at_its_bound_is_marked(exp1: Experiment) -> None:
    result = search(exp1, fixed=[n for n in NAMES if n != "vllm_overhead"], max_evals=300)
    grid = np.tile(result.x, (101, 1))
    grid[:, -1] = np.linspace(result.bounds.lower[-1], result.bounds.upper[-1], 101)
    with Objective(exp1, loss="original") as objective:
        best = int(np.argmin(objective.batch(grid)))
    assert best in (0, 100)  # by going through the whole interval, the best is at an end
    assert result.at_bound == {"vllm_overhead": "lower" if best == 0 else "upper"}
    assert f"at its {result.at_bound['vllm_overhead']} bound" in result.report()


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"method": "cmase"}, FitError, "'cmase' .. 'cmaes'"),
        ({"loss": "orignal"}, FitError, "'orignal' .. 'original'"),
        ({"bounds": "orginal"}, FitError, "'orginal' .. 'original'"),
        ({"bounds": "no/such.json"}, ParameterError, "no/such.json"),
        ({"bounds": {"intercpt": [0, 1]}}, ParameterError, "'intercpt' .. 'intercept'"),
        ({"bounds": {"intercept": [0]}}, ParameterError, "lower, upper"),
        ({"fixed": ["intercpt"]}, FitError, "'intercpt' .. 'intercept'"),
        ({"fixed": {"intercept": math.nan}}, FitError, "'intercept'"),
        ({"fixed": {"intercept": "1"}}, FitError, "'intercept'"),
        ({"fixed": NAMES}, FitError, "no parameter"),
        ({"max_evals": 0}, FitError, "max_evals"),
        ({"max_evals": 1.5}, FitError, "max_evals"),
        ({"max_evals": True}, FitError, "max_evals"),
        ({"seed": -1}, FitError, "seed"),
        ({"seed": 2**32}, FitError, "seed"),
        ({"max_time_s": 0}, FitError, "max_time_s"),
        ({"max_time_s": math.inf}, FitError, "max_time_s"),
        ({"max_time_s": math.nan}, FitError, "max_time_s"),
    ],
)
def test_arguments_that_make_no_fit(
    exp1: Experiment, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=facts(message)) as caught:
        search(exp1, **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("experiments", "error", "message"),
    [
        ("exp1_30r", ExperimentError, "'exp1_30rr'"),
        ([], FitError, "no experiment"),
        (3, FitError, "int"),
    ],
)
def test_what_is_no_experiment(experiments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=facts(message)):
        search(experiments, max_evals=1)


def test_a_name_or_a_list_of_one_is_an_experiment_too(quick: FitResult) -> None:
    assert search("exp1_30rr", max_evals=300) == quick
    assert search([load_experiment("exp1_30rr")], max_evals=300) == quick


def test_a_missing_library_names_the_extra(
    exp1: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bayes_opt", None)
    with pytest.raises(MissingExtraError, match=facts("'pysimbind[bayes]'")):
        search(exp1, "bayes")


def test_a_space_of_one_point_has_nothing_to_fit(exp1: Experiment) -> None:
    middle = (exp1.bounds["original"].lower + exp1.bounds["original"].upper) / 2
    with pytest.raises(FitError, match=facts("no parameter")):
        search(exp1, bounds=Space(middle, middle), max_evals=1)


def test_the_package_is_the_function_too() -> None:
    """``pysimbind.fit(...)`` and ``from pysimbind.fit import fit`` are one and the same."""
    assert pysimbind.fit("exp1_30rr", max_evals=96) == fit("exp1_30rr", max_evals=96)
