"""Growth of cost with tokens, requests, derivatives, workers and modes; results are compared.

The oracle is the reference engine, which walks every step, where it runs in reasonable time.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from pysimbind import ServerConfig, SimResult, Simulator, Workload, load_experiment

from .case import EXPERIMENT, Candidates, FloatArray
from .memory import available, bytes_beside_inputs
from .table import Check, spell_seconds
from .workloads import SERVER, head, plain, shared_prefixes, starved, starved_of_mixed_lengths

Compared = Callable[..., None]
Make = Callable[[int], tuple[Workload, ServerConfig]]

MILLION = 1_000_000
SINGLES = 1000  # candidates in a round


def same(got: SimResult, want: SimResult) -> None:
    """A quick engine's result equals the reference engine's, bit for bit."""
    assert (got.engine, want.engine) == ("leap", "reference")
    np.testing.assert_array_equal(got.ttft, want.ttft)
    np.testing.assert_array_equal(got.e2e, want.e2e)
    np.testing.assert_array_equal(got.preemptions, want.preemptions)
    np.testing.assert_array_equal(got.cached_tokens, want.cached_tokens)
    assert (got.steps, got.peak_kv_blocks) == (want.steps, want.peak_kv_blocks)


def by_reference(workload: Workload, config: ServerConfig, vector: FloatArray) -> SimResult:
    with Simulator(workload, config, engine="reference") as simulator:
        return simulator.run(vector)


def test_jacobian(compared: Compared, candidates: Candidates) -> None:
    """Check each derivative where no parameter is zero: row times parameters is a sum of steps.

    Times are linear in the parameters. So a latency minus that sum is the start of the busy period
    minus the arrival. And every busy period begins with an arrival.
    """
    experiment = load_experiment(EXPERIMENT)
    arrivals = experiment.workload.arrival_s
    vectors = list(candidates.vectors[:SINGLES])
    with Simulator(experiment.workload, experiment.config) as simulator:
        for vector in vectors[:20]:
            jacobian = simulator.run_jacobian(vector, "exact")
            same(jacobian.result, by_reference(experiment.workload, experiment.config, vector))
            for latency, rows in zip(jacobian.result, jacobian, strict=True):
                began = latency + arrivals - rows @ vector
                distance = np.abs(began[:, np.newaxis] - arrivals).min(axis=1)
                assert distance.max() < 1e-9
        compared(
            "Jacobian / plain run, through Python",
            "<= 4",
            lambda: [simulator.run_jacobian(vector, "exact") for vector in vectors],
            lambda: [simulator.run(vector) for vector in vectors],
            20,
            SINGLES,
        )


@pytest.mark.parametrize("what", [EXPERIMENT, "10,000 requests"])
def test_outputs_ten_times_as_long(compared: Compared, what: str) -> None:
    if what == EXPERIMENT:
        experiment = load_experiment(EXPERIMENT)
        assert experiment.baseline is not None
        short, vector, times = experiment.workload, experiment.baseline.vector, 200
        config = experiment.config.replace(max_model_len=None)
        columns = (short.arrival_s, short.input_tokens, 10 * short.output_tokens)
        long = Workload(*columns)
    else:
        (short, config), vector, times = plain(10_000), SERVER, 1
        long = plain(10_000, output_scale=10)[0]
    with Simulator(short, config) as few, Simulator(long, config) as many:
        for simulator in (few, many):
            same(simulator.run(vector), by_reference(simulator.workload, config, vector))
        compared(
            f"outputs ten times as long, {what}",
            "< 1.5",
            lambda: [many.run(vector) for _ in range(times)],
            lambda: [few.run(vector) for _ in range(times)],
            20,
            times,
        )


def test_a_million_requests(benchmark: BenchmarkFixture, checks: list[Check]) -> None:
    """Later requests change nothing before: the beginning is compared with the reference."""
    workload, config = plain(MILLION)
    few = 10_000
    with Simulator(workload, config) as simulator:
        result = simulator.run(SERVER)
        want = by_reference(head(workload, few), config, SERVER)
        done = workload.arrival_s[:few] + want.e2e < workload.arrival_s[few]
        assert done.sum() > 0.9 * few
        np.testing.assert_array_equal(result.ttft[:few][done], want.ttft[done])
        np.testing.assert_array_equal(result.e2e[:few][done], want.e2e[done])
        assert result.engine == "leap"
        assert result.ttft.max() < 1, "the server does not keep up"
        benchmark.pedantic(lambda: simulator.run(SERVER), rounds=5)
    if benchmark.stats is not None:
        median = benchmark.stats.stats.median
        busy = f"{result.steps:,} steps, {spell_seconds(median / MILLION)} a request"
        checks.append(Check("1,000,000 requests: one run", median, "s", "<= 0.5", busy))


def test_opening_a_million_requests(benchmark: BenchmarkFixture, checks: list[Check]) -> None:
    workload, config = plain(MILLION)
    benchmark.pedantic(lambda: Simulator(workload, config).close(), rounds=3)
    if benchmark.stats is not None:
        median = benchmark.stats.stats.median
        checks.append(Check("1,000,000 requests: to open, once", median, "s", ""))


@pytest.mark.skipif(not available, reason="the peak of memory is read from Linux's /proc")
def test_memory_of_a_million_requests(checks: list[Check]) -> None:
    measured = bytes_beside_inputs(MILLION)
    checks.append(Check("1,000,000 requests: beside inputs", measured / 1e6, "MB", "<= 200"))


def test_shared_prefixes(compared: Compared) -> None:
    """The same lengths, with and without shared prefixes."""
    workload, config = shared_prefixes(2000)
    apart, _ = shared_prefixes(2000, token_ids=False)
    with Simulator(workload, config) as shared, Simulator(apart, config) as unshared:
        result = shared.run(SERVER)
        same(result, by_reference(workload, config, SERVER))
        assert (result.cached_tokens >= 256).mean() > 0.99
        compared(
            "shared prefixes / none, 2,000 requests",
            "<= 3",
            lambda: shared.run(SERVER),
            lambda: unshared.run(SERVER),
            20,
        )


@pytest.mark.parametrize(
    ("what", "make"),
    [
        ("starved of KV blocks", starved),
        ("starved, mixed lengths", starved_of_mixed_lengths),
        ("starved, shared prefixes", functools.partial(starved, token_ids=True)),
    ],
)
def test_starved_of_kv_blocks(compared: Compared, what: str, make: Make) -> None:
    """A request is preempted every few steps, and resumes."""
    workload, config = make(2000)
    with (
        Simulator(workload, config) as simulator,
        Simulator(workload, config, engine="reference") as reference,
    ):
        result = simulator.run(SERVER)
        same(result, reference.run(SERVER))
        assert result.preemptions.sum() > 1000
        assert (result.cached_tokens.sum() > 100_000) == (workload.prompt_ids is not None)
        compared(
            f"reference engine / chosen, {what}",
            ">= 50",
            lambda: reference.run(SERVER),
            lambda: simulator.run(SERVER),
            10,
        )


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is only one processor")
def test_two_workers(compared: Compared, candidates: Candidates) -> None:
    experiment = load_experiment(EXPERIMENT)
    with Simulator(experiment.workload, experiment.config) as simulator:
        one, two = (simulator.run_batch(candidates.vectors, workers=n) for n in (1, 2))
        np.testing.assert_array_equal(list(one), list(two))
        compared(
            "one worker / two workers, 10,000 candidates",
            ">= 1.8",
            lambda: simulator.run_batch(candidates.vectors, workers=1),
            lambda: simulator.run_batch(candidates.vectors, workers=2),
            20,
        )
