"""The losses and the objective.

Oracles: naive Python loops written from the definition; DESIGN's figure for a perfect simulator
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
from pysimbind.errors import FitError, HandleError, ParameterError
from pysimbind.experiment import Experiment, load_experiment
from pysimbind.losses import LOSSES, Measured, find_loss
from pysimbind.objective import Objective
from pysimbind.parameters import NAMES


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
    assert np.isinf(LOSSES[name](measured, ttft, e2e)).tolist() == [False, True, True, True]


def test_a_perfect_simulator_scores_0_matched_and_about_3_point_2_mispaired(
    exp1: Experiment,
) -> None:
    measured = Measured(exp1.workload.arrival_s, exp1.ttft, exp1.e2e)
    perfect = exp1.ttft[np.newaxis], exp1.e2e[np.newaxis]
    assert LOSSES["original"](measured, *perfect)[0] == 0
    assert LOSSES["original-unpaired"](measured, *perfect)[0] == pytest.approx(3.2, abs=0.05)


def test_an_unknown_loss_names_the_nearest() -> None:
    with pytest.raises(FitError, match=r"unknown loss 'orignal'; did you mean 'original'\?"):
        find_loss("orignal")


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_the_baseline_scores_what_the_reference_says(exp1: Experiment, semantics: str) -> None:
    """At this load, without chunks or preemption, they all schedule it nearly alike."""
    config = exp1.config.replace(semantics=semantics)
    with Objective(dataclasses.replace(exp1, config=config)) as objective:
        assert objective(exp1.baseline) == pytest.approx(0.0040, abs=1e-4)


def test_vector_mapping_parameters_and_batch_agree_to_the_bit(
    exp1: Experiment, candidates: np.ndarray
) -> None:
    with Objective(exp1) as objective:
        losses = objective.batch(candidates)
        assert losses.shape == (8,)
        assert len(set(losses.tolist())) == 8
        assert [objective(x) for x in candidates] == losses.tolist()
        assert objective(dict(zip(NAMES, candidates[3], strict=True))) == losses[3]
        assert objective.nfev == 17


def test_chunks_bound_the_memory_and_change_no_bit(
    exp1: Experiment, candidates: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Objective(exp1) as objective:
        whole = objective.batch(candidates)
    monkeypatch.setattr("pysimbind.objective._CHUNK_BYTES", 3 * 2 * 8 * exp1.num_requests)
    with Objective(exp1) as objective:
        sizes = []
        run = objective._simulator.run_batch

        def spy(rows: np.ndarray) -> object:
            sizes.append(len(rows))
            return run(rows)

        monkeypatch.setattr(objective._simulator, "run_batch", spy)
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
    with Objective(exp1) as objective:
        assert np.isfinite(objective.batch(rows)).tolist() == [True, False, False, False]
        assert objective.infeasible == {"negative_step": 2, "non_finite": 1}


def test_a_run_that_ends_before_its_requests_is_infeasible(exp1: Experiment) -> None:
    short = dataclasses.replace(exp1, config=exp1.config.replace(horizon_s=1.0))
    with Objective(short) as objective:
        assert objective(exp1.baseline) == math.inf
        assert objective.infeasible == {"horizon": 1}


def test_an_empty_batch_has_no_losses(exp1: Experiment) -> None:
    with Objective(exp1) as objective:
        assert objective.batch(np.empty((0, len(NAMES)))).shape == (0,)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros(19), r"candidates must have shape \(N, 19\), got \(19,\)"),
        (np.zeros((2, 18)), r"candidates must have shape \(N, 19\), got \(2, 18\)"),
        (np.full((2, 19), np.nan), "finite"),
        ([["a"] * 19], "numbers"),
    ],
)
def test_batches_that_are_no_batches_are_refused(
    exp1: Experiment, bad: object, message: str
) -> None:
    with Objective(exp1) as objective, pytest.raises(ParameterError, match=message):
        objective.batch(bad)


def test_an_objective_survives_pickling(exp1: Experiment, candidates: np.ndarray) -> None:
    with Objective(exp1, "original-unpaired") as objective:
        copy = pickle.loads(pickle.dumps(objective))
        with copy:
            assert copy.batch(candidates).tolist() == objective.batch(candidates).tolist()


def test_a_closed_objective_says_so(exp1: Experiment) -> None:
    objective = Objective(exp1)
    objective.close()
    with pytest.raises(HandleError):
        objective(exp1.baseline)


@pytest.mark.parametrize("which", ["ttft", "e2e"])
def test_nothing_measured_is_nothing_to_fit_to(exp1: Experiment, which: str) -> None:
    blank = dataclasses.replace(exp1, **{which: np.full(exp1.num_requests, np.nan)})
    with pytest.raises(FitError, match=f"'exp1_30rr' has no measured {which}"):
        Objective(blank)
