"""Replicas that differ in phase: oracles are closed forms and single runs."""

from __future__ import annotations

import numpy as np
import pytest

from pysimbind import InputError, ServerConfig, Simulator, Workload, load_experiment
from pysimbind.replicas import replicate

TWO = Workload([0.0, 0.5], [4, 4], [2, 2])


def one_second(simulator: Simulator) -> np.ndarray:
    return np.array([float(name == "intercept") for name in simulator.model.names])


@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_the_first_step_waits(engine: str) -> None:
    """Steps of 1 s begin at the phase: late enough, the second request is in the first of them."""
    with Simulator(TWO, engine=engine) as simulator:
        x = one_second(simulator)
        result = simulator.run_batch([x] * 3, phase_s=[0, 0.25, 0.75])
        assert np.array_equal(result.ttft, [[1, 1.5], [1.25, 1.75], [1.75, 1.25]])
        assert np.array_equal(result.e2e, [[2, 2.5], [2.25, 2.75], [2.75, 2.25]])
        assert np.array_equal(simulator.run_batch([x] * 2, phase_s=0.25).ttft[1], [1.25, 1.75])


def test_only_the_first_step_waits() -> None:
    """An engine that was idle meanwhile begins at once."""
    with Simulator(Workload([0.0, 9.0], [4, 4], [2, 2])) as simulator:
        result = simulator.run_batch([one_second(simulator)], phase_s=0.5)
    assert np.array_equal(result.e2e, [[2.5, 2.0]])


@pytest.mark.parametrize(
    ("phase_s", "what"),
    [(-1.0, "row 0 is -1"), ([0.0, np.nan], "row 1 is nan"), ([0.0] * 3, "each of 2"), ("x", "2")],
)
def test_bad_phases(phase_s: object, what: str) -> None:
    with Simulator(TWO) as simulator, pytest.raises(InputError, match=what):
        simulator.run_batch([one_second(simulator)] * 2, phase_s=phase_s)  # type: ignore[arg-type]


def test_the_original_semantics_have_no_phase() -> None:
    """So a prediction is one run, and a phase is refused."""
    with Simulator(TWO, ServerConfig(semantics="blis-2025-07")) as simulator:
        x = one_second(simulator)
        with pytest.raises(InputError, match="blis-2025-07"):
            simulator.run_batch([x], phase_s=0.5)
        assert replicate(simulator, x).ttft.shape == (1, 2)


def test_means_over_replicas() -> None:
    """They are those of runs delayed by 0 to 5 sixths of a step, which TPOT tells: 1 s here."""
    with Simulator(TWO) as simulator:
        x = one_second(simulator)
        got = replicate(simulator, x)
        want = simulator.run_batch([x] * 6, phase_s=np.arange(6) / 6)
        assert np.array_equal(got.ttft, want.ttft)
        assert np.array_equal(got.e2e, want.e2e)
        np.testing.assert_allclose(got.result.ttft, want.ttft.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(got.result.e2e, want.e2e.mean(axis=0), rtol=1e-12)
        assert got.result.steps == simulator.run(x).steps


def test_one_replica_is_the_plain_run() -> None:
    experiment = load_experiment("exp1_30rr")
    assert experiment.baseline is not None
    with Simulator(experiment.workload, experiment.config) as simulator:
        plain = simulator.run(experiment.baseline)
        got = replicate(simulator, experiment.baseline, 1)
        assert np.array_equal(got.result.ttft, plain.ttft)
        several = replicate(simulator, experiment.baseline)
    assert 0 < np.abs(several.result.e2e / plain.e2e - 1).mean() < 0.01
    assert not np.array_equal(several.result.ttft, plain.ttft)


@pytest.mark.parametrize("replicas", [0, -1, 1.5, True, "6"])
def test_bad_numbers_of_replicas(replicas: object) -> None:
    with Simulator(TWO) as simulator, pytest.raises(InputError, match="replicas must be"):
        replicate(simulator, one_second(simulator), replicas)  # type: ignore[arg-type]
