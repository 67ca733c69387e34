"""``python -m pysimbind.collect`` on the stand-in for vLLM: results, failures, Ctrl-C, repeats.

Oracles: the latencies that ``stand_in/vllm.py`` states, the processes that it reports, and the exit
codes and contents of the folder that the modules promise.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pysimbind.cli import main
from pysimbind.collect.observed import growth, observe, read_version
from pysimbind.collect.process import Process
from pysimbind.config import ServerConfig
from pysimbind.formats import load_experiment
from pysimbind.vllm.settings import Known, resolve

from .facts import tells

ROOT = Path(__file__).parents[1]
STAND_IN = f"{sys.executable} {ROOT / 'tests' / 'stand_in' / 'vllm.py'}"
FILES = {"experiment.json.gz", "raw.json", "server.log", "bench.log", "commands.json"}
FILES |= {"metrics_before.txt", "metrics_after.txt"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Bench:
    """A collect file, an output folder and the stand-in, told what is to go wrong."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.out, self.trace, self.config = folder / "out", folder / "trace", folder / "c.json"
        self.monkeypatch = monkeypatch
        self.flags: dict[str, Any] = {}
        self.vllm: dict[str, Any] = {"port": free_port(), "block_size": 32, "max_num_seqs": 64}
        self.benchmark: dict[str, Any] = {}
        monkeypatch.setenv("STAND_IN_TRACE", str(self.trace))

    def argv(self, *options: str, rates: Any = (4, 8)) -> list[str]:
        flags = self.flags | {"request_rate": list(rates)}
        block = {"model": "m", "vllm": self.vllm, "benchmark": flags}
        self.config.write_text(json.dumps({"b": block}))
        return [str(self.config), "--output", str(self.out), "--vllm", STAND_IN, *options]

    def run(self, *options: str, wrong: str = "", rates: Any = (4, 8)) -> int:
        self.monkeypatch.setenv("STAND_IN", wrong)
        return main(["collect", *self.argv(*options, rates=rates)])

    def left(self) -> set[str]:
        return {str(p.relative_to(self.out)) for p in self.out.rglob("*") if p.is_file()}

    def traced(self, what: str) -> list[str]:
        lines = self.trace.read_text().splitlines() if self.trace.exists() else []
        return [line for line in lines if line.startswith(what)]

    def check_all_ended(self) -> None:
        pids = [int(line.split()[1]) for line in self.traced("serve ") if "ended" not in line]
        pids += [int(line.split()[1]) for line in self.traced("engine ")]
        assert pids
        assert not [pid for pid in pids if _alive(pid)]


def _alive(pid: int) -> bool:
    """Tell whether a process runs; one that only its parent has to notice does not."""
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


# --- what it measures ----------------------------------------------------------------------------


