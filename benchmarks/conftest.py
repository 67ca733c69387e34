"""Shared by the benchmarks: an up-to-date library, the case, and the table at the end."""

from __future__ import annotations

import functools
import os
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import build
from pysimbind import Simulator, load_experiment

from .case import EXPERIMENT, Candidates, FloatArray, draw_candidates
from .oldway import OldWay
from .pages import update
from .table import Check, Row, render, render_checks, spell_seconds

TABLE = pytest.StashKey[list[Row]]()
CHECKS = pytest.StashKey[list[Check]]()
LOAD = pytest.StashKey[float]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options for a short run, and for writing the tables of a whole run into the pages."""
    parser.addoption(
        "--rounds",
        type=int,
        help="rounds of every benchmark; 1 to check that they run (default: each has its own)",
    )
    parser.addoption(
        "--update-pages",
        action="store_true",
        help="put the closing tables of a whole run into README.md and docs/benchmarks.md",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run in one process: workers would slow each other down, and pytest-benchmark refuses them."""
    config.option.numprocesses = 0


@pytest.fixture(scope="session", autouse=True)
def _prepared(pytestconfig: pytest.Config) -> None:
    """Compile the library if it is out of date, so that old code is not timed."""
    pytestconfig.stash[LOAD] = os.getloadavg()[0]
    build.build()


@pytest.fixture(scope="session")
def table(pytestconfig: pytest.Config) -> list[Row]:
    """Return the rows of the closing table; benchmarks append to them."""
    return pytestconfig.stash.setdefault(TABLE, [])


@pytest.fixture(scope="session")
def checks(pytestconfig: pytest.Config) -> list[Check]:
    """Return the rows of the second closing table; benchmarks append to them."""
    return pytestconfig.stash.setdefault(CHECKS, [])


@pytest.fixture(scope="session")
def candidates() -> Candidates:
    return draw_candidates(10_000)


@pytest.fixture(scope="session")
def expected(candidates: Candidates) -> Callable[[int], FloatArray]:
    """Return a function that gives the latencies [2, N, R] of the first N candidates, in seconds.

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
    benchmark: BenchmarkFixture, table: list[Row], pytestconfig: pytest.Config
) -> Callable[[str, Callable[[], object], int, int], None]:
    """Return a function that times a number of evaluations, and adds a row to the table."""

    def measure(name: str, run: Callable[[], object], evaluations: int, rounds: int) -> None:
        benchmark.extra_info["evaluations"] = evaluations
        rounds = pytestconfig.getoption("--rounds") or rounds
        benchmark.pedantic(run, rounds=rounds, warmup_rounds=1)
        if benchmark.stats is not None:  # None with --benchmark-disable
            table.append(Row(name, benchmark.stats.stats.median / evaluations))

    return measure


@pytest.fixture
def compared(
    benchmark: BenchmarkFixture, checks: list[Check], pytestconfig: pytest.Config
) -> Callable[..., None]:
    """Return a function that times two functions in turns, and adds the ratio of their medians.

    Each does the same number of evaluations; the times beside the ratio are per evaluation. The
    ratio is ``slow / fast``. pytest-benchmark's own table shows the first function. In each turn a
    function is called twice, and the second call is timed, since the evaluations of a fit follow
    one another. The first call pays for what the other function left: garbage for Go, and caches of
    other data.
    """

    def measure(
        name: str,
        asked: str,
        slow: Callable[[], object],
        fast: Callable[[], object],
        rounds: int,
        evaluations: int = 1,
    ) -> None:
        others: list[float] = []

        def time_other() -> None:
            fast()
            begin = time.perf_counter()
            fast()
            others.append(time.perf_counter() - begin)
            slow()

        rounds = pytestconfig.getoption("--rounds") or rounds
        benchmark.pedantic(slow, setup=time_other, rounds=rounds, warmup_rounds=1)
        if benchmark.stats is None:
            return
        mine, other = benchmark.stats.stats.median, statistics.median(others[1:])
        each, beside = (spell_seconds(median / evaluations) for median in (mine, other))
        detail = f"{each} against {beside}"
        checks.append(Check(name, mine / other, "x", asked, detail))

    return measure


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the tables. pytest-benchmark's own table counts rounds, not evaluations."""
    rows, checks = config.stash.get(TABLE, []), config.stash.get(CHECKS, [])
    for title, lines in (
        (f"one evaluation of {EXPERIMENT}, medians", render(rows)),
        ("how cost grows, medians", render_checks(checks)),
    ):
        if not lines:
            continue
        terminalreporter.section(title)
        terminalreporter.write_line(
            f"{os.cpu_count()} processors ({platform.machine()}), "
            f"Python {platform.python_version()}, "
            f"load average {config.stash[LOAD]:.1f} at the start"
        )
        for line in lines:
            terminalreporter.write_line(line)
    if config.getoption("--update-pages") and not config.getoption("collectonly"):
        for page in update(rows, checks):
            terminalreporter.write_line(f"updated {page}")
