"""The named losses and the objective.

Oracles: naive Python loops written from the definition; central differences of the loss for its
derivatives; DESIGN's figure for a perfect simulator
under the mispaired formula (about 3.2 s^2) and the reference loss of the baseline (0.0040 s^2
under the original semantics), both computed elsewhere.
"""

from __future__ import annotations

import dataclasses
import math
import pickle

import numpy as np
import pytest

from pysimbind.config import SEMANTICS
from pysimbind.errors import FitError, HandleError, InputError, ParameterError
from pysimbind.experiment import Experiment
from pysimbind.formats import load_experiment
from pysimbind.losses import LOSSES, Loss, Measured, find_loss
from pysimbind.objective import Objective
from pysimbind.parameters import NAMES
from pysimbind.simulator import Simulator

from .facts import facts


@pytest.fixture(scope="module")
def exp1() -> Experiment:
    return load_experiment("exp1_30rr")


@pytest.fixture(scope="module")
def candidates(exp1: Experiment) -> np.ndarray:
    assert exp1.baseline is not None
    spread = np.random.default_rng(7).uniform(0.8, 1.2, (8, len(NAMES)))
    return exp1.baseline.vector * spread


def _naive(measured: list[float], simulated: list[float]) -> float:
    squares = [(s - m) ** 2 for m, s in zip(measured, simulated, strict=True) if not math.isnan(m)]
    return sum(squares) / len(squares)


