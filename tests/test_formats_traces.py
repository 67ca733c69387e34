"""Traces of servers: TraceV2, OpenTelemetry spans, LLMServingSim, LMBench.

Oracles: made-up miniatures with arrivals and latencies worked out by hand, and real samples, whose
normalised rows were made from the same files by another program.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pysimbind.config import ServerConfig
from pysimbind.errors import ExperimentError, MissingExtraError
from pysimbind.experiment import Experiment
from pysimbind.formats import load_experiment

from .facts import facts, tells

NAN = float("nan")

TRACE = """\
request_id,slo_class,prefix_group,streaming,input_tokens,output_tokens,server_input_tokens,\
arrival_time_us,send_time_us,first_chunk_time_us,last_chunk_time_us,status,x_request_id
0,a,,true,100,2,98,5,1782183938000000,1782183938250000,1782183938500000,ok,x
1,a,,true,100,2,0,1000005,1782183939500000,1782183939750000,1782183940500000,ok,x
2,a,g,false,100,2,97,500005,1782183939000000,1782183939250000,1782183939250000,ok,x
3,a,,true,100,0,99,2000005,1782183940000000,0,0,error,x
"""
HEADER = "trace_version: 3\ntime_unit: us\nmode: real\nwarm_up_requests: 1\n"
HEADER += "server:\n    type: vllm\n    max_num_seqs: 7\n"


def trace(folder: Path, rows: str = TRACE, header: str | None = HEADER) -> Path:
    (folder / "t.csv").write_text(rows)
    if header is not None:
        (folder / "t.yaml").write_text(header)
    return folder / "t.csv"


def test_tracev2(tmp_path: Path) -> None:
    """Request 2 was sent before 1, and not streamed; 0 is warm-up, 3 failed."""
    pytest.importorskip("yaml", reason="the header needs the extra 'yaml'")
    (tmp_path / "server_config.json").write_text('{"kv_cache_tokens": 1600, "max_seq_len": 99}')
    experiment = load_experiment(trace(tmp_path))
    assert experiment.workload.arrival_s.tolist() == [0, 1.0, 1.5, 2.0]
    assert experiment.workload.input_tokens.tolist() == [98, 97, 100, 99]
    np.testing.assert_array_equal(experiment.ttft, [NAN, NAN, 0.25, NAN])
    np.testing.assert_array_equal(experiment.e2e, [NAN, 0.25, 1.0, NAN])
    told = experiment.provenance
    assert told["server_input_tokens"] == [98, 97, None, 99]
    assert told["client_input_tokens"] == [100, 100, 100, 100]
    np.testing.assert_allclose(told["intended_arrival_s"], [0, 0.5, 1.0, 2.0])
    assert tells(told["warmup"], "1 warm-up .. kept")
    assert "share prefixes" in told["prefixes"]
    assert experiment.config == ServerConfig(max_num_seqs=7, num_gpu_blocks=100, max_model_len=99)
    assert told["server"]["sources"] == {
        "max_num_seqs": "t.yaml",
        "max_model_len": "server_config.json",
        "num_gpu_blocks": "server_config.json: 1600 tokens in blocks of 16",
    }
    by_header = load_experiment(tmp_path / "t.yaml")
    assert by_header == experiment
    dropped = load_experiment(tmp_path / "t.yaml", drop_warmup=True)
    assert dropped.workload.arrival_s.tolist() == [0, 0.5, 1.0]
    np.testing.assert_array_equal(dropped.e2e, [0.25, 1.0, NAN])


def test_tracev2_without_its_header(tmp_path: Path) -> None:
    experiment = load_experiment(trace(tmp_path, header=None))
    np.testing.assert_array_equal(experiment.ttft, [0.25, NAN, 0.25, NAN])
    assert tells(experiment.provenance["header"], "t.yaml")


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (TRACE, HEADER.replace("3", "4"), "t.yaml .. trace_version .. 4 .. (2, 3)"),
        (TRACE, HEADER.replace("us", "ms"), "t.yaml .. time_unit .. 'ms'"),
        (TRACE, HEADER.replace(": 1", ": x"), "t.yaml .. warm_up_requests"),
        (TRACE, "trace_version: [", "t.yaml .. line 1, column 17"),
        (
            TRACE,
            HEADER + "mode: real\n",
            "t.yaml .. line 8, column 1 .. 'mode'",
        ),
        (TRACE.replace("1000005", "x"), HEADER, "t.csv .. line 3 .. arrival_time_us"),
        (TRACE.replace("100,2,97", "1.5,2,97"), HEADER, "line 4 .. input_tokens"),
        (TRACE + "5,a\n", HEADER, "t.csv .. line 6 .. 2 .. 13"),
        (TRACE.split("\n", 1)[0] + "\n\n", None, "format"),
        (TRACE.replace("17821839", "0" * 8)[:-200], None, "13"),
    ],
)
def test_tracev2_errors(tmp_path: Path, rows: str, header: str | None, message: str) -> None:
    pytest.importorskip("yaml", reason="the header needs the extra 'yaml'")
    with pytest.raises(ExperimentError, match=facts(message)):
        load_experiment(trace(tmp_path, rows, header))


def test_tracev2_generated_or_alone(tmp_path: Path) -> None:
    first, *rows = TRACE.splitlines()
    unsent = [",".join([*row.split(",")[:8], "0", *row.split(",")[9:]]) for row in rows]
    path = trace(tmp_path, "\n".join([first, *unsent]), None)
    with pytest.raises(ExperimentError, match=facts("generated trace")):
        load_experiment(path)
    (tmp_path / "alone.yaml").write_text(HEADER)
    with pytest.raises(ExperimentError, match=facts("alone.csv")):
        load_experiment(tmp_path / "alone.yaml")


def test_tracev2_says_which_extra_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(MissingExtraError, match=facts("pysimbind[yaml]")):
        load_experiment(trace(tmp_path))


def span(start_ns: int, **attributes: Any) -> dict[str, Any]:
    kinds = {int: "intValue", float: "doubleValue", str: "stringValue"}
    values = {
        "gen_ai.usage.prompt_tokens": 10,
        "gen_ai.usage.completion_tokens": 3,
        "gen_ai.latency.time_to_first_token": 0.25,
        "gen_ai.latency.e2e": 0.75,
        **{f"gen_ai.{name.replace('__', '.')}": value for name, value in attributes.items()},
    }
    return {
        "name": "llm_request",
        "startTimeUnixNano": str(start_ns),
        "attributes": [
            {"key": k, "value": {kinds[type(v)]: str(v) if isinstance(v, int) else v}}
            for k, v in values.items()
            if v is not None
        ],
    }


def spans(folder: Path, *lines: list[dict[str, Any]]) -> Path:
    path = folder / "traces.json"
    objects = [{"resourceSpans": [{"scopeSpans": [{"spans": line}]}]} for line in lines]
    path.write_text("\n".join(map(json.dumps, objects)))
    return path


def test_otel_spans(tmp_path: Path) -> None:
    """Spans come as they end, several a line or one, and others between."""
    zero = 1_768_918_269_000_000_000
    aborted = span(zero + 2_000_000_000, latency__e2e=None)
    path = spans(
        tmp_path,
        [span(zero + 500_000_000, usage__prompt_tokens=12), {"name": "other"}],
        [span(zero), aborted],
    )
    experiment = load_experiment(path)
    assert experiment.workload.arrival_s.tolist() == [0, 0.5, 2.0]
    assert experiment.workload.input_tokens.tolist() == [10, 12, 10]
    np.testing.assert_array_equal(experiment.ttft, [0.25, 0.25, NAN])
    np.testing.assert_array_equal(experiment.e2e, [0.75, 0.75, NAN])


def test_otel_errors(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=facts("'llm_request'")):
        load_experiment(spans(tmp_path, [{"name": "other"}]))
    bad = span(5, usage__completion_tokens=None)
    where = "line 2 .. resourceSpans[0].scopeSpans[0].spans[0]"
    with pytest.raises(
        ExperimentError, match=facts(f"{where}.attributes.gen_ai.usage.completion_tokens")
    ):
        load_experiment(spans(tmp_path, [span(3)], [bad]))
    bad = span(5) | {"startTimeUnixNano": "now"}
    with pytest.raises(ExperimentError, match=facts(f"{where}.startTimeUnixNano .. nanoseconds")):
        load_experiment(spans(tmp_path, [span(3)], [bad]))


def test_llmservingsim(tmp_path: Path) -> None:
    """The second was queued soonest, so the clocks differ by 1000 - 10.5; the third was aborted."""
    keys = ("arrival_time", "queued_ts", "first_token_ts", "last_token_ts")
    times = [(1000.0, 11.0, 11.5, 12.0), (1001.0, 11.5, 12.0, 13.5), (1002.0, 13.0, None, None)]
    rows = [
        {"input_toks": 5, "output_toks": 2, **dict(zip(keys, row, strict=True))} for row in times
    ]
    path = tmp_path / "requests.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    experiment = load_experiment(path)
    assert experiment.workload.arrival_s.tolist() == [0, 1.0, 2.0]
    np.testing.assert_array_equal(experiment.ttft, [1.0, 0.5, NAN])
    np.testing.assert_array_equal(experiment.e2e, [1.5, 2.0, NAN])
    assert "defaults" in experiment.provenance["config"]
    meta = {"engine_kwargs": {"max_num_seqs": 3}, "kv_cache": {"num_kv_tokens": 320}}
    meta |= {"vllm_version": "0.19.0", "resolved_config": {"cache_config": {"block_size": 32}}}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    known = load_experiment(path).config
    assert known == ServerConfig(
        max_num_seqs=3, block_size=32, num_gpu_blocks=10, async_scheduling=True
    )
    (tmp_path / "meta.json").write_text('{"engine_kwargs": {"max_num_seqs": 0}}')
    with pytest.raises(ExperimentError, match=facts("meta.json .. max_num_seqs .. 1")):
        load_experiment(path)


def test_lmbench(tmp_path: Path) -> None:
    path = tmp_path / "LMBench_x_output_0.5.csv"
    path.write_text(
        "prompt_tokens,generation_tokens,ttft,generation_time,launch_time,finish_time\n"
        "7,3,0.25,0.5,1746153891.0,1746153891.75\n5,2,0.5,0.25,1746153890.0,1746153890.75\n"
    )
    experiment = load_experiment(path)
    assert experiment.name == "LMBench_x_output_0.5"
    assert experiment.workload.arrival_s.tolist() == [0, 1.0]
    assert experiment.workload.input_tokens.tolist() == [5, 7]
    assert experiment.ttft.tolist() == [0.5, 0.25]
    assert experiment.e2e.tolist() == [0.75, 0.75]


def assert_equals(experiment: Experiment, normalised: Path) -> None:
    """Compare with rows that another program made of the same file, at 6 decimals."""
    rows = list(csv.DictReader(normalised.open()))[: experiment.num_requests]
    columns = {
        "arrival_s": experiment.workload.arrival_s,
        "input_tokens": experiment.workload.input_tokens,
        "output_tokens": experiment.workload.output_tokens,
        "ttft_s": experiment.ttft,
        "e2e_s": experiment.e2e,
    }
    for name, values in columns.items():
        np.testing.assert_allclose(values, [float(row[name]) for row in rows], atol=2e-6, rtol=0)


def test_real_samples(shared: Path) -> None:
    formats, real = shared / "data/formats", shared / "data/real"
    runs = json.loads((real / "runs.json").read_text())
    for file, name, log in (
        ("llmservingsim/requests.jsonl", "llmservingsim_rtx4090_llama31-8b", None),
        ("otel/traces.json", "otel_jan20-codellama-prefill-1", "otel/vllm.log"),
        ("tracev2/trace.csv", "residency_sweep_rate_agg_2rps_vanilla", None),
    ):
        server_log = None if log is None else formats / log
        experiment = load_experiment(formats / file, server_log=server_log)
        assert_equals(experiment, real / f"{name}.csv")
        config, told = experiment.config, runs[name]
        assert config.num_gpu_blocks == told["num_gpu_blocks"]
        assert config.max_num_batched_tokens == told["max_num_batched_tokens"]
        assert (config.max_num_seqs, config.block_size) == (told["max_num_seqs"], 16)
        assert config.async_scheduling == (log is None)  # 0.19 and 0.23 are async, 0.11 is not
        assert_equals(load_experiment(real / f"{name}.csv"), real / f"{name}.csv")


def test_real_lmbench(shared: Path) -> None:
    """By the client's own sum: E2E = TTFT + generation time, to the cost of its bookkeeping."""
    path = shared / "data/formats/lmbench/LMBench_sharegpt_output_0.5.csv"
    experiment = load_experiment(path)
    rows = list(csv.DictReader(path.open()))
    both = sorted(
        (float(r["launch_time"]), float(r["ttft"]) + float(r["generation_time"])) for r in rows
    )
    np.testing.assert_allclose(experiment.e2e, [e2e for _, e2e in both], atol=0.01)
