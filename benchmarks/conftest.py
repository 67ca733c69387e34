"""What the benchmarks share: an up-to-date library, the case, and the table at the end."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import build
from pysimbind import Simulator, load_experiment

from .case import EXPERIMENT, Candidates, FloatArray, draw_candidates
from .oldway import OldWay
from .table import Row, render

TABLE = pytest.StashKey[list[Row]]()
LOAD = pytest.StashKey[float]()


@pytest.fixture(scope="session", autouse=True)
def _prepared(pytestconfig: pytest.Config) -> None:
    """Compile the library if it is out of date: old code is not what is timed."""
    pytestconfig.stash[LOAD] = os.getloadavg()[0]
    build.build()


@pytest.fixture(scope="session")
def table(pytestconfig: pytest.Config) -> list[Row]:
    """Return the rows of the closing table, to be added to."""
    return pytestconfig.stash.setdefault(TABLE, [])


@pytest.fixture(scope="session")
def candidates() -> Candidates:
    return draw_candidates(10_000)


@pytest.fixture(scope="session")
def expected(candidates: Candidates) -> Callable[[int], FloatArray]:
    """Return what gives the latencies [2, N, R] of the first N candidates, in seconds.

    They come from the reference engine, which walks every step.
    """
    experiment = load_experiment(EXPERIMENT)
    simulator = Simulator(experiment.workload, experiment.config, engine="reference")

    @functools.cache
    def latencies(count: int) -> FloatArray:
        return np.array(list(simulator.run_batch(candidates.vectors[:count])))

    return latencies


@pytest.fixture(scope="session")
def old_way(candidates: Candidates, tmp_path_factory: pytest.TempPathFactory) -> OldWay:
    return OldWay(tmp_path_factory.mktemp("oneshot"), candidates.vectors[:8])


@pytest.fixture
def timed(
    benchmark: BenchmarkFixture, table: list[Row]
) -> Callable[[str, Callable[[], object], int, int], None]:
    """Return what times a function of so many evaluations, and adds a row to the table."""

    def measure(name: str, run: Callable[[], object], evaluations: int, rounds: int) -> None:
        benchmark.extra_info["evaluations"] = evaluations
        benchmark.pedantic(run, rounds=rounds, warmup_rounds=1)
        if benchmark.stats is not None:  # --benchmark-disable leaves none
            table.append(Row(name, benchmark.stats.stats.median / evaluations))

    return measure


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table; pytest-benchmark's own counts rounds, not evaluations."""
    rows = config.stash.get(TABLE, [])
    if not rows:
        return
    terminalreporter.section(f"one evaluation of {EXPERIMENT}, medians")
    terminalreporter.write_line(
        f"{os.cpu_count()} processors ({platform.machine()}), Python {platform.python_version()}, "
        f"load average {config.stash[LOAD]:.1f} at the start"
    )
    for line in render(rows):
        terminalreporter.write_line(line)