def _made_up(requests: int = 9) -> tuple[Measured, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    measured = Measured(
        np.sort(rng.uniform(0, 2, requests)), rng.uniform(0.01, 0.1, requests), rng.random(requests)
    )
    measured.ttft[2] = measured.e2e[[2, 5]] = np.nan
    return measured, rng.uniform(0.01, 0.1, (4, requests)), rng.uniform(0.1, 3, (4, requests))


def test_original_is_the_mean_of_two_mean_squares_over_requests_that_were_measured() -> None:
    measured, ttft, e2e = _made_up()
    got = LOSSES["original"](measured, ttft, e2e)
    for i in range(len(ttft)):
        naive_ttft = _naive(measured.ttft.tolist(), ttft[i].tolist())
        naive_e2e = _naive(measured.e2e.tolist(), e2e[i].tolist())
        assert got[i] == pytest.approx((naive_ttft + naive_e2e) / 2, rel=1e-12)


def test_unpaired_takes_the_simulated_e2es_in_order_of_completion() -> None:
    measured, ttft, e2e = _made_up()
    measured.arrival_s[:] = np.round(measured.arrival_s, 1)
    e2e[:] = np.round(e2e, 1)  # ties of completion stay in request order
    got = LOSSES["original-unpaired"](measured, ttft, e2e)
    for i in range(len(ttft)):
        done = sorted(range(len(e2e[i])), key=lambda r: measured.arrival_s[r] + e2e[i, r])
        naive_e2e = _naive(measured.e2e.tolist(), [float(e2e[i, r]) for r in done])
        naive_ttft = _naive(measured.ttft.tolist(), ttft[i].tolist())
        assert got[i] == pytest.approx((naive_ttft + naive_e2e) / 2, rel=1e-12)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_request_that_never_finishes_costs_infinity(name: str) -> None:
    measured, ttft, e2e = _made_up()
    e2e[1, 4] = np.nan
    ttft[2, 2] = np.nan  # even where nothing was measured: the simulated server lost a request
    e2e[3, 0] = 1e200  # its square overflows
    losses = LOSSES[name](measured, ttft, e2e)
    assert np.isinf(losses[:3]).tolist() == [False, True, True]
    assert losses[3] > 1e100  # robust losses grow slowly, but never become small again


def test_a_perfect_simulator_scores_0_matched_and_about_3_point_2_mispaired(
    exp1: Experiment,
) -> None:
    measured = Measured(exp1.workload.arrival_s, exp1.ttft, exp1.e2e)
    perfect = exp1.ttft[np.newaxis], exp1.e2e[np.newaxis]
    assert LOSSES["original"](measured, *perfect)[0] == 0
    assert LOSSES["original-unpaired"](measured, *perfect)[0] == pytest.approx(3.2, abs=0.05)


def test_an_unknown_loss_names_the_nearest() -> None:
    with pytest.raises(FitError, match=facts("'orignal' .. 'original'")):
        find_loss("orignal")


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_the_baseline_scores_what_the_reference_says(exp1: Experiment, semantics: str) -> None:
    """At this load, without chunks or preemption, they all schedule it nearly alike."""
    config = exp1.config.replace(semantics=semantics)
    with Objective(dataclasses.replace(exp1, config=config), loss="original") as objective:
        assert objective(exp1.baseline) == pytest.approx(0.0040, abs=1e-4)


def test_vector_mapping_parameters_and_batch_agree_to_the_bit(
    exp1: Experiment, candidates: np.ndarray
) -> None:
    with Objective(exp1, loss="original") as objective:
        losses = objective.batch(candidates)
        assert losses.shape == (8,)
        assert len(set(losses.tolist())) == 8
        assert [objective(x) for x in candidates] == losses.tolist()
        assert objective(dict(zip(NAMES, candidates[3], strict=True))) == losses[3]
        assert objective.nfev == 17


def test_chunks_bound_the_memory_and_change_no_bit(
    exp1: Experiment, candidates: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Objective(exp1, loss="original") as objective:
        whole = objective.batch(candidates)
    monkeypatch.setattr("pysimbind.objective._CHUNK_BYTES", 3 * 2 * 8 * exp1.num_requests)
    with Objective(exp1, loss="original") as objective:
        sizes = []
        simulator = objective._runs[0].simulator
        run = simulator.run_batch

        def spy(rows: np.ndarray) -> object:
            sizes.append(len(rows))
            return run(rows)

        monkeypatch.setattr(simulator, "run_batch", spy)
        chunked = objective.batch(candidates)
        assert sizes == [3, 3, 2]
        assert chunked.tolist() == whole.tolist()


def test_infeasible_candidates_score_infinity_and_are_counted_by_outcome(
    exp1: Experiment, candidates: np.ndarray
) -> None:
    rows = candidates[:4].copy()
    rows[1, NAMES.index("intercept")] = -0.1
    rows[2, NAMES.index("sum_decode_tokens")] = 1e300
    rows[3, NAMES.index("intercept")] = -0.1
    with Objective(exp1, loss="original") as objective:
        assert np.isfinite(objective.batch(rows)).tolist() == [True, False, False, False]
        assert objective.infeasible == {"negative_step": 2, "non_finite": 1}


def test_a_run_that_ends_before_its_requests_is_infeasible(exp1: Experiment) -> None:
    short = dataclasses.replace(exp1, config=exp1.config.replace(horizon_s=1.0))
    with Objective(short, loss="original") as objective:
        assert objective(exp1.baseline) == math.inf
        assert objective.infeasible == {"horizon": 1}


def test_an_empty_batch_has_no_losses(exp1: Experiment) -> None:
    with Objective(exp1, loss="original") as objective:
        assert objective.batch(np.empty((0, len(NAMES)))).shape == (0,)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros(19), "(N, 19) .. (19,)"),
        (np.zeros((2, 18)), "(N, 19) .. (2, 18)"),
        (np.full((2, 19), np.nan), "finite"),
        ([["a"] * 19], "numbers"),
    ],
)
def test_batches_that_are_no_batches_are_refused(
    exp1: Experiment, bad: object, message: str
) -> None:
    with (
        Objective(exp1, loss="original") as objective,
        pytest.raises(ParameterError, match=facts(message)),
    ):
        objective.batch(bad)


