"""The benchmarks' parts. Oracles: the reference engine, what oneshot's Go test computes by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import memory, workloads
from benchmarks.case import EXPERIMENT, draw_candidates, settings
from benchmarks.oldway import RELAY, OldWay, engines_in_go, parse
from benchmarks.pages import GROWTH_HEAD, SPEED_HEAD, replace_table, rounded, update
from benchmarks.table import (
    OLD_CHAIN,
    OLD_WAY,
    Check,
    Row,
    render,
    render_checks,
    spell_seconds,
)
from pysimbind import Outcome, ServerConfig, Simulator, load_experiment
from pysimbind.config import SEMANTICS

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


def test_settings_reach_the_old_way_whole() -> None:
    """A setting that oneshot does not know is an error there; here none may be lost."""
    config = ServerConfig(max_num_seqs=7, num_gpu_blocks=None, watermark=0.25)
    known = config.as_dict() | {"num_gpu_blocks": 0, "max_model_len": 0}
    assert settings(config) == {name: known[name] for name in known if name != "horizon_s"}
    with pytest.raises(ValueError, match="no horizon"):
        settings(config.replace(horizon_s=1.0))


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_old_way_knows_all_semantics(tmp_path: Path, semantics: str) -> None:
    experiment = load_experiment(EXPERIMENT)
    experiment = load_experiment(EXPERIMENT, experiment.config.replace(semantics=semantics))
    old_way = OldWay(tmp_path, CANDIDATES.vectors[:1], experiment)
    with Simulator(experiment.workload, experiment.config) as simulator:
        want = np.rint(1e6 * np.array(list(simulator.run(CANDIDATES.vectors[0]))))
    np.testing.assert_array_equal(old_way.evaluate(old_way.cases[0]), want)


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
    found = engines_in_go(old_way.cases[0], CANDIDATES.vectors, repeats=2, benchtime="2x")
    names = ("Leap", "Reference", "Jacobian", "Batch")
    assert {name: len(runs) for name, runs in found.items()} == dict.fromkeys(names, 2)
    assert min(run.ns for runs in found.values() for run in runs) > 0
    assert min(run.allocations for run in found["Reference"]) > 0
    assert max(run.allocations for run in found["Batch"]) == 0


def test_go_failure_is_shown(old_way: OldWay) -> None:
    with pytest.raises(RuntimeError, match="14 coeffs and 0 overheads_us"):
        engines_in_go(old_way.cases[0], CANDIDATES.vectors[:, :14], repeats=1, benchtime="1x")


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
    assert render([]) == []


def test_table_of_checks() -> None:
    checks = [
        Check("a ratio", 1.4567, "x", "< 1.5", "3 ms against 2 ms"),
        Check("b", 12_345, "", ""),
    ]
    lines = render_checks(checks)
    assert lines[1].split() == [
        "a",
        "ratio",
        "1.46",
        "x",
        "<",
        "1.5",
        "3",
        "ms",
        "against",
        "2",
        "ms",
    ]
    assert lines[2].split() == ["b", "12,345"]
    assert render_checks([]) == []


def test_pages_round_what_they_show() -> None:
    spelt = [rounded(x, 3) for x in (8412.3, 14.93, 0.2678, 1234.5, 133.4, 30.0, 0, 9.999)]
    assert spelt == ["8,410", "14.9", "0.268", "1,230", "133", "30", "0", "10"]


def test_tables_go_into_the_pages(tmp_path: Path) -> None:
    """The page gets all rows, the README those that it has; all else stays."""
    head, rule = SPEED_HEAD
    (tmp_path / "docs").mkdir()
    readme, page = tmp_path / "README.md", tmp_path / "docs" / "benchmarks.md"
    growth = "\n".join(GROWTH_HEAD)
    readme.write_text(f"Speed\n\n{head}\n{rule}\n| `simulate` | 1 | 2 | 3 | 4 |\n\nEnd\n", "utf-8")
    page.write_text(f"{head}\n{rule}\n| old | 1 |\n\nNext:\n\n{growth}\n| old | 2 |\n", "utf-8")
    rows = [Row("simulate", 14.93e-6), Row(OLD_WAY, 8412.3e-6), Row(OLD_CHAIN, 31_333e-6)]
    checks = [Check("a", 1.914, "x", "<= 4", "30 us against 16 us"), Check("b", 133.4, "MB", "")]
    assert update(rows, checks, tmp_path) == [readme, page]
    new = "| `simulate` | 14.9 | 67,000 | 560 | 2,100 |"
    assert readme.read_text("utf-8") == f"Speed\n\n{head}\n{rule}\n{new}\n\nEnd\n"
    assert page.read_text("utf-8").splitlines() == [
        head,
        rule,
        new,
        "| old way: Python → Go process → text | 8,410 | 119 | 1 | 3.7 |",
        "| old chain: Python → Python → Go process → text | 31,300 | 32 | 0.27 | 1 |",
        "",
        "Next:",
        "",
        *GROWTH_HEAD,
        "| a | 1.91 × | ≤ 4 | 30 µs against 16 µs |",
        "| b | 133 MB | | |",
    ]
    with pytest.raises(ValueError, match="no table with the head"):
        replace_table("nothing", SPEED_HEAD)


def test_spell_seconds() -> None:
    assert [spell_seconds(s) for s in (2.5, 0.0123, 4.567e-6)] == ["2.5 s", "12.3 ms", "4.57 us"]


def test_the_server_keeps_up_with_the_plain_workload() -> None:
    """Little's law: rate x mean E2E is the mean number of requests inside."""
    workload, config = workloads.plain(3000)
    with Simulator(workload, config) as simulator:
        result = simulator.run(workloads.SERVER)
    assert result.outcome == Outcome.OK
    assert result.ttft.max() < 1
    assert config.max_num_seqs / 2 < workloads.RATE_RPS * result.e2e.mean() < config.max_num_seqs


