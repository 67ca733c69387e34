"""Timelines for Perfetto.

Oracles: the rules of the trace event format, the arrays of the run's trace, and runs of one-second
steps worked out by hand.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pysimbind.config import SEMANTICS, ServerConfig
from pysimbind.draw.chrome_trace import chrome_trace, save_chrome_trace
from pysimbind.errors import InputError, OutputError
from pysimbind.parameters import NAMES
from pysimbind.results import SimResult
from pysimbind.simulator import Simulator
from pysimbind.workload import Workload

from .facts import facts

SECOND = 1e6  # in the trace's unit, microseconds
ONE_SECOND_STEPS = dict.fromkeys(NAMES, 0.0) | {"intercept": 1.0}


def traced(workload: Workload, params: Any = None, config: ServerConfig | None = None) -> SimResult:
    with Simulator(workload, config or ServerConfig()) as simulator:
        return simulator.run(params or ONE_SECOND_STEPS, trace=True)


def events(trace: dict[str, Any], ph: str, pid: int) -> list[dict[str, Any]]:
    return [e for e in trace["traceEvents"] if (e["ph"], e["pid"]) == (ph, pid)]


def check_format(trace: dict[str, Any]) -> None:
    """Complete, counter and metadata events with the keys that each needs, in order of time."""
    assert json.loads(json.dumps(trace, allow_nan=False)) == trace
    timed = [e for e in trace["traceEvents"] if e["ph"] != "M"]
    assert [e["ts"] for e in timed] == sorted(e["ts"] for e in timed)
    ends: dict[tuple[int, int], int] = {}
    for event in trace["traceEvents"]:
        assert {"name", "ph", "pid", "args"} <= set(event)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name", "thread_sort_index")
        elif event["ph"] == "C":
            assert all(type(value) is int for value in event["args"].values())
        else:
            assert event["ph"] == "X"
            assert event["dur"] >= 0
            # Events of one track must not overlap, to the nanosecond.
            begin, track = round(1000 * event["ts"]), (event["pid"], event["tid"])
            assert begin >= ends.get(track, begin)
            ends[track] = begin + round(1000 * event["dur"])
    named = {(e["pid"], e["tid"]) for e in trace["traceEvents"] if e["name"] == "thread_name"}
    assert set(ends) == named


def random_run(seed: int, semantics: str) -> SimResult:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 60))
    workload = Workload(
        np.cumsum(rng.exponential(rng.choice([0.001, 0.02, 0.5]), count)),
        rng.integers(1, 90, count),
        rng.integers(1, 40, count),
    )
    config = ServerConfig(
        max_num_seqs=int(rng.integers(1, 30)),
        max_num_batched_tokens=int(rng.integers(30, 200)),
        num_gpu_blocks=int(rng.integers(20, 60)),
        enable_prefix_caching=False,
        async_scheduling=bool(rng.integers(2)) and semantics == "vllm-v1",
        semantics=semantics,
    )
    params = dict.fromkeys(NAMES, 0.0) | {
        "intercept": float(rng.uniform(1e-3, 1e-2)),
        "sum_prefill_tokens": float(rng.uniform(0, 1e-4)),
        "queue_overhead": float(rng.integers(2) * 500),
        "vllm_overhead": 300.0,
    }
    return traced(workload, params, config)


@pytest.mark.parametrize("semantics", SEMANTICS)
@pytest.mark.parametrize("seed", range(8))
def test_events_are_valid_and_add_up_to_the_trace(seed: int, semantics: str) -> None:
    result = random_run(seed, semantics)
    steps = result.trace
    assert steps is not None
    trace = chrome_trace(result)
    check_format(trace)
    drawn = events(trace, "X", 1)
    assert len(drawn) == len(steps)
    assert [e["ts"] for e in drawn] == pytest.approx(SECOND * np.sort(steps.start_s), abs=2e-3)
    assert [e["dur"] for e in drawn] == pytest.approx(
        SECOND * steps.duration_s[np.argsort(steps.start_s, kind="stable")], abs=3e-3
    )
    for key, values in (
        ("D", steps.decode_tokens),
        ("P", steps.prefill_tokens),
        ("M", steps.max_prefill_tokens),
        ("N", steps.num_prefills),
        ("preemptions", steps.preemptions),
    ):
        assert sum(e["args"][key] for e in drawn) == values.sum()
    total: dict[str, float] = dict.fromkeys(("queued", "prefill", "decode"), 0.0)
    for event in events(trace, "X", 2):
        if event["args"]["status"] == "finished":
            total[event["name"]] += event["dur"] / SECOND
    done = ~np.isnan(result.e2e)
    assert total["queued"] == pytest.approx(steps.queue_time_s[done].sum(), abs=1e-6)
    assert total["prefill"] == pytest.approx(steps.prefill_time_s[done].sum(), abs=1e-6)
    assert total["decode"] == pytest.approx((result.e2e - result.ttft)[done].sum(), abs=1e-6)


def test_by_hand() -> None:
    """One seat: request 0 in steps 1-2 and 2-3, request 1 waits for it, idle until request 2."""
    workload = Workload([1.0, 1.5, 10.0], [5, 6, 7], [2, 1, 1])
    trace = chrome_trace(traced(workload, config=ServerConfig(max_num_seqs=1)))
    check_format(trace)
    steps = [(e["name"], e["ts"] / SECOND, e["dur"] / SECOND) for e in events(trace, "X", 1)]
    assert steps == [("prefill", 1, 1), ("decode", 2, 1), ("prefill", 3, 1), ("prefill", 10, 1)]
    first = events(trace, "X", 1)[0]["args"]
    assert [first[key] for key in "DPMN"] == [0, 5, 5, 1]
    phases = [
        (e["tid"] - 1, e["name"], e["ts"] / SECOND, e["dur"] / SECOND)
        for e in events(trace, "X", 2)
    ]
    assert phases == [
        (0, "prefill", 1, 1),
        (1, "queued", 1.5, 1.5),
        (0, "decode", 2, 1),
        (1, "prefill", 3, 1),
        (2, "prefill", 10, 1),
    ]
    counted = [
        (e["ts"] / SECOND, e["args"]["running"], e["args"]["waiting"])
        for e in events(trace, "C", 1)
        if e["name"] == "requests"
    ]
    # idle before the first request, from 4 to 10, and at the end
    assert counted == [
        (0, 0, 0),
        (1, 1, 0),
        (2, 1, 1),
        (3, 1, 0),
        (4, 0, 0),
        (10, 1, 0),
        (11, 0, 0),
    ]
    used = [e["args"]["used"] for e in events(trace, "C", 1) if e["name"] == "kv_blocks"]
    assert used == [0, 1, 1, 1, 0, 1, 0]
    names = {e["args"]["name"] for e in events(trace, "M", 2) if "name" in e["args"]}
    assert names == {"requests", "request 0", "request 1", "request 2"}


def test_steps_that_overlap_get_tracks_of_their_own() -> None:
    """The original simulator takes a request that comes during its draining step at once."""
    workload = Workload([0.0, 0.5], [5, 5], [1, 1])
    trace = chrome_trace(traced(workload, config=ServerConfig(semantics="blis-2025-07")))
    check_format(trace)
    steps = [(e["tid"], e["ts"] / SECOND, e["dur"] / SECOND) for e in events(trace, "X", 1)]
    assert steps == [(1, 0, 1), (2, 0.5, 1)]


def test_phases_that_never_end_last_as_long_as_the_trace() -> None:
    """Stopped at 2.5 s: request 0 decodes, request 1 waits, request 2 was never sent."""
    workload = Workload([0.0, 0.25, 9.0], [5, 5, 5], [9, 1, 1])
    result = traced(workload, config=ServerConfig(max_num_seqs=1, horizon_s=2.5))
    assert result.trace is not None
    end_s = float((result.trace.start_s + result.trace.duration_s).max())
    trace = chrome_trace(result)
    check_format(trace)
    ends = {
        (e["tid"] - 1, e["name"], e["args"]["status"]): (e["ts"] + e["dur"]) / SECOND
        for e in events(trace, "X", 2)
    }
    assert ends[(0, "decode", "running")] == pytest.approx(end_s)
    assert ends[(1, "queued", "waiting")] == pytest.approx(end_s)


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_a_run_that_stops_at_once_can_be_drawn(semantics: str) -> None:
    params = ONE_SECOND_STEPS | {"intercept": -1.0}
    config = ServerConfig(semantics=semantics)
    check_format(chrome_trace(traced(Workload([0.0], [5], [3]), params, config)))


def test_a_run_without_a_trace_says_what_to_do() -> None:
    with Simulator() as simulator:
        result = simulator.run(ONE_SECOND_STEPS)
    with pytest.raises(InputError, match=facts("trace=True")):
        chrome_trace(result)


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_files(tmp_path: Path, name: str) -> None:
    result = traced(Workload([0.0, 0.1], [5, 5], [3, 4]))
    save_chrome_trace(result, tmp_path / name)
    data = (tmp_path / name).read_bytes()
    text = gzip.decompress(data) if name.endswith(".gz") else data
    assert json.loads(text) == chrome_trace(result)
    with pytest.raises(OutputError, match=facts(f"/no/{name}: .. No such file")):
        save_chrome_trace(result, tmp_path / "no" / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]