@pytest.mark.parametrize("loss", ["original-unpaired", "log,e2e.p99,ttft,huber:0.1,warmup:3"])
def test_an_objective_survives_pickling(
    exp1: Experiment, candidates: np.ndarray, loss: str
) -> None:
    with Objective(exp1, loss=Loss.parse(loss)) as objective:
        copy = pickle.loads(pickle.dumps(objective))
        with copy:
            assert copy.batch(candidates).tolist() == objective.batch(candidates).tolist()


def test_a_closed_objective_says_so(exp1: Experiment) -> None:
    objective = Objective(exp1, loss="original")
    objective.close()
    with pytest.raises(HandleError):
        objective(exp1.baseline)


# --- derivatives ---------------------------------------------------------------------------------

COMPOSED = [
    "original",
    "recipe",
    "log,ttft,tpot:2,huber:0.1,warmup:10",
    "absolute,e2e.mean,ttft.p50,e2e.p99:3,tpot.p90",
]


# A server of which every term is large enough to be told from rounding.
_COEFFS = [4e-4, 5e-5, 1e-5, 2e-4, 1e-6, 1e-7, 1e-7, 1e-5, 1e-8, 1e-8, 1e-6, 1e-8, 1e-6, 1e-5, 6e-3]
FULL_SERVER = np.array([*_COEFFS, 100, 100, 500, 3000])


def planted(exp1: Experiment) -> Experiment:
    """Return the experiment with a simulation for its measurement: fits can be perfect there."""
    assert exp1.baseline is not None
    with Simulator(exp1.workload, exp1.config) as simulator:
        ttft, e2e = simulator.run(exp1.baseline.vector * 1.05)
    return dataclasses.replace(exp1, ttft=ttft, e2e=e2e)


@pytest.mark.parametrize("loss", COMPOSED)
@pytest.mark.parametrize("name", ["exp1_30rr", "vllm-cpu-sync-r3", "vllm-cpu-sync-r9", "planted"])
def test_derivatives_are_those_of_differences(exp1: Experiment, name: str, loss: str) -> None:
    """Wherever the order of events is the same on both sides."""
    experiment = planted(exp1) if name == "planted" else load_experiment(name)
    assert exp1.baseline is not None
    x = FULL_SERVER if name.startswith("vllm-cpu") else exp1.baseline.vector
    simulator = Simulator(experiment.workload, experiment.config)
    with Objective(experiment, loss=loss) as objective, simulator:
        value, gradient = objective.value_and_grad(x, "exact")
        jac = objective.jac(x, "exact")
        assert value == objective(x)
        assert objective.gradient(x, "exact").tobytes() == gradient.tobytes()
        middle = simulator.run(x)
        compared = 0
        for j in range(len(NAMES)):
            step = np.zeros(len(NAMES))
            step[j] = 1e-6 * abs(x[j])
            sides = x - step, x + step
            if any(middle.order_changes(simulator.run(side)) for side in sides):
                continue
            compared += 1
            down, up = (objective.residuals(side) for side in sides)
            difference = (up - down) / (2 * step[j])
            scale = np.abs(difference).max()
            np.testing.assert_allclose(jac[:, j], difference, rtol=1e-3, atol=1e-4 * scale)
            slope = (up @ up - down @ down) / (2 * step[j])
            # a sum of terms of both signs: exact to a share of their sizes
            sizes = 2 * np.abs(objective.residuals(x)) @ np.abs(jac[:, j])
            assert gradient[j] == pytest.approx(slope, rel=1e-3, abs=1e-4 * sizes)
        assert compared >= len(NAMES) // 2


def test_aliases_have_the_same_derivatives(exp1: Experiment) -> None:
    with Objective(exp1) as objective:
        column = dict(zip(NAMES, objective.jac(exp1.baseline).T, strict=True))
    assert np.array_equal(column["schedule_time"], column["update_time"])
    np.testing.assert_allclose(column["schedule_time"], 1e-6 * column["intercept"], rtol=1e-12)