def test_workloads_are_what_they_are_called() -> None:
    """Shared prompts are hit, the starved are preempted, the same seed gives the same workload."""
    for make in (
        workloads.plain,
        workloads.shared_prefixes,
        workloads.starved,
        workloads.starved_of_mixed_lengths,
    ):
        assert make(50)[0] == make(50)[0]
    workload, config = workloads.shared_prefixes(200)
    with Simulator(workload, config) as simulator:
        assert np.median(simulator.run(workloads.SERVER).cached_tokens) >= 256
    short_of_blocks = (
        workloads.starved(200),
        workloads.starved(200, token_ids=True),
        workloads.starved_of_mixed_lengths(1000),
    )
    for workload, config in short_of_blocks:
        with Simulator(workload, config) as simulator:
            result = simulator.run(workloads.SERVER)
        assert result.preemptions.sum() > 50
        # a prompt of 32 tokens shares a block, one of 256 tokens shares eight
        hits = result.cached_tokens.max()
        assert hits == (0 if workload.prompt_ids is None else 128)
    short, long = workloads.plain(50)[0], workloads.plain(50, output_scale=10)[0]
    np.testing.assert_array_equal(long.output_tokens, 10 * short.output_tokens)
    assert workloads.head(short, 20).num_requests == 20


@pytest.mark.skipif(not memory.available, reason="the peak of memory is read from Linux's /proc")
def test_memory_is_measured() -> None:
    """Its results alone, 52 bytes a request, are the least that a run of 200,000 needs."""
    assert 52 * 200_000 < memory.bytes_beside_inputs(200_000) < 1_000_000_000


@pytest.mark.slow
def test_benchmarks_run(root: Path) -> None:
    """The quicker ones, as a user starts them: they pass, and the table names them."""
    quick = "test_speed and not 10000 and not in_go or jacobian or ten_times and exp1 or starved"
    options = ["-p", "no:cacheprovider", "--rounds", "1", "-k", f"{quick} or shared"]
    command = [sys.executable, "-m", "pytest", "benchmarks", *options]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    shown = (
        "simulate ",
        "Simulator.run ",
        "simulate_batch of 1,000, one worker ",
        OLD_WAY,
        "Jacobian / plain run",
        "outputs ten times as long",
        "shared prefixes / none",
        "reference engine / chosen, starved of KV blocks",
        "reference engine / chosen, starved, mixed lengths",
        "reference engine / chosen, starved, shared prefixes",
    )
    for name in shown:
        assert f"\n{name}" in done.stdout
