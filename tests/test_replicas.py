"""Replicas that differ in phase. Oracles: simulators opened with the other arrivals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pysimbind import InputError, ServerConfig, Simulator, Workload, load_experiment
from pysimbind.config import SEMANTICS
from pysimbind.replicas import replicate
from tests.planted import MODEL, TRUTH, planted

from .facts import facts

TWO = Workload([0.0, 0.5], [4, 4], [2, 2])


def one_second(simulator: Simulator) -> np.ndarray:
    return np.array([float(name == "intercept") for name in simulator.model.names])


# --- other arrivals for each candidate -----------------------------------------------------------


@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_requests_that_come_at_other_times(engine: str) -> None:
    """Steps of 1 s: a request that comes within the first waits for its end."""
    with Simulator(TWO, engine=engine) as simulator:
        x = one_second(simulator)
        result = simulator.run_batch([x] * 3, arrival_s=[[0, 0.5], [0, 0.75], [0.25, 0]])
        assert np.array_equal(result.ttft, [[1, 1.5], [1, 1.25], [1.75, 1]])
        assert np.array_equal(result.e2e, [[2, 2.5], [2, 2.25], [2.75, 2]])
        same = simulator.run_batch([x] * 2, arrival_s=[0, 0.75])
        assert np.array_equal(same.ttft, [[1, 1.25]] * 2)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(SEMANTICS),
    st.booleans(),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
    st.sampled_from([None, 2]),
)
def test_they_are_simulated_as_if_opened_with_them(
    semantics: str, scarce: bool, requests: int, seed: int, limit: int | None
) -> None:
    """To the bit, in any order, by whichever engine, with prefixes and preemption."""
    rng = np.random.default_rng(seed)
    blis = semantics == "blis-2025-07"
    config = ServerConfig(
        semantics=semantics,
        max_num_seqs=4,
        block_size=4,
        num_gpu_blocks=40 if scarce else None,
    )
    prompts = [[1, 2, 3, 4, 5, 6, 7, 8, *rng.integers(9, 12, 8).tolist()] for _ in range(requests)]
    arrivals = np.sort(rng.uniform(0, 0.1, (3, requests)), axis=1)
    if not blis:
        arrivals = rng.permuted(arrivals, axis=1)

    def workload(arrival_s: np.ndarray) -> Workload:
        return Workload(
            arrival_s,
            [16] * requests,
            [20] * requests,
            prompt_token_ids=prompts,
            max_concurrency=None if blis else limit,
            strict=False,
        )

    with Simulator(workload(arrivals[0]), config, MODEL) as simulator:
        got = simulator.run_batch([TRUTH.vector] * 3, arrival_s=arrivals)
        own = simulator.run_batch([TRUTH.vector]).e2e[0]  # the workload's own are still there
    for i, arrival_s in enumerate(arrivals):
        with Simulator(workload(arrival_s), config, MODEL) as other:
            want = other.run(TRUTH)
        np.testing.assert_array_equal(got.ttft[i], want.ttft)
        np.testing.assert_array_equal(got.e2e[i], want.e2e)
        assert got.outcome[i] == want.outcome
    np.testing.assert_array_equal(own, got.e2e[0])


@pytest.mark.parametrize(
    ("arrival_s", "what"),
    [
        ([0.0, 1.0, 2.0], "arrival_s .. (2, 2)"),
        ([[0.0, 1.0]] * 3, "arrival_s .. (2, 2)"),
        ("x", "arrival_s .. (2, 2)"),
        ([0.0, np.nan], "request 1 .. NaN"),
        ([[0.0, 1.0], [1e10, 0.0]], "request 0 .. 1e+10"),
    ],
)
def test_bad_arrivals(arrival_s: object, what: str) -> None:
    with Simulator(TWO) as simulator, pytest.raises(InputError, match=facts(what)):
        simulator.run_batch([one_second(simulator)] * 2, arrival_s=arrival_s)  # type: ignore[arg-type]


# --- replicas ------------------------------------------------------------------------------------


def test_means_over_replicas() -> None:
    """The first is the plain run; the others differ, by less than the steps do."""
    run = planted(rate_rps=6)
    with Simulator(run.workload, run.config, MODEL) as simulator:
        plain = simulator.run(TRUTH)
        got = replicate(simulator, TRUTH)
        again = replicate(simulator, TRUTH)
    assert got.ttft.shape == got.e2e.shape == (6, 150)
    assert np.array_equal(got.ttft[0], plain.ttft)
    assert len(np.unique(got.ttft, axis=0)) == 6
    np.testing.assert_allclose(got.result.ttft, got.ttft.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(got.result.e2e, got.e2e.mean(axis=0), rtol=1e-12)
    assert np.abs(got.e2e.mean(axis=1) / plain.e2e.mean() - 1).max() < 0.01
    assert got.result.steps == plain.steps
    assert np.array_equal(got.ttft, again.ttft)


def test_a_server_that_falls_idle_is_met_at_other_phases_too() -> None:
    """Two requests in each of 20 busy periods: in all of them the second one's TTFT differs."""
    arrival_s = (np.arange(20)[:, np.newaxis] * 10 + np.array([0, 0.5])).ravel()
    with Simulator(Workload(arrival_s, np.full(40, 4), np.full(40, 3))) as simulator:
        got = replicate(simulator, one_second(simulator))
    assert (np.ptp(got.ttft[:, 1::2], axis=0) > 0.1).all()
    assert np.isclose(got.ttft[:, ::2], 1).all()  # who meets an idle server waits for nobody


def test_requests_that_come_together_stay_together() -> None:
    """A burst is one prefill step, whatever the phase."""
    with Simulator(Workload([0.0] * 5 + [3.25] * 3, [4] * 8, [6] * 8)) as simulator:
        got = replicate(simulator, one_second(simulator))
    np.testing.assert_allclose(got.ttft[:, :5], 1, rtol=1e-12)
    np.testing.assert_allclose(np.ptp(got.ttft[:, 5:], axis=1), 0, atol=1e-12)


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_all_semantics_have_replicas(semantics: str) -> None:
    experiment = load_experiment("exp1_30rr")
    config = experiment.config.replace(semantics=semantics)
    with Simulator(experiment.workload, config) as simulator:
        plain = simulator.run(experiment.baseline)
        one = replicate(simulator, experiment.baseline, 1)
        several = replicate(simulator, experiment.baseline)
    assert np.array_equal(one.result.ttft, plain.ttft)
    assert np.isfinite(several.e2e).all()
    assert several.result.e2e.mean() == pytest.approx(plain.e2e.mean(), rel=0.01)
    assert not np.array_equal(several.result.ttft, plain.ttft)


@pytest.mark.parametrize("replicas", [0, -1, 1.5, True, "6"])
def test_bad_numbers_of_replicas(replicas: object) -> None:
    with Simulator(TWO) as simulator, pytest.raises(InputError, match=facts("replicas")):
        replicate(simulator, one_second(simulator), replicas)  # type: ignore[arg-type]
