"""Sweep and capacity.

Oracles: single simulations, traced ones by the reference engine, scipy's t-interval, and a server
that takes one second a request.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pysimbind.config import ServerConfig
from pysimbind.draw.sweeps import pareto, plot_capacity, plot_sweep
from pysimbind.errors import InputError, OutputError, WorkloadError
from pysimbind.formats import load_experiment
from pysimbind.parameters import NAMES, Parameters
from pysimbind.plan.capacity import Capacity, Slo, capacity
from pysimbind.plan.sweep import (
    METRICS,
    STATISTICS,
    Point,
    at_rate,
    check_table,
    grid,
    interval,
    latency_statistic,
    measure,
    reshape,
    sweep,
)
from pysimbind.results import Outcome
from pysimbind.simulator import Simulator
from pysimbind.vllm.arrivals import sequential_arrivals
from pysimbind.workload import Workload

from .conftest import configs, first_starts_s, workloads
from .facts import facts

SECOND = Parameters.from_mapping(dict.fromkeys(NAMES, 0.0) | {"intercept": 1.0})
ONE_BY_ONE = ServerConfig(max_num_seqs=1)


def ones(count: int = 40) -> Workload:
    return Workload(np.zeros(count), np.full(count, 10), np.ones(count, np.int64))


def test_arrivals_at_two_rates_are_the_same_draws() -> None:
    slow, fast = (at_rate(ones(), rate, seed=3).arrival_s for rate in (2.0, 8.0))
    np.testing.assert_allclose(slow, 4 * fast, rtol=1e-12)
    assert np.array_equal(fast, sequential_arrivals(40, 8.0, seed=3))


def test_a_row_is_the_mean_of_single_runs() -> None:
    experiment = load_experiment("exp1_30rr")
    assert experiment.baseline is not None
    (row,) = sweep(
        experiment.baseline,
        experiment.workload,
        experiment.config,
        [Point(20.0, {"max_num_seqs": 16}, 2.0)],
        replicas=3,
        seed=5,
    )
    p99, throughput = [], []
    scaled = np.rint(2.0 * experiment.workload.input_tokens).astype(np.int64)
    for seed in (5, 6, 7):
        arrival_s = sequential_arrivals(100, 20.0, seed=seed)
        workload = Workload(arrival_s, scaled, experiment.workload.output_tokens)
        with Simulator(workload, experiment.config.replace(max_num_seqs=16)) as simulator:
            result = simulator.run(experiment.baseline)
        p99.append(np.percentile(result.ttft, 99))
        throughput.append(100 / (arrival_s + result.e2e).max())
    low, high = stats.t.interval(0.95, 2, np.mean(p99), stats.sem(p99))
    assert row.mean["ttft_p99_s"] == pytest.approx(np.mean(p99))
    assert (row.low["ttft_p99_s"], row.high["ttft_p99_s"]) == pytest.approx((low, high))
    assert row.mean["throughput_rps"] == pytest.approx(np.mean(throughput))
    assert row.mean["finished"] == 1
    assert set(row.mean) == set(METRICS)


@pytest.mark.parametrize("semantics", ["blis-2025-07", "vllm-v1", "vllm-v1-0.9.1"])
@given(data=st.data())
def test_metrics_are_those_of_a_traced_run(semantics: str, data: st.DataObject) -> None:
    """All of them, to the bit, with queue times by the steps of the reference engine."""
    workload = data.draw(workloads(closed=semantics != "blis-2025-07"))
    step_s = data.draw(st.sampled_from([0.0, 0.004, 0.0123]))
    params = Parameters.from_mapping(dict.fromkeys(NAMES, 0.0) | {"intercept": step_s})
    config = data.draw(configs(semantics))
    with (
        Simulator(workload, config) as auto,
        Simulator(workload, config, engine="reference") as reference,
    ):
        got, want = auto.run(params), reference.run(params, trace=True)
    want.scheduled_s[:] = first_starts_s(want)
    found = measure(workload, got)
    np.testing.assert_equal(found, measure(workload, want))
    queue_time_s = first_starts_s(want) - want.sent_s
    for statistic in STATISTICS:
        in_queue = latency_statistic(queue_time_s, statistic)
        np.testing.assert_equal(found[f"queue_{statistic}_s"], in_queue)


def test_the_flag_tells_a_queue_that_grows() -> None:
    rows = sweep(SECOND, ones(200), ONE_BY_ONE, grid([0.3, 5.0]), replicas=3)
    assert [row.saturated for row in rows] == [False, True]
    assert rows[1].mean["throughput_rps"] == pytest.approx(1.0, rel=0.02)  # one a second


def test_the_flag_counts_those_that_the_client_holds_back() -> None:
    """A client of two in flight: of five a second the server does one, and has no queue itself."""
    held = ones(200).with_max_concurrency(2)
    rows = sweep(SECOND, held, ServerConfig(), grid([0.3, 5.0]), replicas=3)
    assert [row.saturated for row in rows] == [False, True]
    assert rows[1].mean["queue_mean_s"] < 1.0


def test_a_run_that_breaks_off_says_so() -> None:
    """With five decoding requests a step would take 1 - 0.25 * 5 < 0 seconds."""
    falling = Parameters.from_mapping(SECOND.as_dict() | {"sum_decode_tokens": -0.25})
    workload = Workload(np.zeros(40), np.full(40, 10), np.full(40, 10))
    rows = sweep(falling, workload, ServerConfig(), grid([0.01, 5.0]), replicas=2)
    assert [row.outcome for row in rows] == [Outcome.OK, Outcome.NEGATIVE_STEP]
    assert [row.as_dict()["outcome"] for row in rows] == ["ok", "negative_step"]
    assert rows[1].mean["finished"] < 1
    assert not rows[1].saturated
    assert [row.point.rate_rps for row in pareto(rows)] == [0.01]
    slo = [Slo.parse("p99 e2e <= 1e6")]
    found = capacity(falling, workload, ServerConfig(), slo, replicas=2)
    assert 0.01 < found.rate_rps < 5.0
    assert found.broken == 2


def test_the_grid_workers_and_progress() -> None:
    points = grid([1.0, 2.0], {"max_num_seqs": [1, 4]}, [1.0, 3.0])
    assert len(points) == 8
    assert points[1] == Point(2.0, {"max_num_seqs": 1}, 1.0)
    told: list[tuple[int, int]] = []
    args = (SECOND, ones(), ServerConfig(), points)
    one = sweep(*args, replicas=2, workers=1, progress=lambda *at: told.append(at))
    assert [r.as_dict() for r in sweep(*args, replicas=2, workers=3)] == [r.as_dict() for r in one]
    assert told == [(i, 16) for i in range(1, 17)]


def test_intervals() -> None:
    assert interval([2.0])[0] == 2.0
    assert math.isnan(interval([2.0])[1])
    assert math.isnan(interval([math.nan])[0])
    assert interval([1.0, 2.0, 4.0])[1:] == pytest.approx(
        stats.t.interval(0.95, 2, 7 / 3, stats.sem([1.0, 2.0, 4.0]))
    )


def test_reshaping() -> None:
    workload = Workload([0.0, 1.0], [10, 3], [5, 6])
    longer = reshape(workload, num_requests=5, prompt_scale=0.1)
    assert longer.input_tokens.tolist() == [1, 1, 1, 1, 1]
    assert longer.output_tokens.tolist() == [5, 6, 5, 6, 5]
    ids = Workload([0.0, 1.0], [2, 1], [1, 1], prompt_token_ids=[[1, 2], [3]])
    with pytest.raises(WorkloadError, match=facts("token ids")):
        reshape(ids, prompt_scale=2.0)
    assert at_rate(ids, 3.0, seed=0).prompt_ids is not None
    for bad in ({"prompt_scale": 0.0}, {"num_requests": 0}):
        with pytest.raises(WorkloadError, match=next(iter(bad))):
            reshape(workload, **bad)  # type: ignore[arg-type]


def test_refusals() -> None:
    with pytest.raises(InputError, match=facts("points")):
        sweep(SECOND, ones(), ONE_BY_ONE, [])
    with pytest.raises(WorkloadError, match=facts("rate")):
        sweep(SECOND, ones(), ONE_BY_ONE, grid([-1.0]))
    with pytest.raises(OutputError, match=facts("x.txt")):
        check_table("x.txt")


def test_the_front_and_its_picture() -> None:
    pytest.importorskip("matplotlib")
    rows = sweep(SECOND, ones(), ONE_BY_ONE, grid([0.2, 0.8], {"max_num_seqs": [1, 8]}), replicas=2)
    front = pareto(rows)
    for row in front:
        assert not any(
            other.mean["e2e_p99_s"] <= row.mean["e2e_p99_s"]
            and other.mean["throughput_rps"] > row.mean["throughput_rps"]
            for other in rows
        )
    slos = [Slo.parse("p99 e2e <= 3"), Slo.parse("mean ttft <= 1")]
    found = {"max_num_seqs 1": Capacity(0.5, 0.4, 0.6), "max_num_seqs 8": Capacity(9.0, 8.0, 10.0)}
    e2e, ttft, last = plot_capacity(rows, found, slos).axes
    for axes in (plot_sweep(rows).axes[2], e2e):
        (drawn,) = (line for line in axes.get_lines() if line.get_label() == "Pareto front")
        assert list(drawn.get_ydata()) == [row.mean["throughput_rps"] for row in front]
        assert list(drawn.get_xdata()) == [row.mean["e2e_p99_s"] for row in front]
    assert [line.get_label() for line in e2e.get_lines()][-1] == "p99 e2e <= 3 s"
    assert ttft.get_lines()[-1].get_label() == "Pareto front"  # a mean is no line at a p99
    assert [list(line.get_xdata()) for line in last.get_lines()] == [
        [0.4, 0.6],
        [0.5],
        [8, 10],
        [9],
    ]


def test_capacity_is_where_the_objective_begins_to_fail() -> None:
    slo = Slo.parse("p90 e2e <= 3000ms")
    found = capacity(SECOND, ones(200), ONE_BY_ONE, [slo], replicas=1, seed=4, rtol=0.01)

    def holds(rate: float) -> bool:
        workload = at_rate(ones(200), rate, seed=4)
        with Simulator(workload, ONE_BY_ONE) as simulator:
            return bool(np.percentile(simulator.run(SECOND).e2e, 90) <= 3)

    assert holds(found.rate_rps)
    assert not holds(1.01 * found.rate_rps)
    assert 0.3 < found.rate_rps < 1.0  # one a second at most
    assert found.broken == 0
    told: list[tuple[int, int]] = []
    several = capacity(
        SECOND, ones(200), ONE_BY_ONE, [slo], replicas=4, progress=lambda *at: told.append(at)
    )
    assert 0 < several.low_rps < several.rate_rps < several.high_rps
    assert told == [(i, 4) for i in range(1, 5)]


def test_capacities_that_are_none() -> None:
    assert capacity(SECOND, ones(), ONE_BY_ONE, [Slo.parse("mean ttft <= 0.5")]).rate_rps == 0
    assert capacity(SECOND, ones(), ONE_BY_ONE, [Slo.parse("mean ttft <= 99")]).rate_rps == math.inf
    with pytest.raises(InputError, match="at no rate"):
        Capacity(0.0, 0.0, 0.0).replicas_for(3)


def test_replicas_go_by_the_lower_bound() -> None:
    assert Capacity(10.0, 9.0, 11.0).replicas_for(27.5) == 4
    assert Capacity(10.0, math.nan, math.nan).replicas_for(20) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p99 ttft < 1", "as in"),
        ("p99 tfft <= 1", "'ttft'"),
        ("p101 ttft <= 1", "percentile .. 0"),
        ("mean ttft <= 1e", "'1e' .. number"),
        ("mean ttft <= -1", "'mean ttft <= -1' .. number .. 0"),
    ],
)
def test_objectives_that_are_none(text: str, message: str) -> None:
    with pytest.raises(InputError, match=facts(message)):
        Slo.parse(text)


def test_the_time_per_token_is_of_tokens_that_came() -> None:
    """Of 1,000 tokens asked for, the model's length leaves 10, one a second."""
    workload = Workload([0.0], [10], [1000])
    with Simulator(workload, ServerConfig(max_model_len=20)) as simulator:
        result = simulator.run(SECOND)
    assert result.generated_tokens.tolist() == [10]
    assert Slo.parse("mean tpot <= 1").holds(result)
    assert not Slo.parse("mean tpot <= 0.99").holds(result)


def test_objectives() -> None:
    assert Slo.parse("p99.9  tpot <= 50 ms") == Slo("p99.9", "tpot", 0.05)
    assert Slo.parse("mean e2e<=2s") == Slo("mean", "e2e", 2.0)
