"""Derivatives against central differences, where the order of events is the same at both points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pysimbind import (
    NAMES,
    TERMS,
    InputError,
    ServerConfig,
    Simulator,
    StepModel,
    Workload,
    find_model,
    load_experiment,
)

from .conftest import configs, workloads
from .facts import facts

BASELINE = load_experiment("exp1_30rr").baseline
assert BASELINE is not None
CONFIGS = [
    ServerConfig(max_num_batched_tokens=512),
    ServerConfig(max_num_batched_tokens=512, async_scheduling=True),
    ServerConfig(max_num_seqs=12, num_gpu_blocks=250, block_size=8),
    ServerConfig(semantics="vllm-v1-0.9.1", long_prefill_token_threshold=200),
]
SHIFT = 1e-7  # seconds by which a difference may move the latencies


def compare(simulator: Simulator, x: np.ndarray, columns: range | list[int]) -> int:
    """Check columns of both Jacobians; return how many could be: the order stayed as it is."""
    jacobian = simulator.run_jacobian(x, "exact")
    compared = 0
    for j in columns:
        steepest = max(np.nanmax(np.abs(each[:, j]), initial=0) for each in jacobian)
        step = SHIFT / steepest if steepest > 0 else SHIFT
        above, below = x.copy(), x.copy()
        above[j] += step
        below[j] -= step
        high, low = simulator.run(above), simulator.run(below)
        orders = [jacobian.result.order_changes(each) for each in (high, low)]
        if any(orders):
            continue
        compared += 1
        for got, up, down in (
            (jacobian.ttft_jac, high.ttft, low.ttft),
            (jacobian.e2e_jac, high.e2e, low.e2e),
        ):
            difference = (up - down) / (above[j] - below[j])
            rounding = 1e-13 / step  # latencies of seconds are known to 1e-16 of them
            np.testing.assert_allclose(got[:, j], difference, rtol=1e-5, atol=rounding)
    return compared


@pytest.mark.parametrize("name", ["exp1_30rr", "vllm-cpu-sync-r9"])
def test_bundled_experiments(name: str) -> None:
    """Most columns can be compared, and are equal."""
    experiment = load_experiment(name)
    with Simulator(experiment.workload, experiment.config) as simulator:
        assert compare(simulator, BASELINE.vector, range(len(NAMES))) >= len(NAMES) // 2


@given(data=st.data())
def test_every_mode(data: st.DataObject) -> None:
    """Preemption, caching, chunks, closed loop, asynchronous scheduling: whatever is drawn."""
    workload = data.draw(workloads(closed=True))
    config = data.draw(configs(data.draw(st.sampled_from(["vllm-v1", "vllm-v1-0.9.1"]))))
    scale = data.draw(st.lists(st.floats(0.5, 2), min_size=len(NAMES), max_size=len(NAMES)))
    x = np.abs(BASELINE.vector) * np.array(scale)
    with Simulator(workload, config) as simulator:
        compare(simulator, x, [data.draw(st.integers(0, len(NAMES) - 1))])


# A server's, in seconds: every term counts.
EVERY = {
    "intercept": 5e-3,
    "sum_decode_tokens": 3e-5,
    "sum_prefill_tokens": 1e-5,
    "num_prefills": 1e-3,
    "ctx": 2e-7,
    "attn": 1e-8,
    "hinge": 1e-5,
    "mixed": 2e-3,
    "out": 3e-5,
    "prompt": 1e-6,
}


def every_term() -> tuple[StepModel, np.ndarray]:
    model = find_model([term.name for term in TERMS])
    coeffs = [EVERY.get(name, 1e-9) for name in model.terms]
    return model, np.array([*coeffs, 500.0, 80.0, 1000.0, 6000.0])


@pytest.mark.parametrize("concurrency", [None, 16])
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_every_term(config: ServerConfig, concurrency: int | None) -> None:
    """All 25 columns against differences: no order changes for so small ones, or hardly any."""
    model, x = every_term()
    rng = np.random.default_rng(3)
    arrivals = np.cumsum(rng.exponential(0.02, 60))
    ids = [rng.integers(0, 2, n) for n in rng.integers(20, 700, 60)]
    workload = Workload(
        arrivals,
        [each.size for each in ids],
        rng.integers(1, 80, 60),
        prompt_token_ids=ids,
        max_concurrency=concurrency,
    )
    with Simulator(workload, config, model) as simulator:
        assert simulator.run(x).outcome == 0
        assert compare(simulator, x, range(x.size)) >= x.size - 5


@given(data=st.data())
def test_every_term_in_every_mode(data: st.DataObject) -> None:
    model, x = every_term()
    workload = data.draw(workloads(closed=True))
    config = data.draw(configs(data.draw(st.sampled_from(["vllm-v1", "vllm-v1-0.9.1"]))))
    scale = data.draw(st.lists(st.floats(0.3, 3), min_size=x.size, max_size=x.size))
    with Simulator(workload, config, model) as simulator:
        compare(simulator, x * np.array(scale), [data.draw(st.integers(0, x.size - 1))])


def test_contexts_by_hand() -> None:
    """A prompt of 10, then three tokens after 10, 11 and 12: 33 in all; out and prompt as such."""
    workload = Workload([0.0], [10], [4])
    x = [0.01, 1e-4, 1e-4, 1e-4, 0, 0, 0, 0]
    with Simulator(workload, ServerConfig(), "1,ctx,out,prompt") as simulator:
        for kind in ("exact", "renewal"):
            ttft_jac, e2e_jac = simulator.run_jacobian(x, kind)
            assert ttft_jac[0, :4].tolist() == [1, 0, 1, 10]
            assert e2e_jac[0, :4].tolist() == [4, 33, 4, 10]


def test_renewal_within_growing_steps() -> None:
    """The clock's derivative is interpolated within the step of the arrival, not over the stretch.

    One request with steps of 10 ms + 1 ms a token of context: after the prefill (10 ms), steps
    begin at 10, 30 and 51 ms, with contexts of 10, 11 and 12. A second one, sent at 40 ms, waits
    for the last 11 of the second one's 21 ms, and is in the third.
    """
    workload = Workload([0.0, 0.040], [10, 10], [40, 1])
    with Simulator(workload, ServerConfig(), "1,ctx") as simulator:
        ttft_jac, _ = simulator.run_jacobian([0.01, 0.001, 0, 0, 0, 0], "renewal")
        exact, _ = simulator.run_jacobian([0.01, 0.001, 0, 0, 0, 0], "exact")
    assert exact[1, :2].tolist() == [1 + 2 + 1, 10 + 11 + 12]
    np.testing.assert_allclose(ttft_jac[1, :2], [11 / 21 + 1, 11 * 11 / 21 + 12])


def test_closed_loop_by_hand() -> None:
    """One seat for two requests of one token: the second is sent when the first is done."""
    workload = Workload([0.0, 0.0], [10, 20], [1, 1], max_concurrency=1)
    x = np.r_[0, 1e-3, np.zeros(12), 0.01, 1, 2, 4, 8]
    with Simulator(workload, ServerConfig()) as simulator:
        ttft_jac, e2e_jac = simulator.run_jacobian(x, "exact")
        result = simulator.run(x)
    # d = 0.01 + 0.001 P; sent when the first token of the other is out (d + 8 + 1 + 2 us later)
    np.testing.assert_allclose(result.sent_s, [0, 0.02 + 11e-6], rtol=1e-12)
    np.testing.assert_allclose(result.ttft, [0.02 + 11e-6, 0.03 + 11e-6], rtol=1e-9)
    assert ttft_jac[:, NAMES.index("sum_prefill_tokens")].tolist() == [10, 20]
    assert ttft_jac[:, NAMES.index("intercept")].tolist() == [1, 1]
    np.testing.assert_array_equal(ttft_jac, e2e_jac)


def test_the_truncated_clock_has_a_twin() -> None:
    """Under blis-2025-07, whole microseconds of an overhead change results as the twin says."""
    experiment = load_experiment("exp1_30rr")
    config = experiment.config.replace(semantics="blis-2025-07")
    x = BASELINE.vector.copy()
    j = NAMES.index("vllm_overhead")
    with Simulator(experiment.workload, config) as simulator:
        jacobian = simulator.run_jacobian(x, "exact")
        x[j] += 1000
        moved = simulator.run(x)
    np.testing.assert_allclose(moved.e2e - jacobian.result.e2e, 1000 * jacobian.e2e_jac[:, j])


def test_what_never_happened_has_no_derivative() -> None:
    """NaN rows where the latency is NaN; another kind is an error that names the nearest."""
    workload = Workload([0.0, 9.0], [5, 5], [2, 2])
    with Simulator(workload, ServerConfig(horizon_s=1.0)) as simulator:
        ttft_jac, e2e_jac = simulator.run_jacobian(BASELINE, "exact")
        assert np.isnan(e2e_jac).any(axis=1).tolist() == [False, True]
        assert np.isnan(ttft_jac).all(axis=1).tolist() == [False, True]
        with pytest.raises(InputError, match=facts("'exact'")):
            simulator.run_jacobian(BASELINE, kind="exct")
        with pytest.raises(InputError, match="intercept"):
            simulator.run_jacobian(np.where(np.array(NAMES) == "intercept", np.nan, 1.0))


def poisson(rate: float, requests: int = 1500) -> Workload:
    rng = np.random.default_rng(7)
    arrivals = np.cumsum(rng.exponential(1 / rate, requests))
    outputs = np.where(rng.random(requests) < 0.3, 1, rng.integers(10, 400, requests))
    return Workload(arrivals, rng.integers(10, 400, requests), outputs)


@pytest.mark.parametrize("rate", [2, 10, 30])
def test_renewal_on_busy_servers(rate: float) -> None:
    """Oracle: the mean change for 10 % of intercept. Exact is far off, renewal near."""
    j = NAMES.index("intercept")
    low, x, high = (BASELINE.vector.copy() for _ in range(3))
    low[j] *= 0.9
    high[j] *= 1.1
    with Simulator(poisson(rate), ServerConfig()) as simulator:
        below, above = simulator.run(low), simulator.run(high)
        exact, renewal = (simulator.run_jacobian(x, kind) for kind in ("exact", "renewal"))
    for name in ("ttft", "e2e"):
        change = (getattr(above, name) - getattr(below, name)).mean() / (high[j] - low[j])
        forgetful = getattr(renewal, f"{name}_jac")[:, j].mean()
        assert 0.6 < forgetful / change < 1.1
        assert getattr(exact, f"{name}_jac")[:, j].mean() > 3 * change


def test_renewal_is_exact_where_nothing_is_forgotten() -> None:
    """Requests that find the server idle: both kinds are the same."""
    workload = Workload([0.0, 10.0, 20.0], [50, 60, 70], [20, 1, 5])
    with Simulator(workload, ServerConfig()) as simulator:
        exact, renewal = (simulator.run_jacobian(BASELINE, k) for k in ("exact", "renewal"))
    np.testing.assert_array_equal(exact.ttft_jac, renewal.ttft_jac)
    np.testing.assert_array_equal(exact.e2e_jac, renewal.e2e_jac)


def test_renewal_counts_from_the_start_of_the_backlog() -> None:
    """Three for one seat: the last waits for both before it, as the exact derivative says."""
    workload = Workload([0.0, 0.001, 0.002], [10, 10, 10], [3, 3, 3])
    x = np.r_[np.zeros(14), 0.01, np.zeros(4)]
    j = NAMES.index("intercept")
    with Simulator(workload, ServerConfig(max_num_seqs=1)) as simulator:
        exact, renewal = (simulator.run_jacobian(x, kind) for kind in ("exact", "renewal"))
    assert exact.ttft_jac[:, j].tolist() == [1, 4, 7]
    # sent a tenth and a fifth into the first step, whose end is when they are left waiting
    np.testing.assert_allclose(renewal.ttft_jac[:, j], [1, 4 - 0.1, 7 - 0.2])