def test_requests_that_failed_have_no_residuals(exp1: Experiment) -> None:
    e2e = exp1.e2e.copy()
    e2e[[3, 50]] = np.nan
    with Objective(dataclasses.replace(exp1, e2e=e2e), loss="original") as objective:
        r, jac = objective.residuals(exp1.baseline), objective.jac(exp1.baseline)
        assert r.shape == (198,)
        assert jac.shape == (198, len(NAMES))
        assert np.isfinite(jac).all()
        assert r @ r == pytest.approx(objective(exp1.baseline), rel=1e-12)


def test_where_the_loss_is_infinite_there_are_no_derivatives(exp1: Experiment) -> None:
    assert exp1.baseline is not None
    bad = {**exp1.baseline.as_dict(), "intercept": -0.1}
    with Objective(exp1, loss="original") as objective:
        assert np.isposinf(objective.residuals(bad)).all()
        assert np.isnan(objective.jac(bad)).all()
        value, gradient = objective.value_and_grad(bad)
        assert value == math.inf
        assert np.isnan(gradient).all()
        assert objective.nfev == 3
        assert objective.infeasible == {"negative_step": 3}


def test_bad_vectors_and_kinds_are_refused(exp1: Experiment) -> None:
    with Objective(exp1, loss="original") as objective:
        for function in (objective.residuals, objective.jac, objective.gradient):
            with pytest.raises(ParameterError, match=facts("'num_prefills' .. nan")):
                function(np.r_[0, 0, 0, np.nan, np.zeros(15)])
            with pytest.raises(ParameterError, match="shape"):
                function(np.zeros(18))
        with pytest.raises(InputError, match=facts("'exact'")):
            objective.jac(exp1.baseline, kind="exct")


@pytest.mark.parametrize("which", ["ttft", "e2e"])
def test_nothing_measured_is_nothing_to_fit_to(exp1: Experiment, which: str) -> None:
    blank = dataclasses.replace(exp1, **{which: np.full(exp1.num_requests, np.nan)})
    with pytest.raises(FitError, match=facts(f"'exp1_30rr' .. {which}")):
        Objective(blank, loss="original")
    other = {"ttft": "e2e", "e2e": "ttft"}[which]
    with Objective(blank, loss=other) as objective:
        assert 0 < objective(exp1.baseline) < 1


def test_several_runs_are_the_weighted_mean_of_each(exp1: Experiment) -> None:
    other = dataclasses.replace(exp1, name="shifted", e2e=exp1.e2e * 1.1)
    x = exp1.baseline
    with Objective(exp1) as one, Objective(other) as two:
        losses = one(x), two(x)
    with Objective([exp1, other], weights=[3, 1]) as joint:
        value, gradient = joint.value_and_grad(x)
        r, jac = joint.residuals(x), joint.jac(x)
        assert joint(x) == pytest.approx((3 * losses[0] + losses[1]) / 4, rel=1e-12)
        assert value == pytest.approx(joint(x), rel=1e-12)
        assert r @ r == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(gradient, 2 * r @ jac)
    with pytest.raises(FitError, match=facts("1 .. 2")):
        Objective([exp1, other], weights=[1])


def test_a_model_of_terms_and_its_sensitivity(exp1: Experiment) -> None:
    """At an intercept alone, context lengths and an overhead would still change E2E."""
    with Objective(exp1, "extended") as objective:
        x = dict.fromkeys(objective.model.names, 0.0) | {"intercept": 8e-3}
        assert objective.jac(x).shape[1] == len(objective.model.names)
        sensitivity = dict(zip(objective.model.names, objective.sensitivity(x), strict=True))
        assert sensitivity["ctx"] > 0
        assert sensitivity["vllm_overhead"] > 0


def test_runs_of_one_name_are_told_apart(exp1: Experiment) -> None:
    with Objective([exp1, exp1]) as objective:
        assert [e.name for e in objective.experiments] == ["exp1_30rr", "exp1_30rr (2)"]
