"""``python -m pysimbind convert``, and the options of reading that other commands share.

Oracle: what the command writes is what ``load_experiment`` reads with the same options, and it
reads back as itself.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from pysimbind.cli import main
from pysimbind.fit import FitResult
from pysimbind.formats import load_experiment

MINIATURE = Path(__file__).parent / "data/vllm_bench_detailed.json"
ARGS = "vllm serve M --max-num-seqs 3 --no-async-scheduling"


@pytest.mark.parametrize("name", ["out.json", "out.json.gz"])
def test_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    out = tmp_path / name
    options = ["--server-args", ARGS, "--set", "block_size=32", "--semantics", "vllm-v1-0.9.1"]
    assert main(["convert", str(MINIATURE), str(out), *options]) == 0
    converted = load_experiment(out)
    read = load_experiment(MINIATURE, server_args=ARGS, settings={"block_size": 32})
    assert converted.config == read.config.replace(semantics="vllm-v1-0.9.1")
    assert converted.workload == read.workload
    assert converted.provenance == read.provenance
    assert out.read_bytes().startswith(b"\x1f\x8b") == name.endswith(".gz")
    said = capsys.readouterr().out
    assert "5 requests over 2.000 s, 150 prompt and 10 output tokens; measured: 3 TTFTs" in said
    assert "failed: 1 requests failed: latencies not measured" in said
    assert "max_num_seqs = 3 (server_args)\n" in said
    assert "block_size = 32 (settings)\n" in said
    assert "num_gpu_blocks = None (not told: a pool without limit is assumed)\n" in said
    assert said.endswith(f"saved: {out}\n")


def test_converting_again_keeps_what_was_known(tmp_path: Path) -> None:
    first, second, third = (str(tmp_path / f"{i}.json") for i in range(3))
    assert main(["convert", str(MINIATURE), first, "--server-args", ARGS]) == 0
    assert main(["convert", first, second]) == 0
    assert load_experiment(second) == load_experiment(first)
    assert main(["convert", second, third, "--set", "num_gpu_blocks=9"]) == 0
    report = load_experiment(third).provenance["server"]
    assert report["sources"] == {
        "max_num_seqs": "server_args",
        "async_scheduling": "server_args",
        "num_gpu_blocks": "settings",
    }
    assert "num_gpu_blocks" not in report["assumed"]
    assert report["assumed"]["block_size"] == 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["{in}", "{tmp}/out.txt"], "out.txt: in which format? end it with .json or .json.gz"),
        (["{in}", "{in}"], "already an input or another output"),
        (["{in}", "{tmp}/none/out.json"], "out.json: cannot be written: No such file"),
        (["{tmp}/none.csv", "{tmp}/out.json"], "none.csv: cannot be read: No such file"),
        (["{in}"], "the following arguments are required: OUT"),
        (["{in}", "{tmp}/out.json", "--run", "2"], "holds 1 run (1: request_rate 4.0): run 2 was"),
        (["exp1_30rr", "{tmp}/out.json", "--run", "1"], "run has no effect on files of this"),
        (["{in}", "{tmp}/out.json", "--set", "seqs=3"], "--set: unknown server setting 'seqs'"),
        (["{in}", "{tmp}/out.json", "--server-log", "{in}"], "not the log of a vLLM server's"),
        (["{in}", "{tmp}/out.json", "--server-args=--max-num-seq 3"], "did you mean '--max-num-s"),
    ],
)
def test_errors_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    words = [word.format(tmp=tmp_path, **{"in": MINIATURE}) for word in options]
    before = MINIATURE.read_bytes()
    assert main(["convert", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert MINIATURE.read_bytes() == before
    assert not list(tmp_path.iterdir())


def test_fit_and_simulate_take_the_options_of_reading(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("input_tokens,output_tokens,t,e2e_s\n9,1,20,0.5\n8,2,30,0.75\n")
    options = ["--columns", "ttft=t:ms", "--arrivals", "seed=1,rate=2", "--server-args", ARGS]
    out = tmp_path / "fit.json"
    few = ["--max-evals", "9", "--quiet", "--out", str(out)]
    assert main(["fit", str(table), *options, "--set", "block_size=8", *few]) == 0
    config = FitResult.load(out).config
    assert (config.max_num_seqs, config.block_size) == (3, 8)
    assert main(["simulate", str(table), *options, "--fit", str(out)]) == 0
    assert "2 requests" in capsys.readouterr().out


def test_a_converted_file_holds_every_fact_on_a_line(tmp_path: Path) -> None:
    """Arrays per request stay on one line each, so files can be compared by eye."""
    table = tmp_path / "t.csv"
    table.write_text(
        "arrival_s,input_tokens,output_tokens,ttft_s,e2e_s,cached_tokens\n0,9,1,1,1,8\n"
    )
    out = tmp_path / "o.json.gz"
    assert main(["convert", str(table), str(out)]) == 0
    text = gzip.decompress(out.read_bytes()).decode()
    assert '\n  "cached_tokens": [8]' in text
    assert json.loads(text)["provenance"]["source"] == "CSV"
