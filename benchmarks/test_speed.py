"""Evaluations per second, new way and old way. Each checks that the ticks are the same."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pysimbind import Simulator, load_experiment, simulate, simulate_batch

from .case import EXPERIMENT, Candidates, FloatArray
from .oldway import OldWay, engines_in_go
from .table import OLD_CHAIN, OLD_WAY, Check, Row

Timed = Callable[[str, Callable[[], object], int, int], None]
Expected = Callable[[int], FloatArray]

SINGLES = 1000  # calls in a round
ROUNDS = 30


def test_simulate(timed: Timed, candidates: Candidates, expected: Expected) -> None:
    pairs = list(zip(candidates.coeffs, candidates.overheads, strict=True))[:SINGLES]

    def run() -> None:
        for coeffs, overheads in pairs:
            simulate(coeffs, overheads)

    got = np.array([list(simulate(*pair)) for pair in pairs])
    np.testing.assert_array_equal(got, expected(SINGLES).swapaxes(0, 1))
    timed("simulate", run, SINGLES, ROUNDS)


def test_simulator_run(timed: Timed, candidates: Candidates, expected: Expected) -> None:
    vectors = list(candidates.vectors[:SINGLES])
    experiment = load_experiment(EXPERIMENT)
    with Simulator(experiment.workload, experiment.config) as simulator:

        def run() -> None:
            for vector in vectors:
                simulator.run(vector)

        got = np.array([list(simulator.run(vector)) for vector in vectors])
        np.testing.assert_array_equal(got, expected(SINGLES).swapaxes(0, 1))
        timed("Simulator.run", run, SINGLES, ROUNDS)


@pytest.mark.parametrize("workers", [1, 0], ids=["one worker", "all workers"])
@pytest.mark.parametrize("count", [1000, 10_000])
def test_simulate_batch(
    timed: Timed, candidates: Candidates, expected: Expected, count: int, workers: int
) -> None:
    coeffs, overheads = candidates.coeffs[:count], candidates.overheads[:count]

    def run() -> object:
        return simulate_batch(coeffs, overheads, workers=workers)

    got = simulate_batch(coeffs, overheads, workers=workers)
    np.testing.assert_array_equal(list(got), expected(count))
    assert set(got.engine) == {"leap"}
    who = "one worker" if workers == 1 else "all workers"
    timed(f"simulate_batch of {count:,}, {who}", run, count, ROUNDS)


@pytest.mark.parametrize(
    ("name", "evaluate"),
    [(OLD_WAY, OldWay.evaluate), (OLD_CHAIN, OldWay.evaluate_by_relay)],
    ids=["direct", "by relay"],
)
def test_old_way(
    timed: Timed, old_way: OldWay, expected: Expected, name: str, evaluate: Callable[..., Any]
) -> None:
    got = np.array([evaluate(old_way, case) for case in old_way.cases])
    ticks = np.rint(1e6 * expected(SINGLES)[:, : len(got)].swapaxes(0, 1))
    np.testing.assert_array_equal(got, ticks)
    cases = itertools.cycle(old_way.cases)
    timed(name, lambda: evaluate(old_way, next(cases)), 1, ROUNDS)


def test_engines_in_go(
    old_way: OldWay, candidates: Candidates, table: list[Row], checks: list[Check]
) -> None:
    """Go's own benchmark of the same candidates. It compares the engines first."""
    found = engines_in_go(old_way.cases[0], candidates.vectors[:SINGLES])
    ns = {name: statistics.median(each.ns for each in runs) for name, runs in found.items()}
    for name, what in (("Leap", "leap"), ("Reference", "reference")):
        table.append(Row(f"the {what} engine in Go alone", ns[name] / 1e9))
    leap = ns["Leap"]
    lean = found["Leap"] + found["Jacobian"] + found["Batch"]
    allocations = max(each.allocations for each in lean)
    checks += [
        Check("exp1_30rr in Go", leap / 1e3, "us", "<= 5"),
        Check("reference engine in Go / leap engine", ns["Reference"] / leap, "x", ""),
        Check("Jacobian in Go / plain run", ns["Jacobian"] / leap, "x", "<= 4"),
        Check("allocations in Go: plain run, Jacobian, batch", allocations, "", "0"),
    ]
