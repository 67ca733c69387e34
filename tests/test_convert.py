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

from .facts import tells

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
    assert tells(said, "5 requests .. 2.000 s .. 150 .. 10 .. 3")
    assert tells(said, "failed .. 1")
    assert "max_num_seqs = 3 (server_args)\n" in said
    assert "block_size = 32 (settings)\n" in said
    assert tells(said, "num_gpu_blocks = None")
    assert said.endswith(f"{out}\n")


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
        (["{in}", "{tmp}/out.txt"], "out.txt .. .json .. .json.gz"),
        (["{in}", "{in}"], "input .. output"),
        (["{in}", "{tmp}/none/out.json"], "out.json .. No such file"),
        (["{tmp}/none.csv", "{tmp}/out.json"], "none.csv .. No such file"),
        (["{in}"], "OUT"),
        (["{in}", "{tmp}/out.json", "--run", "2"], "1 run .. request_rate 4.0 .. run 2"),
        (["exp1_30rr", "{tmp}/out.json", "--run", "1"], "run"),
        (["{in}", "{tmp}/out.json", "--set", "seqs=3"], "--set .. 'seqs'"),
        (["{in}", "{tmp}/out.json", "--server-log", "{in}"], "vLLM"),
        (
            ["{in}", "{tmp}/out.json", "--server-args=--max-num-seq 3"],
            "'--max-num-seq' .. '--max-num-seqs'",
        ),
    ],
)
def test_errors_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    words = [word.format(tmp=tmp_path, **{"in": MINIATURE}) for word in options]
    before = MINIATURE.read_bytes()
    assert main(["convert", *words]) == 2
    error = capsys.readouterr().err
    assert tells(error, message)
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
