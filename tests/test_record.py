"""Records: which parameters, requests and server a command predicts from.

Oracles: the fits and files that the records are made of.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pysimbind import FitResult, InputError, ParameterError, load_experiment
from pysimbind.cli import main
from pysimbind.cli._scenario import read_parameters
from pysimbind.config import ServerConfig
from pysimbind.fit import fit
from pysimbind.plan.record import load_record
from tests.planted import TRUTH, planted

from .facts import facts, tells

TABLE = "input_tokens,output_tokens,t,e2e_s\n9,1,20,0.5\n8,2,30,0.75\n"
READING = {"columns": "ttft=t:ms", "arrivals": "seed=1,rate=2"}
WORDS = ["--columns", READING["columns"], "--arrivals", READING["arrivals"]]


@pytest.fixture(scope="module")
def result() -> FitResult:
    few = ServerConfig(max_num_seqs=8)
    return fit(planted("mine", requests=60, config=few), model="small", max_evals=30)


def test_a_fit_brings_its_model_and_server(result: FitResult, tmp_path: Path) -> None:
    path = str(tmp_path / "r.json")
    result.save(path)
    record = load_record(path, "vllm-cpu-sync-r3")
    assert record.params == result.parameters
    assert record.experiment.config == result.config
    assert record.experiment.workload == load_experiment("vllm-cpu-sync-r3").workload
    with pytest.raises(InputError, match=facts("mine")):
        load_record(path)


def test_a_fit_to_several_runs_asks_whose_requests(tmp_path: Path) -> None:
    """Where the runs met different servers, the requests bring their own."""
    runs = [planted("a", config=ServerConfig(max_num_seqs=8)), planted("b")]
    path = str(tmp_path / "r.json")
    fit(runs, model="small", max_evals=30).save(path)
    with pytest.raises(InputError, match=facts("2 runs .. (a, b)")):
        load_record(path)
    own = load_experiment("vllm-cpu-sync-r3")
    assert load_record(path, "vllm-cpu-sync-r3").experiment.config == own.config


def test_a_table_is_read_with_the_options_that_it_needs(
    result: FitResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, saved = tmp_path / "t.csv", tmp_path / "r.json"
    table.write_text(TABLE)
    result.save(saved)
    given = load_record(str(saved), str(table), **READING).experiment
    assert given.workload == load_experiment(table, **READING).workload
    assert main(["sweep", str(saved), "--experiment", str(table), *WORDS, "--rates", "2"]) == 0
    capsys.readouterr()
    assert main(["sweep", str(saved), "--experiment", str(table), "--rates", "2"]) == 2
    assert tells(capsys.readouterr().err, "columns=arrival=NAME")


def test_a_table_with_parameters_from_elsewhere(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text(TABLE)
    record = load_record(str(table), params=TRUTH, **READING, server_args="--max-num-seqs 3")
    assert record.params == TRUTH
    assert record.experiment.config.max_num_seqs == 3


def test_what_was_exported_is_read_back(result: FitResult, tmp_path: Path) -> None:
    saved, exported = tmp_path / "r.json", tmp_path / "p.json"
    result.save(saved)
    words = ["--experiment", "vllm-cpu-sync-r3", "--format", "json", "--out", str(exported)]
    assert main(["export", str(saved), *words]) == 0
    assert read_parameters(str(exported)) == result.parameters
    with pytest.raises(ParameterError, match=facts("p.json")):
        read_parameters(str(exported), "quadratic15")


def test_parameters_of_any_model(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps(TRUTH.as_dict()))
    assert read_parameters(str(path), "small") == TRUTH
    with pytest.raises(ParameterError, match=facts("'out'")):
        read_parameters(str(path))
