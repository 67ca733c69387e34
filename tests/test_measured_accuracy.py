"""How well fits predict real servers, and the tables that say so.

Oracles: measured runs, of which the fit sees a part; tables written by hand.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmarks.accuracy import CASES, GROUPS, MODELS, PAGE, load_run, score, steps_by_batch
from benchmarks.pages import replace_table
from benchmarks.scores import Case, Score, missed, tables

pytestmark = pytest.mark.slow

GOOD = Score(e2e_mape=1.4, e2e_mean=-0.9, ttft_mape=6.0, ttft_floor=6.0, ttft_mean=-2.9, cpu_s=0.1)
BAD = Score(e2e_mape=1.6, e2e_mean=1.1, ttft_mape=8.0, ttft_floor=6.0, ttft_mean=3.1, cpu_s=0.3)


@pytest.mark.parametrize("title", ["Qwen3-14B, 2 and 6 → 4 req/s", "CodeLlama-34B, mixed"])
@pytest.mark.parametrize("model", MODELS)
def test_held_out_latencies_of_real_servers(shared: Path, title: str, model: str) -> None:
    """Another load than those fitted, and every second request of a run of mixed lengths."""
    case = next(case for case in CASES if case.title == title)
    found = score(case, [load_run(shared / "data", name) for name in case.runs], model)
    assert found.e2e_mape < 1.5
    assert abs(found.e2e_mean) < 1
    assert abs(found.ttft_mean) < 3


def test_a_wrong_setting_is_no_match(shared: Path) -> None:
    """Synchronous scheduling, where the server's was asynchronous, misses a bar that is met."""
    case = next(case for case in CASES if case.title == "Qwen3-14B, 2 and 6 → 4 req/s")
    runs = [load_run(shared / "data", name) for name in case.runs]
    assert all(run.config.async_scheduling for run in runs)
    wrong = [
        dataclasses.replace(run, config=run.config.replace(async_scheduling=False)) for run in runs
    ]
    right_errors, wrong_errors = (score(case, each, "small") for each in (runs, wrong))
    assert wrong_errors.ttft_mape > right_errors.ttft_mape


def test_settings_come_from_the_notes(shared: Path) -> None:
    """As the notes beside the runs have them."""
    data = shared / "data"
    old = load_run(data, "otel_jan20-codellama-prefill-1").config  # vLLM 0.11
    assert (old.max_num_seqs, old.max_num_batched_tokens, old.num_gpu_blocks) == (32, 64, 2790)
    assert not old.async_scheduling


def test_settings_come_from_the_notes_on_cpu_servers(recorded: Path) -> None:
    cpu = load_run(recorded, "Q_fewkv96_r3").config
    assert (cpu.block_size, cpu.num_gpu_blocks, cpu.enable_prefix_caching) == (32, 96, False)
    assert not load_run(recorded, "Q_async_r4").config.async_scheduling


def test_steps_by_batch(recorded: Path) -> None:
    """What the page says of them: a bend at some eight requests, and a slower machine in a run."""
    rows = [line.split("|")[1:-1] for line in steps_by_batch(recorded)]
    times = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
    assert times["decoding requests"][1:3] == ["`Q_sync_r9_s43`", "`Q_sync_r15_s43`"]
    r9, r15 = ({batch: row[i] for batch, row in times.items()} for i in (1, 2))
    assert r9["21 to 30"] == "-"
    assert float(r15["13 to 20"]) > 1.1 * float(r9["13 to 20"])
    assert float(r15["8 to 12"]) < 1.2 * float(r15["1 to 2"])
    assert float(r15["21 to 30"]) > 1.4 * float(r15["8 to 12"])


def test_bars() -> None:
    seen, higher = Case("A", ("a",)), Case("B", ("b",), above=True)
    assert missed(seen, GOOD) == missed(higher, GOOD) == []
    assert missed(seen, BAD) == ["e2e_mape", "e2e_mean", "floors", "ttft_mean"]
    assert missed(higher, BAD) == []
    assert missed(higher, dataclasses.replace(BAD, e2e_mape=2.1)) == ["e2e_mape"]
    assert missed(seen, dataclasses.replace(GOOD, ttft_floor=0.0)) == ["floors"]


def test_tables() -> None:
    scores = {
        Case("A, 1 req/s", ("a",)): {"small": GOOD, "extended": BAD},
        Case("CPU", ("b",), above=True): {"small": BAD, "extended": GOOD},
    }
    e2e, ttft, summary = tables(scores, GROUPS)
    assert e2e == [
        "| E2E: MAPE, mean error [%] | small | extended |",
        "|---|--:|--:|",
        "| A, 1 req/s | 1.40, -0.90 | **1.60**, **+1.10** |",
        "| CPU ↑ | 1.60, +1.10 | 1.40, -0.90 |",
        "| median, GPU | 1.40, 0.90 | 1.60, 1.10 |",
        "| median, CPU | 1.60, 1.10 | 1.40, 0.90 |",
    ]
    assert ttft[2] == "| A, 1 req/s | 6.0, 1.00, -2.9 | 8.0, **1.33**, **+3.1** |"
    assert summary == [
        "| aim met by | small | extended |",
        "|---|--:|--:|",
        "| E2E MAPE ≤ 1.5 % | 1 of 1 | 0 of 1 |",
        "| mean E2E within 1 % | 1 of 1 | 0 of 1 |",
        "| TTFT MAPE ≤ 1.2 floors | 1 of 1 | 0 of 1 |",
        "| mean TTFT within 3 % | 1 of 1 | 0 of 1 |",
        "| higher load: E2E MAPE ≤ 2 % | 1 of 1 | 1 of 1 |",
        "| CPU time of a fit, median | 0.20 s | 0.20 s |",
    ]


def test_the_page_has_the_tables() -> None:
    """All sets are in it, and an update finds the tables."""
    text = PAGE.read_text("utf-8")
    scores = {case: dict.fromkeys(MODELS, GOOD) for case in CASES}
    for table in tables(scores, GROUPS):
        assert replace_table(text, table).count(table[2]) == 1
        titles = [line.split("|")[1] for line in table]
        assert all(f"\n|{title}|" in text for title in titles)
