"""The benchmark client's arrival generator.

Oracles: the arrivals derived for the original experiment (the recorded file, and the copy of them
in the bundled experiment), the client's own loop of one draw after each request, and the mean and
variance of a gamma distribution.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pysimbind.arrivals import arrival_deltas_us, rescaled_arrivals, sequential_arrivals
from pysimbind.errors import WorkloadError
from pysimbind.experiment import load_experiment


def test_original_experiment_recorded(shared: Path) -> None:
    data = shared / "data/exp1_30rr"
    derived = json.loads((data / "exp1_30rr_arrival_deltas_derived.json").read_text())
    deltas = arrival_deltas_us(100, 30, seed=42)
    assert deltas.tolist() == derived["arrival_delta_us"]
    assert np.cumsum(deltas).tolist() == derived["arrival_us"]
    lengths = json.loads((data / "lengths_partial.json").read_text())
    exact = [request["arrival_s"] for request in lengths["requests"]]
    np.testing.assert_allclose(sequential_arrivals(100, 30.0, seed=42), exact, atol=1e-9, rtol=0)


def test_original_experiment_bundled() -> None:
    arrival_s = load_experiment("exp1_30rr").workload.arrival_s
    made = np.cumsum(arrival_deltas_us(100, 30, seed=42)) / 1e6
    assert made.tolist() == arrival_s.tolist()
    late = sequential_arrivals(100, 30, seed=42) - arrival_s
    assert np.all(late >= 0)
    assert np.all(late <= 1e-6 * np.arange(100))


@pytest.mark.parametrize("burstiness", [0.3, 1.0, 4.0])
def test_one_draw_after_each_request(burstiness: float) -> None:
    random = np.random.RandomState(7)
    theta = 1.0 / (5.0 * burstiness)
    now, expected = 0.0, []
    for _ in range(50):
        expected.append(now)
        now += random.gamma(shape=burstiness, scale=theta)
    made = sequential_arrivals(50, 5.0, burstiness=burstiness, seed=7)
    np.testing.assert_allclose(made, expected, rtol=1e-14)


@pytest.mark.parametrize("burstiness", [0.5, 2.0])
def test_gap_statistics(burstiness: float) -> None:
    """Gamma with shape k and mean m has variance m^2 / k."""
    gaps = np.diff(sequential_arrivals(200_001, 8.0, burstiness=burstiness, seed=3))
    assert gaps.mean() == pytest.approx(1 / 8, rel=0.02)
    assert gaps.var() == pytest.approx(1 / 64 / burstiness, rel=0.05)


def test_one_seed_one_stream() -> None:
    np.random.seed(5)  # noqa: NPY002  the global state is what must not matter, nor change
    before = np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    first = sequential_arrivals(20, 3.0, seed=1)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]  # noqa: NPY002
    assert first.tolist() == sequential_arrivals(20, 3.0, seed=1).tolist()
    assert first.tolist() == sequential_arrivals(30, 3.0, seed=1)[:20].tolist()
    assert first.tolist() != sequential_arrivals(20, 3.0, seed=2).tolist()


def test_all_at_once() -> None:
    assert sequential_arrivals(4, float("inf")).tolist() == [0, 0, 0, 0]
    assert arrival_deltas_us(4, float("inf")).tolist() == [0, 0, 0, 0]
    assert sequential_arrivals(1, 2.0).tolist() == [0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_prompts": 0}, "num_prompts must be an integer >= 1"),
        ({"num_prompts": 2.0}, "num_prompts must be an integer"),
        ({"num_prompts": True}, "num_prompts must be an integer"),
        ({"request_rate": 0}, "request_rate must be a number > 0, got 0"),
        ({"request_rate": -1.0}, "request_rate must be"),
        ({"request_rate": float("nan")}, "request_rate must be"),
        ({"request_rate": "fast"}, "request_rate must be"),
        ({"burstiness": 0}, "burstiness must be"),
        ({"burstiness": float("inf")}, "burstiness must be finite"),
        ({"seed": -1}, "seed must be an integer >= 0"),
        ({"seed": 2**32}, "seed must be an integer"),
        ({"seed": None}, "seed must be an integer"),
    ],
)
@pytest.mark.parametrize("function", [sequential_arrivals, arrival_deltas_us])
def test_bad_arguments(function: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        function(**{"num_prompts": 3, "request_rate": 1.0, **change})


def test_rescaled_arrivals_are_those_of_a_recent_client(shared: Path) -> None:
    """Real start times of vLLM 0.32: a client is late by a millisecond, rarely by more."""
    for name, seed in (("Q_sync_r3", 42), ("Q_async_r4", 42), ("Q_sync_r9_s43", 43)):
        recorded = json.loads((shared / f"data/vllm_cpu/{name}.json").read_text())
        sent = np.array(recorded["start_times"])
        intended = rescaled_arrivals(sent.size, recorded["request_rate"], seed=seed)
        lateness = sent - intended
        assert np.median(lateness - lateness.min()) < 0.01


def test_rescaled_arrivals_end_at_n_over_rate() -> None:
    """The gaps are those of the sequential client, each stretched alike."""
    arrivals = rescaled_arrivals(50, 4.0, burstiness=0.7, seed=9)
    assert arrivals[-1] == pytest.approx(50 / 4.0)
    gaps = np.diff(arrivals, prepend=0.0)
    sequential = np.diff(sequential_arrivals(51, 4.0, burstiness=0.7, seed=9))
    np.testing.assert_allclose(gaps / sequential, gaps[0] / sequential[0])
    assert rescaled_arrivals(3, math.inf).tolist() == [0, 0, 0]
