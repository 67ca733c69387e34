"""Times of whole fits, in a process where everything is loaded. Each checks its result."""

from __future__ import annotations

import time

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from pysimbind.fit import fit

from .case import EXPERIMENT
from .fits import AIM_S2, LOSS, follow
from .table import Check
from .workloads import noisy_run

REQUESTS = 3000


def test_exp1_by_least_squares(
    benchmark: BenchmarkFixture, checks: list[Check], pytestconfig: pytest.Config
) -> None:
    rounds = pytestconfig.getoption("--rounds") or 20
    result = benchmark.pedantic(
        lambda: fit(EXPERIMENT, "lsq", loss=LOSS), rounds=rounds, warmup_rounds=1
    )
    assert result.fun < AIM_S2
    if benchmark.stats is not None:
        detail = f"{result.nfev} evaluations"
        median = 1e3 * benchmark.stats.stats.median
        checks.append(Check(f"{EXPERIMENT} fitted by lsq", median, "ms", "<= 50", detail))


def test_exp1_by_cmaes(
    benchmark: BenchmarkFixture, checks: list[Check], pytestconfig: pytest.Config
) -> None:
    rounds = pytestconfig.getoption("--rounds") or 3
    curve = benchmark.pedantic(lambda: follow("cmaes"), rounds=rounds, warmup_rounds=1)
    assert curve.reached is not None
    checks.append(
        Check(
            f"{EXPERIMENT} fitted by cmaes, until the loss is {AIM_S2:g}",
            curve.reached_s,
            "s",
            "<= 2",
            f"{curve.evaluations[curve.reached]:,} evaluations",
        )
    )


@pytest.mark.parametrize("model", ["quadratic15", "extended"])
def test_default_recipe(
    benchmark: BenchmarkFixture, checks: list[Check], pytestconfig: pytest.Config, model: str
) -> None:
    """CPU time of all threads: the time on one core."""
    noisy, truth = noisy_run(REQUESTS)
    cpu_s = []

    def once() -> object:
        begin_s = time.process_time()
        result = fit(noisy, model=model)
        cpu_s.append(time.process_time() - begin_s)
        return result

    rounds = pytestconfig.getoption("--rounds") or 5
    result = benchmark.pedantic(once, rounds=rounds, warmup_rounds=1)
    predicted = result.predict(noisy)
    assert predicted.e2e.mean() == pytest.approx(truth.e2e.mean(), rel=0.01)
    checks.append(
        Check(
            f"default fit of {REQUESTS:,} requests, {model}",
            float(np.median(cpu_s[1:])),
            "s",
            "<= 0.5",
            f"CPU time, {result.nfev} evaluations",
        )
    )
