"""``python -m pysimbind``: exit codes, one-line errors, files, pipes.

Oracles: the exit codes that the module promises, and the same simulation or fit from Python for
the numbers.
"""

from __future__ import annotations

import base64
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pysimbind.cli import COMMANDS, main
from pysimbind.draw.chrome_trace import chrome_trace
from pysimbind.errors import NativeError
from pysimbind.experiment import Experiment
from pysimbind.fit import FitResult, fit
from pysimbind.formats import experiment_names, load_experiment
from pysimbind.parameters import NAMES
from pysimbind.results import SimResult, Status
from pysimbind.simulator import Simulator
from pysimbind.workload import Workload
from pysimbind.workloads import from_sharegpt, from_tokenised, generate

from .facts import tells

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "pysimbind"]
PARAMS = dict.fromkeys(NAMES, 0.0) | {"intercept": 0.01, "vllm_overhead": 2000.0}


def _run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *args], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def params(tmp_path: Path) -> str:
    path = tmp_path / "params.json"
    path.write_text(json.dumps(PARAMS))
    return str(path)


def simulated(experiment: Experiment, params: Any = PARAMS, **changes: Any) -> SimResult:
    config = experiment.config.replace(**changes)
    with Simulator(experiment.workload, config) as simulator:
        return simulator.run(params, trace=True)


# --- the dispatcher ------------------------------------------------------------------------------


