"""Export, and the commands sweep, capacity and export.

Oracles: the numbers read back from what was written, and closed forms of a linear step time.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import pytest

from pysimbind.cli import main
from pysimbind.errors import InputError
from pysimbind.fit import fit
from pysimbind.parameters import NAMES, Parameters
from pysimbind.plan.export import to_command, to_json, to_llm_d, to_yaml
from pysimbind.plan.record import load_record

from .facts import facts, tells

LINEAR = Parameters.from_mapping(
    dict.fromkeys(NAMES, 0.0)
    | {"intercept": 0.01, "sum_prefill_tokens": 1e-4, "sum_decode_tokens": 1e-5}
    | {"vllm_overhead": 2000.0}
)


def test_the_command_line_holds_every_digit() -> None:
    record = load_record("exp1_30rr")
    words = shlex.split(to_command(record), comments=True)
    coeffs = words[words.index("--regression-coeffs") + 1]
    assert [float(c) for c in coeffs.split(",")] == record.params.coeffs.tolist()
    flags = ("--schedule-time", "--update-time", "--queue-overhead-time", "--vllm-overhead-time")
    assert [words[words.index(flag) + 1] for flag in flags] == ["544", "80", "1000", "6000"]


def test_json_and_yaml_say_the_same() -> None:
    record = load_record("exp1_30rr")
    saved = json.loads(to_json(record))
    assert Parameters.from_mapping(saved["params"]) == record.params
    lines = [line.split("  #")[0].strip() for line in to_yaml(record).splitlines()]
    read = dict(line.split(": ", 1) for line in lines if ": " in line and line[0] != "#")
    for name, value in saved["params"].items():
        assert float(read[name]) == value
    assert "sum_decode_tokens: 1.0e-05  #" in to_yaml(load_record("exp1_30rr", params=LINEAR))
    assert read["enable_prefix_caching"] == "true"


def test_the_latency_config_of_a_linear_step_time() -> None:
    text = to_llm_d(load_record("exp1_30rr", params=LINEAR))
    keys = dict(line.split(": ") for line in text.splitlines() if line[0] != "#")
    assert keys["prefill-time-per-token"] == "100000ns"
    assert float(keys["prefill-overhead"].removesuffix("ns")) == pytest.approx(12e6, abs=2)
    assert float(keys["inter-token-latency"].removesuffix("ns")) == pytest.approx(10.01e6, abs=2)
    assert float(keys["time-factor-under-load"]) == pytest.approx(12.56 / 10.01, rel=1e-3)
    nothing = Parameters.from_mapping(dict.fromkeys(NAMES, 0.0))
    with pytest.raises(InputError, match=facts("duration")):
        to_llm_d(load_record("exp1_30rr", params=nothing))


def test_a_saved_fit_is_a_record(tmp_path: Path) -> None:
    result = fit("exp1_30rr", max_evals=60, seed=4)
    path = str(tmp_path / "fit.json")
    result.save(path)
    record = load_record(path)
    assert record.params.as_dict() == result.params
    assert record.experiment.config == result.config
    assert load_record("exp1_30rr", "vllm-cpu-sync-r9").experiment.config == result.config
    other = load_record(path, "vllm-cpu-sync-r3")
    assert other.experiment.name == "vllm-cpu-sync-r3"
    assert other.experiment.config == result.config


def test_sweep_saves_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, data = tmp_path / "t.csv", tmp_path / "t.json"
    args = ["sweep", "exp1_30rr", "--rates", "4", "30", "--max-num-seqs", "8", "--replicas", "2"]
    assert main([*args, "--out", str(table)]) == 0
    assert main([*args, "--out", str(data)]) == 0
    with table.open() as file:
        rows = list(csv.DictReader(file))
    saved = json.loads(data.read_text())["rows"]
    assert [float(row["e2e_p99_s"]) for row in rows] == [row["e2e_p99_s"] for row in saved]
    assert [row["max_num_seqs"] for row in saved] == [8, 8]
    assert "caveat: " in capsys.readouterr().out


def test_capacity_and_export_print(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slo = ["--slo", "p99 ttft <= 0.2", "--replicas", "2", "--max-num-seqs", "8"]
    assert main(["capacity", "exp1_30rr", *slo, "--target-rate", "100"]) == 0
    assert "max_num_seqs 8" in capsys.readouterr().out
    out = tmp_path / "c.yaml"
    assert main(["export", "exp1_30rr", "--out", str(out)]) == 0
    assert out.read_text() == to_yaml(load_record("exp1_30rr"))
    changed = ["--semantics", "blis-2025-07", "--set", "max_num_seqs=9"]
    assert main(["export", "exp1_30rr", *changed, "--format", "command"]) == 0
    assert "--max-num-running-reqs 9 " in capsys.readouterr().out
    coeffs = ",".join(map(repr, LINEAR.coeffs.tolist()))
    explicit = ["--regression-coeffs", coeffs, "--overheads", "0,0,0,2000", "--format", "json"]
    capsys.readouterr()
    assert main(["export", "exp1_30rr", *explicit]) == 0
    assert Parameters.from_mapping(json.loads(capsys.readouterr().out)["params"]) == LINEAR


def test_coefficients_may_begin_with_a_minus(capsys: pytest.CaptureFixture[str]) -> None:
    coeffs = ["-1e-05", *["0"] * 13, ".01"]
    explicit = ["--regression-coeffs", ",".join(coeffs), "--overheads", "0,0,0,0"]
    assert main(["export", "exp1_30rr", *explicit, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["params"]["sum_decode_tokens"] == -1e-05
    for command in (["sweep", "--rates", "500"], ["capacity", "--slo", "p99 ttft <= 1e9"]):
        falling = ",".join(["-1e-02", *["0"] * 13, ".01"])  # 1 decoding request: no time at all
        options = ["--regression-coeffs", falling, "--overheads", "0,0,0,0", "--replicas", "1"]
        assert main([command[0], "exp1_30rr", *command[1:], *options]) == 0
        assert re.search("do not reach as far|parameters that end there", capsys.readouterr().out)


def test_capacity_draws_its_front(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "front.png"
    args = ["capacity", "exp1_30rr", "--replicas", "1", "--max-num-seqs", "8", "16"]
    assert main([*args, "--slo", "p99 ttft <= 0.2", "--plot", str(picture)]) == 0
    assert capsys.readouterr().out.endswith(f"saved: {picture}\n")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main([*args, "--slo", "p99 ttft <= 1us", "--plot", str(picture)]) == 2
    assert main([*args, "--slo", "p99 ttft <= 1e-9", "--plot", str(picture)]) == 2
    assert tells(capsys.readouterr().err, "capacity .. 0")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["export", "exp1_30rr", "--format", "yml"], "'yaml'"),
        (["export", "vllm-cpu-sync-r3"], "baseline"),
        (["export", "exp1_30rr", "--overheads", "1,2,3,4"], "go together"),
        (["sweep", "exp1_30rr", "--rates", "0"], "rate"),
        (["sweep", "exp1_30rr", "--rates", "1", "--replicas", "0"], "--replicas .. 1"),
        (["sweep", "exp1_30rr", "--rates", "1", "--workers", "-1"], "workers >= 0"),
        (["sweep", "exp1_30rr", "--rates", "1", "--out", "x.txt"], "x.txt"),
        (["capacity", "exp1_30rr", "--slo", "p99"], "p99"),
    ],
)
def test_commands_refuse_in_one_line(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == 2
    said = capsys.readouterr().err
    assert tells(said, message)
    assert said.count("\n") == 1
