"""The benchmark client's arrival generator.

Oracles: the arrivals derived for the original experiment (the recorded file, and the copy of them
in the bundled experiment), the client's own loop of one draw after each request, the times at which
vLLM 0.32's client was measured to send, and the mean and variance of a gamma distribution.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pysimbind.errors import WorkloadError
from pysimbind.formats import load_experiment
from pysimbind.vllm.arrivals import arrival_deltas_us, rescaled_arrivals, sequential_arrivals

from .facts import facts


def test_original_experiment_recorded(recorded: Path) -> None:
    data = recorded / "exp1_30rr"
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


@pytest.mark.parametrize(
    ("name", "rate", "seed"), [("vllm-cpu-sync-r3", 3, 42), ("vllm-cpu-sync-r9", 9, 43)]
)
def test_measured_client(name: str, rate: float, seed: int) -> None:
    """The client is late now and then (0.4 s once), but half of the time by less than 2 ms."""
    sent = load_experiment(name).workload.arrival_s
    for start, most in ((seed, 0.002), (seed + 1, math.inf)):
        planned = rescaled_arrivals(sent.size, rate, seed=start)
        off = np.median(np.abs(sent - (planned - planned[0])))
        assert off < most
    assert off > 0.2  # another seed is another run


@pytest.mark.parametrize("burstiness", [0.3, 1.0, 4.0])
def test_rescaled_to_the_rate(burstiness: float) -> None:
    """One gap more than the older client, all scaled so that the last request is at n / rate."""
    made = rescaled_arrivals(50, 5.0, burstiness=burstiness, seed=7)
    assert made[-1] == pytest.approx(10, rel=1e-12)
    older = sequential_arrivals(51, 5.0, burstiness=burstiness, seed=7)
    np.testing.assert_allclose(made / made[0], older[1:] / older[1], rtol=1e-12)


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
    assert rescaled_arrivals(4, float("inf")).tolist() == [0, 0, 0, 0]
    assert sequential_arrivals(1, 2.0).tolist() == [0]


def test_constant_gaps_of_the_newer_client() -> None:
    assert rescaled_arrivals(4, 2.0, burstiness=float("inf")).tolist() == [0.5, 1, 1.5, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_prompts": 0}, "num_prompts .. 1"),
        ({"num_prompts": 2.0}, "num_prompts .. 2.0"),
        ({"num_prompts": True}, "num_prompts .. True"),
        ({"request_rate": 0}, "request_rate .. 0"),
        ({"request_rate": -1.0}, "request_rate .. -1.0"),
        ({"request_rate": float("nan")}, "request_rate .. nan"),
        ({"request_rate": "fast"}, "request_rate .. 'fast'"),
        ({"burstiness": 0}, "burstiness"),
        ({"seed": -1}, "seed .. -1"),
        ({"seed": 2**32}, "seed .. 4294967296"),
        ({"seed": None}, "seed .. None"),
    ],
)
@pytest.mark.parametrize("function", [sequential_arrivals, rescaled_arrivals, arrival_deltas_us])
def test_bad_arguments(function: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkloadError, match=facts(message)):
        function(**{"num_prompts": 3, "request_rate": 1.0, **change})


@pytest.mark.parametrize("function", [sequential_arrivals, arrival_deltas_us])
def test_the_older_client_had_no_infinite_burstiness(function: Any) -> None:
    with pytest.raises(WorkloadError, match=facts("burstiness .. finite")):
        function(3, 1.0, burstiness=float("inf"))