def test_help_lists_the_commands() -> None:
    done = _run("--help")
    assert done.returncode == 0
    for name, command in COMMANDS.items():
        assert name in done.stdout
        assert command.summary in done.stdout
    assert "python -m pysimbind fit" in _run("fit", "--help").stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            [],
            ", ".join(COMMANDS),
        ),
        (["--"], "see pysimbind --help"),
        (["--verson"], "--verson .. '--version'"),
        (["simulte"], "'simulte' .. 'simulate'"),
        (
            ["qqq"],
            f"'qqq' .. {', '.join(COMMANDS)}",
        ),
        (["experiments", "exp1"], "exp1"),
        (
            ["fit", "--metod", "de"],
            "--metod .. '--method'",
        ),
        (["fit", "--method", "dee"], "'dee' .. 'de'"),
    ],
)
def test_a_command_that_is_none(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("pysimbind: error: ")
    assert printed.err.count("\n") == 1
    assert tells(printed.err, message)


def test_fit_is_the_same_command_as_pysimbind_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.json"
    assert main(["fit", "--max-evals", "60", "--seed", "4", "--quiet", "--out", str(out)]) == 0
    assert FitResult.load(out) == fit("exp1_30rr", max_evals=60, seed=4)
    assert capsys.readouterr().out.endswith(f"saved: {out}\n")


def test_experiments_are_listed_with_what_they_rest_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["experiments"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in experiment_names():
        experiment = load_experiment(name)
        row = next(line for line in lines if line.startswith(f"{name} ")).split()
        assert row[1] == str(experiment.num_requests)
        assert experiment.config.semantics in row
        assert f"{experiment.workload.output_tokens.sum():,}" in row
        if experiment.caveat:
            assert f"{name}: {experiment.caveat}" in lines


# --- simulate: what it prints --------------------------------------------------------------------


def _table(printed: str) -> dict[tuple[str, str], list[float]]:
    """Read the table of latencies: (what, which) -> requests, mean, p50, p90, p99."""
    rows, what = {}, ""
    table = printed[printed.index("[ms]") :].split("\n\n")[0]
    for line in table.splitlines()[1:]:
        which = "measured" if " measured " in line else "simulated"
        before, _, numbers = line.partition(which)
        what = before.strip() or what
        rows[what, which] = [float(number.replace(",", "")) for number in numbers.split()]
    return rows


def test_measured_beside_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    """The default: exp1_30rr with its baseline parameters."""
    assert main(["simulate"]) == 0
    printed = capsys.readouterr().out
    experiment = load_experiment("exp1_30rr")
    result = simulated(experiment, experiment.baseline)
    assert result.trace is not None
    gaps = experiment.workload.output_tokens - 1.0
    gaps[gaps == 0] = np.nan
    rows = _table(printed)
    for what, which, seconds in (
        ("TTFT", "simulated", result.ttft),
        ("TTFT", "measured", experiment.ttft),
        ("E2E", "simulated", result.e2e),
        ("E2E", "measured", experiment.e2e),
        ("TPOT", "simulated", result.trace.inter_token_s),
        ("TPOT", "measured", (experiment.e2e - experiment.ttft) / gaps),
        ("queue time", "simulated", result.trace.queue_time_s),
    ):
        known = seconds[~np.isnan(seconds)]
        expected = [
            known.size,
            *(1e3 * np.array([known.mean(), *np.percentile(known, [50, 90, 99])])),
        ]
        assert rows.pop((what, which)) == pytest.approx(expected, abs=0.0051)
    assert rows == {}
    assert tells(printed, "exp1_30rr .. vllm-v1-0.9.1 .. 100 requests")
    assert tells(printed, "OK .. 100 of 100")
    assert f"{result.steps:,} steps" in printed
    assert tells(printed, f"{result.peak_kv_blocks:,} of 94,060 KV blocks")
    assert f"caveat: {experiment.caveat}" in printed
    assert printed.isascii()


def test_other_settings_are_simulated_and_named(
    params: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--semantics",
        "vllm-v1",
        "--set",
        "max-num-seqs=4",
        "--set",
        "async_scheduling=true",
    ]
    options += ["--set", "num-gpu-blocks-override=1k", "--set", "horizon_s=none"]
    assert main(["simulate", "vllm-cpu-sync-r3", "--params", params, *options]) == 0
    printed = capsys.readouterr().out
    changes = {"max_num_seqs": 4, "async_scheduling": True, "num_gpu_blocks": 1000}
    result = simulated(load_experiment("vllm-cpu-sync-r3"), **changes)
    assert _table(printed)["E2E", "simulated"][1] == pytest.approx(
        1e3 * result.e2e.mean(), abs=0.01
    )
    assert (
        "changed from the experiment: max_num_seqs 128 -> 4, num_gpu_blocks 16384 -> 1000, "
        "async_scheduling False -> True\n"
    ) in printed


@pytest.mark.parametrize("command", [("simulate",), ("sweep", "--rates", "50")])
def test_the_pool_in_tokens(
    command: tuple[str, ...], params: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As vLLM logs it: 3200 tokens in blocks of 32 are 100 blocks."""
    name, *options = command
    printed = set()
    for setting in ("kv-cache-tokens=3.2k", "num_gpu_blocks=100", "num_gpu_blocks=200"):
        words = [name, "vllm-cpu-sync-r3", *options, "--params", params, "--set", setting]
        assert main(words) == 0
        printed.add(capsys.readouterr().out)
    assert len(printed) == 2  # 200 blocks are something else


def test_the_pool_in_tokens_is_converted(tmp_path: Path) -> None:
    out = str(tmp_path / "run.json")
    words = ["convert", "vllm-cpu-sync-r3", out, "--set", "kv_cache_tokens=3.2k"]
    assert main(words) == 0
    assert load_experiment(out).config.num_gpu_blocks == 100


def test_closed_loop(params: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "r.json"
    options = ["--params", params, "--max-concurrency", "2", "--out", str(out)]
    assert main(["simulate", *options]) == 0
    w = load_experiment("exp1_30rr").workload
    limited = Workload(w.arrival_s, w.input_tokens, w.output_tokens, max_concurrency=2)
    with Simulator(limited, load_experiment("exp1_30rr").config) as simulator:
        expected = simulator.run(PARAMS)
    saved = json.loads(out.read_text())
    assert saved["max_concurrency"] == 2
    assert saved["requests"]["sent_s"] == expected.sent_s.tolist()
    assert saved["requests"]["sent_s"] != saved["requests"]["arrival_s"]
    assert "max_concurrency None -> 2" in capsys.readouterr().out


def test_closed_loop_keeps_token_ids(params: str, tmp_path: Path) -> None:
    ids = [list(range(64))] * 3
    experiment = Experiment(
        "shared",
        Workload([0.0, 1.0, 2.0], [64] * 3, [3] * 3, prompt_token_ids=ids),
        load_experiment("exp1_30rr").config,
        ttft=[0.1] * 3,
        e2e=[0.2] * 3,
    )
    file, out = tmp_path / "e.json", tmp_path / "r.json"
    experiment.save(file)
    options = ["--params", params, "--max-concurrency", "1", "--out", str(out)]
    assert main(["simulate", str(file), *options]) == 0
    # 64 tokens are 4 blocks, of which a full repeat recomputes the last
    assert json.loads(out.read_text())["requests"]["cached_tokens"] == [0, 48, 48]


def test_a_saved_fit_brings_its_parameters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "fit.json"
    exp1, cpu = load_experiment("exp1_30rr"), load_experiment("vllm-cpu-sync-r3")
    result = fit(exp1, "cmaes", max_evals=20)
    result.save(saved)
    assert main(["simulate", "vllm-cpu-sync-r3", "--fit", str(saved)]) == 0
    printed = capsys.readouterr().out
    mean_ms = 1e3 * simulated(cpu, result.x).e2e.mean()
    assert _table(printed)["E2E", "simulated"][1] == pytest.approx(mean_ms, abs=0.01)
    assert f"parameters: {saved}, cmaes on exp1_30rr" in printed
    assert f"caveat of the fit: {exp1.caveat}" in printed
    assert tells(printed, "vllm-v1-0.9.1 .. --semantics vllm-v1-0.9.1")
    assert main(["simulate", "--fit", str(saved)]) == 0
    assert "of the fit" not in capsys.readouterr().out


def test_a_measurement_file_says_what_is_assumed(
    params: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ROOT / "tests/data/vllm_bench_detailed.json"
    assert main(["simulate", str(file), "--params", params]) == 0
    assert tells(capsys.readouterr().out, "vLLM's defaults")


# --- simulate: what it writes --------------------------------------------------------------------

COLUMNS = {
    "arrival_s": lambda r, w: w.arrival_s,
    "sent_s": lambda r, w: r.sent_s,
    "input_tokens": lambda r, w: w.input_tokens,
    "output_tokens": lambda r, w: w.output_tokens,
    "ttft_s": lambda r, w: r.ttft,
    "e2e_s": lambda r, w: r.e2e,
    "generated_tokens": lambda r, w: r.generated_tokens,
    "cached_tokens": lambda r, w: r.cached_tokens,
    "preemptions": lambda r, w: r.preemptions,
    "queue_time_s": lambda r, w: r.trace.queue_time_s,
    "prefill_time_s": lambda r, w: r.trace.prefill_time_s,
    "inter_token_s": lambda r, w: r.trace.inter_token_s,
}


@pytest.mark.parametrize("ending", [".json", ".csv"])
def test_results_request_by_request(params: str, tmp_path: Path, ending: str) -> None:
    """Stopped at 2 s, so that some latencies never come."""
    out = tmp_path / f"r{ending}"
    assert main(["simulate", "--params", params, "--set", "horizon_s=2", "--out", str(out)]) == 0
    experiment = load_experiment("exp1_30rr")
    result = simulated(experiment, horizon_s=2.0)
    assert np.isnan(result.e2e).any()
    if ending == ".csv":
        table = list(csv.DictReader(out.open()))
        assert [row.pop("request") for row in table] == [str(i) for i in range(100)]
        columns = {key: [row[key] or "nan" for row in table] for key in table[0]}
    else:
        saved = json.loads(out.read_text())
        assert (saved["schema"], saved["version"]) == ("pysimbind-simulation", 1)
        assert saved["params"] == PARAMS
        assert saved["config"] == experiment.config.replace(horizon_s=2.0).as_dict()
        assert (saved["outcome"], saved["steps"]) == ("horizon", result.steps)
        assert saved["caveat"] == experiment.caveat
        columns = saved["requests"]
    assert columns.pop("status") == [Status(code).name.lower() for code in result.status]
    assert set(columns) == set(COLUMNS)
    for name, column in COLUMNS.items():
        values = np.array([np.nan if v is None else float(v) for v in columns[name]])
        np.testing.assert_array_equal(values, column(result, experiment.workload), name)


def test_same_input_same_bytes(params: str, tmp_path: Path) -> None:
    names = ("r.json", "r.csv.gz", "t.json")
    found = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        for name in names[:2]:
            options = ["--out", str(folder / name), "--trace", str(folder / "t.json")]
            assert main(["simulate", "--params", params, *options]) == 0
        found.append([(folder / name).read_bytes() for name in names])
    assert found[0] == found[1]


def test_a_timeline_for_perfetto(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    assert main(["simulate", "--trace", str(path)]) == 0
    experiment = load_experiment("exp1_30rr")
    assert json.loads(path.read_text()) == chrome_trace(simulated(experiment, experiment.baseline))


def test_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "p.png"
    assert main(["simulate", "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.endswith(f"saved: {path}\n")


# --- what goes wrong -----------------------------------------------------------------------------

BAD = [
    (["exp1_30r"], "'exp1_30r' .. 'exp1_30rr'"),
    (["no/such/file.json"], "no/such/file.json"),
    (["{tmp}/corrupt.json"], "corrupt.json .. line 2, column 1"),
    (["vllm-cpu-sync-r3"], "baseline .. --params FILE .. --fit FILE"),
    (["--semantics", "vllm-1"], "'vllm-1' .. 'vllm-v1'"),
    (["--params", "{tmp}/no.json"], "no.json"),
    (["--params", "{tmp}/corrupt.json"], "corrupt.json .. line 2, column 1"),
    (["--params", "{tmp}/list.json"], "list.json .. JSON object"),
    (["--params", "{tmp}/short.json"], "short.json .. 'sum_decode_tokens' .. 17"),
    (
        ["--params", "{tmp}/typo.json"],
        "typo.json .. 'intercpt' .. 'intercept'",
    ),
    (["--params", "{tmp}/nan.json"], "nan.json .. 'intercept' .. nan"),
    (["--params", "{tmp}/fit.json"], "fit.json .. --fit"),
    (["--fit", "{tmp}/short.json"], "short.json .. saved fit"),
    (["--fit", "{tmp}/fit.json"], "fit.json .. version .. None"),
    (
        ["--fit", "a.json", "--params", "b.json"],
        "--params .. --fit",
    ),
    (
        ["--set", "max_num_seq=4"],
        "--set .. 'max_num_seq' .. 'max_num_seqs'",
    ),
    (["--set", "max_num_seqs"], "--set .. max_num_seqs=VALUE"),
    (["--set", "max_num_seqs=few"], "--set .. max_num_seqs=few .. 'few'"),
    (["--set", "max_num_seqs=0"], "max_num_seqs .. 1 .. 0"),
    (["--set", "block_size=none"], "block_size .. None"),
    (["--set", "async_scheduling=on"], "--set .. async_scheduling=on .. true .. false"),
    (["--set", "horizon_s=soon"], "--set .. horizon_s=soon .. seconds .. none"),
    (
        ["--set", "kv_cache_tokens=none"],
        "--set .. kv_cache_tokens=none .. 'none'",
    ),
    (["--set", "kv_cache_tokens=5"], "16 .. 5"),
    (["--set", "watermark=x"], "--set .. watermark=x .. 'x'"),
    (["--set", "semantics=vllm-v1"], "--set .. semantics=vllm-v1 .. --semantics"),
    (
        ["--set", "num_gpu_blocks=2"],
        "request 65 .. 691 .. 44 KV blocks .. 1",
    ),
    (["--max-concurrency", "0"], "max_concurrency .. 0 .. 1"),
    (["--max-concurrency", "x"], "--max-concurrency .. 'x'"),
    (["--out", "{tmp}/r.txt"], "r.txt .. .json .. .csv"),
    (["--out", "{tmp}/no/r.json"], "no/r.json"),
    (["--out", "{tmp}/taken.json"], "taken.json .. not a file"),
    (["--trace", "{tmp}/no/t.json"], "no/t.json"),
    (["--plot", "{tmp}/p.gif"], "p.gif .. .png, .svg, .pdf"),
    (["--out", "{tmp}/r.json", "--trace", "{tmp}/./r.json"], "r.json .. output"),
    (["--params", "{tmp}/short.json", "--out", "{tmp}/short.json"], "short.json .. input"),
    (
        ["--sed", "1"],
        "--sed .. '--seed'",
    ),
    (["--out"], "--out .. argument"),
]


@pytest.mark.parametrize(("args", "message"), BAD, ids=lambda value: str(value)[:50])
def test_a_mistake_is_one_line_and_exit_code_2(
    args: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typo = dict(PARAMS)
    typo["intercpt"] = typo.pop("intercept")
    files = {
        "corrupt.json": '{"intercept": 0.01,\n',
        "list.json": json.dumps(list(PARAMS.values())),
        "short.json": '{"intercept": 0.01}',
        "typo.json": json.dumps(typo),
        "nan.json": json.dumps(PARAMS | {"intercept": float("nan")}),
        "fit.json": '{"schema": "pysimbind-fit"}',
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "taken.json").mkdir()
    given = [arg.replace("{tmp}", str(tmp_path)) for arg in args]
    assert main(["simulate", *given]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("pysimbind: error: ")
    assert printed.err.count("\n") == 1
    assert tells(printed.err, message)
    assert {p.name for p in tmp_path.iterdir()} == {*files, "taken.json"}
    assert all((tmp_path / name).read_text() == text for name, text in files.items())


def test_a_missing_library_is_found_before_the_simulation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr(Simulator, "run", lambda *args, **kwargs: pytest.fail("it ran"))
    assert main(["simulate", "--plot", str(tmp_path / "p.png")]) == 2
    assert "pip install 'pysimbind[plot]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "options", "code", "text"),
    [
        ({"intercept": -1.0}, [], 1, "NEGATIVE_STEP"),
        ({"intercept": 1e300}, [], 1, "NON_FINITE"),
        ({}, ["--set", "horizon_s=1"], 0, "HORIZON"),
    ],
)
def test_a_run_that_does_not_end_is_reported_all_the_same(
    changes: dict[str, float],
    options: list[str],
    code: int,
    text: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "p.json").write_text(json.dumps(PARAMS | changes))
    out = tmp_path / "r.json"
    options = [*options, "--params", str(tmp_path / "p.json"), "--out", str(out)]
    assert main(["simulate", *options]) == code
    printed = capsys.readouterr()
    assert tells(printed.out, text)
    assert printed.err == ""
    assert json.loads(out.read_text())["outcome"] == text.split(":")[0].lower()


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (NativeError("the library broke"), 1, "the library broke"),
        (MemoryError(), 1, "memory"),
    ],
)
def test_what_breaks_a_run_is_one_line(
    error: BaseException,
    code: int,
    line: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(Simulator, "run", broken)
    assert main(["simulate", "--out", str(tmp_path / "r.json")]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("pysimbind: error: ")
    assert tells(printed.err, line)
    assert printed.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("redirection", "code", "complaint"),
    [
        (">/dev/full", 2, "pysimbind: error: .. report"),
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        ("| true", 0, ""),
    ],
)
def test_streams_that_are_closed_or_full(redirection: str, code: int, complaint: str) -> None:
    if redirection == ">/dev/full" and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m pysimbind simulate {redirection}', sys.executable],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert tells(done.stderr, complaint) if complaint else done.stderr == ""


# --- simulate: another workload ------------------------------------------------------------------

ANOTHER = ["--num-requests", "20", "--input-tokens", "uniform:5,90", "--output-tokens", "7"]


def run_another(params: str, tmp_path: Path, options: list[str]) -> dict[str, Any]:
    out = tmp_path / "r.json"
    assert main(["simulate", "--params", params, "--out", str(out), *options]) == 0
    saved: dict[str, Any] = json.loads(out.read_text())
    return saved


def assert_simulates(saved: dict[str, Any], workload: Workload) -> None:
    with Simulator(workload, load_experiment("exp1_30rr").config) as simulator:
        expected = simulator.run(PARAMS)
    assert saved["requests"]["e2e_s"] == expected.e2e.tolist()
    assert saved["requests"]["arrival_s"] == workload.arrival_s.tolist()
    assert saved["requests"]["cached_tokens"] == expected.cached_tokens.tolist()
    assert saved["experiment"] == "another workload on exp1_30rr"
    assert saved["caveat"] == ""


def test_a_generated_workload(
    params: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talk = "turns=uniform(1,3),think_s=1,ttft_s=0.1,tpot_s=0.01"
    options = {"arrivals": "poisson:rate=9", "prefix": "2,32", "sessions": talk, "seed": "4"}
    flags = {name: f"--{name}" for name in options} | {"arrivals": "--arrival-process"}
    words = [word for name, value in options.items() for word in (flags[name], value)]
    saved = run_another(params, tmp_path, [*ANOTHER, *words, "--max-concurrency", "3"])
    expected = generate(
        20,
        input_tokens="uniform:5,90",
        output_tokens=7,
        max_concurrency=3,
        **(options | {"seed": 4}),
    )
    assert_simulates(saved, expected)
    printed = capsys.readouterr().out
    assert "measured" not in printed
    assert tells(printed, "exp1_30rr .. vllm-v1-0.9.1 .. 20 requests")


def test_a_dataset(params: str, tmp_path: Path) -> None:
    says = [{"from": "human", "value": [5] * 40}, {"from": "gpt", "value": [6, 7]}]
    entries = [{"id": "a", "conversations": says, "arrivalDelta": 20_000}] * 3
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps(entries))
    saved = run_another(params, tmp_path, ["--tokenised", str(file), "--num-requests", "2"])
    assert_simulates(saved, from_tokenised(file, 2))


def test_raw_sharegpt(params: str, tmp_path: Path) -> None:
    pytest.importorskip("tiktoken", reason="needs the extra 'tokenizers'")
    ranks = tmp_path / "bytes.tiktoken"
    lines = (f"{base64.b64encode(bytes([i])).decode()} {i}\n" for i in range(256))
    ranks.write_text("".join(lines))
    file = tmp_path / "sharegpt.json"
    talk = [{"value": "how are you"}, {"value": "fine"}]
    file.write_text(json.dumps([{"conversations": talk}] * 3))
    options = ["--sharegpt", str(file), "--tokenizer", str(ranks), "--tokenizer-pattern", "qwen"]
    options += ["--num-requests", "5", "--sharegpt-output-len", "9"]
    saved = run_another(params, tmp_path, options)
    assert_simulates(saved, from_sharegpt(file, ranks, 5, output_len=9))
    assert saved["requests"]["input_tokens"] == [len("how are you")] * 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "3"], "--num-requests .. --input-tokens"),
        (ANOTHER[:4], "--output-tokens"),
        ([*ANOTHER, "--tokenizer", "x.json"], "--tokenizer"),
        ([*ANOTHER, "--tokenised", "x.json"], "--input-tokens .. --tokenised"),
        (["--sharegpt", "x.json"], "--sharegpt .. --tokenizer .. --num-requests"),
        (["--sharegpt", "x.json", "--prefix", "2,8"], "--prefix .. --sharegpt"),
        (
            [*ANOTHER, "--arrival-process", "gama:3"],
            "'gama:3' .. 'gama' .. 'gamma'",
        ),
        ([*ANOTHER, "--num-requests", "0"], "num_requests .. 1"),
        (["--tokenised", "no.json"], "no.json"),
        (["--tokenised", "r.json", "--out", "r.json"], "r.json"),
    ],
)
def test_another_workload_that_is_none(
    options: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.json").write_text("[]")
    assert main(["simulate", *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert tells(printed.err, message)