def test_runs_become_experiments(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run() == 0
    runs = ("b/rate-4-run-1", "b/rate-8-run-1")
    assert bench.left() == {f"{run}/{file}" for run in runs for file in FILES}
    bench.check_all_ended()
    assert bench.traced("bench") == ["bench 4", "bench 8"]
    assert bench.traced("serve ended") == ["serve ended"] * 2
    experiment = load_experiment(bench.out / runs[1] / "experiment.json.gz")
    np.testing.assert_allclose(experiment.workload.arrival_s, np.arange(10) / 8)
    np.testing.assert_allclose(experiment.ttft, 0.01 + 0.001 * np.arange(10))
    np.testing.assert_allclose(experiment.e2e - experiment.ttft, 0.015)
    assert experiment.config == ServerConfig(
        max_num_seqs=64,
        max_num_batched_tokens=4096,
        block_size=32,
        num_gpu_blocks=256,
        max_model_len=2048,
    )
    told = experiment.provenance
    assert told["counters"] == {
        "num_preemptions": 5,
        "prefix_cache_queries": 80,
        "prefix_cache_hits": 0,
        "prompt_tokens": 80,
    }
    assert told["server"]["vllm_version"] == "0.32.0"
    assert told["server"]["sources"]["max_num_seqs"] == "flags"
    assert told["server"]["sources"]["num_gpu_blocks"] == "metrics"
    assert told["server"]["sources"]["max_num_batched_tokens"] == "server.log"
    assert "watermark=0.0" in told["config"]
    assert told["server"]["assumed"]["watermark"] == 0.0
    assert told["server_use"] == "started for this run alone"
    printed = capsys.readouterr()
    row = printed.out.splitlines()[1].split()
    assert row == ["b/rate-4-run-1", "done", "10", "0", "14.5", "29.5", "256", "5"]
    assert "2 done" in printed.out
    assert tells(printed.err, "[2/2] .. b/rate-8-run-1: done")


def test_a_dry_run_prints_the_commands(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run("--dry-run", rates=[4]) == 0
    serve, measured = capsys.readouterr().out.splitlines()
    assert not bench.out.exists()
    assert bench.run("--quiet", rates=[4]) == 0
    record = json.loads((bench.out / "b/rate-4-run-1/commands.json").read_text())
    assert serve.split() == record["commands"]["serve"]
    assert measured.split() == record["commands"]["bench"]
    capsys.readouterr()
    assert bench.run("--dry-run", rates=[4]) == 0
    assert capsys.readouterr().out == ""


def test_a_server_that_runs_already_is_left_running(bench: Bench) -> None:
    argv = [*STAND_IN.split(), "serve", "m", "--port", str(bench.vllm["port"])]
    url = f"http://127.0.0.1:{bench.vllm['port']}"
    with Process(argv, bench.out.parent / "own.log") as own:
        for _ in range(100):
            code = bench.run("--base-url", f"{url}/", rates=[4])
            if code == 0:
                break
            time.sleep(0.05)
        assert code == 0
        assert own.exit_code() is None
    experiment = load_experiment(bench.out / "b/rate-4-run-1/experiment.json.gz")
    assert experiment.config.block_size == 16  # what it says, not what the file says
    assert experiment.config.num_gpu_blocks == 512
    assert experiment.config.async_scheduling is True  # 0.32's default: there is no log
    assert "ran before" in experiment.provenance["server_use"]
    assert "server.log" not in os.listdir(bench.out / "b/rate-4-run-1")


def test_what_was_collected_is_converted_with_its_sources(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The provenance is that of docs/formats.md, so other settings can be given on top."""
    assert bench.run(rates=[4]) == 0
    path, out = str(bench.out / "b/rate-4-run-1/experiment.json.gz"), str(tmp_path / "c.json")
    capsys.readouterr()
    assert main(["convert", path, out, "--set", "max_num_seqs=8"]) == 0
    said = capsys.readouterr().out
    assert "max_num_seqs = 8 (settings)\n" in said
    assert "num_gpu_blocks = 256 (metrics)\n" in said
    assert "vLLM 0.32.0\n" in said
    told, before = load_experiment(out).provenance, load_experiment(path).provenance
    assert told["counters"] == before["counters"]
    assert told["server"]["sources"] == before["server"]["sources"] | {"max_num_seqs": "settings"}


# --- repeats -------------------------------------------------------------------------------------


def test_repeating_continues(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run(rates=[4]) == 0
    before = (bench.out / "b/rate-4-run-1/commands.json").stat().st_mtime_ns
    bench.vllm["port"] = free_port()  # no setting of the experiment
    assert bench.run() == 0
    assert "1 skipped, 1 done" in capsys.readouterr().out
    assert bench.traced("bench") == ["bench 4", "bench 8"]
    assert (bench.out / "b/rate-4-run-1/commands.json").stat().st_mtime_ns == before


def test_changed_settings_are_an_error_unless_redone(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.run(rates=[4]) == 0
    bench.vllm["max_num_seqs"] = 8
    capsys.readouterr()
    assert bench.run(rates=[4]) == 2
    said = capsys.readouterr().err
    assert said.startswith("pysimbind: error: b/rate-4-run-1: ")
    assert tells(said, "vllm.max_num_seqs .. 64 .. 8 .. --redo b/rate-4-run-1")
    assert said.count("\n") == 1
    assert bench.run("--redo", "b", rates=[4], wrong="bench-exits-1") == 1
    path = bench.out / "b/rate-4-run-1/experiment.json.gz"
    assert load_experiment(path).config.max_num_seqs == 64  # the old result stays
    assert bench.run("--redo", "b/rate-4-run-1", rates=[4]) == 0
    assert load_experiment(path).config.max_num_seqs == 8
    assert {file.split("/")[-1] for file in bench.left()} == FILES
    assert bench.run("--redo", "b/rate-5-run-1", rates=[4]) == 2
    assert tells(capsys.readouterr().err, "b/rate-4-run-1")


def test_a_folder_without_a_finished_run(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    (bench.out / "b/rate-4-run-1").mkdir(parents=True)
    assert bench.run(rates=[4]) == 2
    assert tells(capsys.readouterr().err, "--redo b/rate-4-run-1")


def test_what_a_killed_collect_left_is_cleared(bench: Bench) -> None:
    (bench.out / ".unfinished-x").mkdir(parents=True)
    assert bench.run(rates=[4]) == 0
    assert os.listdir(bench.out) == ["b"]


# --- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message", "options"),
    [
        ("dies-at-start", "exit code 1 .. 'ValueError: no such model'", ()),
        pytest.param("never-healthy", "2 s", ("--startup-timeout", "2"), marks=pytest.mark.slow),
        ("dies-in-bench", "exit code 3 .. 'MemoryError: out of KV blocks", ()),
        ("bench-exits-1", "exit code 1 .. 'ValueError: the dataset is", ()),
        ("bench-hangs", "0.5 s", ("--run-timeout", "0.5")),
        ("bench-garbage", "raw.json .. line 1, column 10", ()),
        ("bench-no-file", "raw.json", ()),
        ("bench-all-failed", "10 requests", ()),
        ("bench-no-details", "raw.json .. summary", ()),
    ],
)
def test_failures_leave_only_logs(
    bench: Bench,
    capsys: pytest.CaptureFixture[str],
    wrong: str,
    message: str,
    options: tuple[str, ...],
) -> None:
    assert bench.run(*options, wrong=wrong, rates=[4]) == 1
    printed = capsys.readouterr()
    assert tells(printed.err, message)
    kept = f"{bench.out}/.failed/b/rate-4-run-1"
    assert f"logs: {kept}" in printed.err
    assert printed.out.splitlines()[1].split()[:2] == ["b/rate-4-run-1", "failed"]
    assert all(file.startswith(".failed/b/rate-4-run-1/") for file in bench.left())
    if wrong != "dies-at-start":
        bench.check_all_ended()
    assert bench.run(rates=[4]) == 0  # and the logs go when it succeeds
    assert os.listdir(bench.out) == ["b"]


@pytest.mark.parametrize(
    ("serve", "flags", "message"),
    [
        (
            {"not_known_here": 3},
            {},
            "the server ended: exit code 2, "
            "'vllm serve: error: unrecognized arguments: --not-known-here 3'",
        ),
        ({"nor_this": False}, {}, "error: unrecognized arguments: --no-nor-this'"),
        ({"seed": "x"}, {}, "error: argument --seed: invalid int value: "),
        ({"extra_args": ["--brand-new"]}, {}, "unrecognized arguments: --brand-new'"),
        (
            {},
            {"reqest_rate": 8},
            "the benchmark failed: exit code 2, "
            "'vllm bench serve: error: unrecognized arguments: --reqest-rate 8'",
        ),
    ],
)
def test_vllm_refuses_flags_and_its_words_are_shown(
    bench: Bench,
    capsys: pytest.CaptureFixture[str],
    serve: dict[str, Any],
    flags: dict[str, Any],
    message: str,
) -> None:
    bench.vllm |= serve
    bench.flags |= flags
    assert bench.run(rates=[4]) == 1
    assert message in capsys.readouterr().err


def test_a_failed_run_does_not_keep_the_others(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.run(rates=[8, 4], wrong="fails-at-rate-8") == 1
    assert "1 failed, 1 done" in capsys.readouterr().out
    assert (bench.out / "b/rate-4-run-1/experiment.json.gz").exists()


def test_a_port_in_use_is_not_measured(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", bench.vllm["port"])):
        assert bench.run(rates=[4]) == 1
    assert tells(capsys.readouterr().err, f"port {bench.vllm['port']} .. 127.0.0.1 .. in use")
    assert bench.traced("serve") == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--vllm", "no-such-vllm"), "--vllm .. no-such-vllm"),
        (("--vllm", "'"), "split"),
        (("--vllm", ""), "--vllm"),
        (("--base-url", "localhost:8000"), "--base-url .. localhost:8000 .. http://"),
        (("--startup-timeout", "0"), "--startup-timeout .. 0"),
        (("--run-timeout", "nan"), "--run-timeout .. nan"),
        (("--output", "/dev/null/x"), "/dev/null/x"),
        (("--redo", "c"), "--redo .. c"),
        (("--dry",), "--dry .. '--dry-run'"),
    ],
)
def test_bad_options(
    bench: Bench, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert bench.run(*options) == 2
    printed = capsys.readouterr()
    assert tells(printed.err, message)
    assert printed.err.count("\n") == 1
    assert bench.traced("serve") == []


def test_no_server_at_the_base_url(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{bench.vllm['port']}"
    assert bench.run("--base-url", url, rates=[4]) == 1
    assert tells(capsys.readouterr().err, f"{url}/health")


# --- being ended ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("wrong", "waits_for"), [("never-healthy", "engine"), ("bench-hangs", "bench")]
)
def test_ctrl_c_stops_the_server_and_tells_what_is_missing(
    bench: Bench, number: signal.Signals, wrong: str, waits_for: str
) -> None:
    argv = [sys.executable, "-m", "pysimbind.collect", *bench.argv()]
    bench.monkeypatch.setenv("STAND_IN", wrong)
    with subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        end = time.monotonic() + 30
        while not bench.traced(waits_for) and time.monotonic() < end:
            time.sleep(0.05)
        assert os.getpgid(int(bench.traced("serve")[0].split()[1])) != os.getpgid(child.pid)
        second = subprocess.run(
            [*argv, "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        child.send_signal(number)
        out, err = child.communicate(timeout=60)
    assert second.returncode == 2
    assert tells(second.stderr, "another collect")
    assert child.returncode == 130
    assert "2 missing" in out
    assert "Traceback" not in err
    assert os.listdir(bench.out) == []
    bench.check_all_ended()


def test_a_server_that_ignores_signals_is_killed(bench: Bench, tmp_path: Path) -> None:
    bench.monkeypatch.setenv("STAND_IN", "ignores-signals")
    argv = [*STAND_IN.split(), "serve", "m", "--port", str(bench.vllm["port"])]
    with Process(argv, tmp_path / "log") as process:
        while not bench.traced("engine"):
            time.sleep(0.05)
        time.sleep(0.3)
        process.stop(((signal.SIGINT, 0.3), (signal.SIGTERM, 0.3), (signal.SIGKILL, 10)))
        assert process.exit_code() == -signal.SIGKILL
        assert process.ending().startswith("killed by SIGKILL")
    bench.check_all_ended()


# --- what a server tells -------------------------------------------------------------------------

LOG = """
(EngineCore pid=9) INFO Initializing a V1 LLM engine (v0.32.0) with config: model='m', \
dtype=x, max_seq_len=2048, device_config={device}, enable_prefix_caching=False, \
enable_chunked_prefill=True
INFO [kv_cache_utils.py:2327] GPU KV cache size: 451,232 tokens, Maximum concurrency 27x
{more}
"""


def observed(
    log: str | None, version: str | None, **flags: Any
) -> tuple[ServerConfig, dict[str, Any]]:
    known, problem = observe(Known("flags", flags), log, None, version)
    assert problem == ""
    return resolve(known)


def test_the_log_tells_settings() -> None:
    """Lines of vLLM 0.32; the size is the example of ``with_kv_cache_tokens``."""
    log = LOG.format(device="cuda", more="INFO [vllm.py:754] Asynchronous scheduling is enabled.")
    config, report = observed(log, "0.32.0", max_num_seqs=9)
    assert config == ServerConfig(
        max_num_seqs=9,
        num_gpu_blocks=28_202,
        max_model_len=2048,
        enable_prefix_caching=False,
        async_scheduling=True,
    )
    assert report["sources"]["num_gpu_blocks"] == "server.log: 451232 tokens in blocks of 16"
    assert report["sources"]["async_scheduling"] == "server.log"
    assert report["vllm_version"] == "0.32.0"
    on_cpu, _ = observed(LOG.format(device="cpu", more=""), "0.32")
    assert on_cpu.async_scheduling is False


def test_a_log_that_cannot_be_read_costs_no_measurement() -> None:
    two = LOG.format(device="cuda", more="INFO GPU KV cache size: 16,000 tokens")
    known, problem = observe(Known("flags"), two, None, "0.32.0")
    assert tells(problem, "server.log .. KV cache size .. (16000, 451232)")
    assert resolve(known)[1]["assumed"]["num_gpu_blocks"] is None


@pytest.mark.parametrize(
    ("version", "flags", "semantics", "asynchronous", "known"),
    [
        ("0.9.1", {}, "vllm-v1-0.9.1", False, True),
        ("0.11.0", {}, "vllm-v1", False, True),
        ("0.13.0", {}, "vllm-v1", False, False),
        ("0.15.0rc1", {}, "vllm-v1", True, True),
        ("0.32.0+cpu", {"async_scheduling": False}, "vllm-v1", False, True),
        ("dev", {}, "vllm-v1", False, False),
        (None, {}, "vllm-v1", False, False),
    ],
)
def test_the_release_tells_the_rest(
    version: str | None, flags: dict[str, Any], semantics: str, asynchronous: bool, known: bool
) -> None:
    config, report = observed(None, version, **flags)
    assert (config.semantics, config.async_scheduling) == (semantics, asynchronous)
    assert ("async_scheduling" in report["sources"]) == known


def test_counters_of_all_engines_and_old_names() -> None:
    before = 'vllm:num_preemptions_total{engine="0"} 1.0\nvllm:gpu_prefix_cache_hits_total 2.0\n'
    after = (
        'vllm:num_preemptions_total{engine="0"} 3.0\nvllm:num_preemptions_total{engine="1"} 4.0\n'
        "vllm:gpu_prefix_cache_hits_total 1.5e+01\nvllm:num_preemptions_created 1.7e+09\n"
    )
    assert growth(before, after) == {"num_preemptions": 6, "prefix_cache_hits": 13}
    assert growth(None, after) is None
    assert [read_version(a) for a in ('{"version": "0.9"}', "[]", "no", None)] == [
        "0.9",
        None,
        None,
        None,
    ]
