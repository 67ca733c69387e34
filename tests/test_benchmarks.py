"""The benchmarks' parts. Oracles: the reference engine, what oneshot's Go test computes by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.case import EXPERIMENT, draw_candidates
from benchmarks.oldway import RELAY, OldWay, engines_ns, parse
from benchmarks.table import OLD_CHAIN, OLD_WAY, Row, render
from pysimbind import Simulator, load_experiment

CANDIDATES = draw_candidates(3)


@pytest.fixture(scope="module")
def old_way(tmp_path_factory: pytest.TempPathFactory) -> OldWay:
    return OldWay(tmp_path_factory.mktemp("oneshot"), CANDIDATES.vectors)


def test_candidates_differ_and_lie_in_the_original_bounds() -> None:
    space = load_experiment(EXPERIMENT).bounds["original"]
    vectors = draw_candidates(200).vectors
    assert all(space.contains(vector) for vector in vectors)
    assert len(np.unique(vectors, axis=0)) == 200
    np.testing.assert_array_equal(vectors, draw_candidates(200).vectors)
    np.testing.assert_array_equal(np.hstack([CANDIDATES.coeffs, CANDIDATES.overheads]), vectors[:3])


@pytest.mark.parametrize("evaluate", [OldWay.evaluate, OldWay.evaluate_by_relay])
@pytest.mark.parametrize("engine", ["leap", "reference"])
def test_old_way_gives_the_same_ticks(old_way: OldWay, evaluate: object, engine: str) -> None:
    experiment = load_experiment(EXPERIMENT)
    with Simulator(experiment.workload, experiment.config, engine=engine) as simulator:
        for case, vector in zip(old_way.cases, CANDIDATES.vectors, strict=True):
            want = np.rint(1e6 * np.array(list(simulator.run(vector))))
            np.testing.assert_array_equal(evaluate(old_way, case), want)


def test_parse() -> None:
    text = "TTFTs: [ 14021 NaN ]\nE2Es: [ 34663 NaN ]\n"
    np.testing.assert_array_equal(parse(text), [[14021, np.nan], [34663, np.nan]])


def test_relay_passes_the_failure_on(old_way: OldWay, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"requests": [', encoding="utf-8")
    command = [str(old_way.oneshot), str(broken)]
    direct, relayed = (
        subprocess.run(start + command, capture_output=True, text=True, check=False)
        for start in ([], [sys.executable, str(RELAY)])
    )
    assert direct.returncode == relayed.returncode == 2
    assert direct.stdout == relayed.stdout == ""
    assert direct.stderr == relayed.stderr == f"oneshot: {broken}: unexpected EOF\n"


def test_engines_are_timed_in_go(old_way: OldWay) -> None:
    found = engines_ns(old_way.cases[0], CANDIDATES.vectors, repeats=2, benchtime="2x")
    assert {name: len(ns) for name, ns in found.items()} == {"Leap": 2, "Reference": 2}
    assert min(found["Leap"] + found["Reference"]) > 0


def test_go_failure_is_shown(old_way: OldWay) -> None:
    with pytest.raises(RuntimeError, match="14 coeffs and 0 overheads_us"):
        engines_ns(old_way.cases[0], CANDIDATES.vectors[:, :14], repeats=1, benchtime="1x")


def test_table() -> None:
    rows = [Row("new", 5e-6), Row(OLD_WAY, 8e-3), Row(OLD_CHAIN, 40e-3)]
    cells = [
        line.removeprefix(row.name).split()
        for line, row in zip(render(rows)[1:], rows, strict=True)
    ]
    assert cells == [
        ["5.00", "200,000", "1,600", "8,000"],
        ["8,000.00", "125", "1", "5"],
        ["40,000.00", "25", "0.2", "1"],
    ]
    assert render(rows[:1])[1].split() == ["new", "5.00", "200,000", "-", "-"]
    assert len({len(line) for line in render(rows)}) == 1


def test_benchmarks_run(root: Path) -> None:
    """The quicker ones, as a user starts them: they pass, and the table names them."""
    quick = "not 10000 and not in_go"
    command = [sys.executable, "-m", "pytest", "benchmarks", "-p", "no:cacheprovider", "-k", quick]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    shown = ("simulate ", "Simulator.run ", "simulate_batch of 1,000, one worker ", OLD_WAY)
    for name in shown:
        assert f"\n{name}" in done.stdout
