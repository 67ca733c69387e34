"""What other benchmark clients save: SGLang, GuideLLM, AIPerf, the original's printed lists.

Oracles: made-up miniatures in the shape that the clients' sources give them, with arrivals and
latencies worked out by hand; the bundled original experiment for its printed lists.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pysimbind.errors import ExperimentError
from pysimbind.experiment import Experiment
from pysimbind.formats import load_experiment
from pysimbind.vllm.arrivals import sequential_arrivals
from pysimbind.workload import Workload

from .facts import facts, tells

NAN = float("nan")


def written(folder: Path, name: str, *lines: object) -> Path:
    """Write a file of text, or of objects as JSON, one a line."""
    path = folder / name
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n")
    return path


def sglang_run(rate: float, **changes: Any) -> dict[str, Any]:
    return {
        "backend": "sglang",
        "request_rate": rate,
        "max_concurrency": None,
        "completed": 2,
        "total_input_tokens": 60,
        "request_throughput": 1.0,
        "mean_e2e_latency_ms": 500.0,
        "input_lens": [10, 20, 30],
        "output_lens": [3, 0, 2],
        "ttfts": [0.25, 0.0, 0.5],
        "itls": [[0.125, 0.125], [], [0.25]],
        "errors": ["", "Bad Gateway", ""],
        **changes,
    }


def test_sglang_chooses_one_of_several_runs(tmp_path: Path) -> None:
    path = written(tmp_path, "s.jsonl", sglang_run(float("inf")), sglang_run(4.0))
    assert "Infinity" in path.read_text()
    with pytest.raises(ExperimentError, match=facts("2 runs .. inf .. request_rate 4.0")):
        load_experiment(path, arrivals="seed=1")
    second = load_experiment(path, arrivals="seed=1", run=2)
    assert second.workload.arrival_s.tolist() == sequential_arrivals(3, 4.0, seed=1).tolist()
    assert second.workload.input_tokens.tolist() == [10, 20, 30]
    np.testing.assert_array_equal(second.ttft, [0.25, NAN, 0.5])
    np.testing.assert_array_equal(second.e2e, [0.5, NAN, 0.75])
    assert second.provenance["run"] == "2 of 2"
    assert tells(second.provenance["failed"], "1 requests")
    first = load_experiment(path, arrivals="seed=1", run=1)
    assert first.workload.arrival_s.tolist() == [0, 0, 0]
    first.save(tmp_path / "saved.json")
    assert load_experiment(tmp_path / "saved.json") == first
    for run in (0, 3):
        with pytest.raises(ExperimentError, match=facts(f"run {run}")):
            load_experiment(path, arrivals="seed=1", run=run)


def test_sglang_errors(tmp_path: Path) -> None:
    lacking = sglang_run(4.0)
    del lacking["ttfts"]
    path = written(tmp_path, "s.jsonl", sglang_run(4.0), lacking)
    with pytest.raises(ExperimentError, match=facts("s.jsonl .. line 2 .. output-details")):
        load_experiment(path, arrivals="seed=1", run=2)
    with pytest.raises(ExperimentError, match=facts("line 1 .. start_times")):
        load_experiment(path, run=1)
    path = written(tmp_path, "s.jsonl", sglang_run(4.0), '{"backend": ')
    with pytest.raises(ExperimentError, match=facts("s.jsonl .. line 3 .. column 1 .. JSON")):
        load_experiment(path, arrivals="seed=1")


def guide_request(start_s: float, **changes: Any) -> dict[str, Any]:
    return {
        "request_start_time": start_s,
        "request_latency": 0.75,
        "time_to_first_token_ms": 250.0,
        "prompt_tokens": 11,
        "output_tokens": 3,
        "cached_tokens": 8,
        "info": {"timings": {"targeted_start": start_s - 0.125}},
        **changes,
    }


def guide_report(*requests: dict[str, Any], **changes: Any) -> dict[str, Any]:
    cut = guide_request(1001.5, request_latency=None, time_to_first_token_ms=None)
    run = {
        "config": {"strategy": {"type_": "constant", "rate": 2.0}},
        "requests": {
            "successful": list(requests),
            "incomplete": [cut | {"output_tokens": None, "cached_tokens": None}],
            "errored": [],
            "total": None,
        },
        **changes,
    }
    return {"metadata": {}, "benchmarks": [run]}


def test_guidellm(tmp_path: Path) -> None:
    """Requests are saved as they completed, here not as they were sent."""
    report = guide_report(guide_request(1001.0), guide_request(1000.5, prompt_tokens=7))
    experiment = load_experiment(written(tmp_path, "b.json", report))
    assert experiment.workload.arrival_s.tolist() == [0, 0.5, 1.0]
    assert experiment.workload.input_tokens.tolist() == [7, 11, 11]
    assert experiment.workload.output_tokens.tolist() == [3, 3, 0]
    np.testing.assert_array_equal(experiment.ttft, [0.25, 0.25, NAN])
    np.testing.assert_array_equal(experiment.e2e, [0.75, 0.75, NAN])
    assert experiment.provenance["intended_arrival_s"] == [-0.125, 0.375, 0.875]
    assert experiment.provenance["cached_tokens"] == [8, 8, None]
    assert experiment.provenance["run"] == "constant rate 2.0"


def test_guidellm_of_2025(tmp_path: Path) -> None:
    """Other names, no targeted starts; of a sweep one run is chosen."""
    old = guide_request(5.0)
    old["start_time"] = old.pop("request_start_time")
    del old["info"], old["cached_tokens"]
    report = guide_report(old)
    report["benchmarks"] *= 2
    path = written(tmp_path, "b.json", report)
    with pytest.raises(ExperimentError, match=facts("2 runs")):
        load_experiment(path)
    experiment = load_experiment(path, run=2)
    np.testing.assert_array_equal(experiment.ttft, [0.25, NAN])


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (
            guide_report(guide_request(1.0, prompt_tokens=None)),
            "benchmarks[0].requests.successful[0].prompt_tokens",
        ),
        (
            guide_report(guide_request(1.0, request_latency="x")),
            "successful[0].request_latency .. 'x'",
        ),
        (
            guide_report(guide_request(1.0), request_totals={"successful": 9}),
            "1 of 9",
        ),
        (
            guide_report(guide_request(1.0), metrics={"request_totals": {"incomplete": 2}}),
            "1 of 2",
        ),
        ({"benchmarks": []}, "benchmarks"),
        ({"benchmarks": [{"requests": {}}]}, "requests"),
    ],
)
def test_guidellm_errors(tmp_path: Path, report: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=facts(message)):
        load_experiment(written(tmp_path, "b.json", report))


def aiperf_record(start_ns: int, **changes: Any) -> dict[str, Any]:
    metadata = {"request_start_ns": start_ns, "benchmark_phase": "profiling"}
    metrics = {
        "input_sequence_length": {"value": 50, "unit": "tokens"},
        "output_sequence_length": {"value": 9, "unit": "tokens"},
        "time_to_first_token": {"value": 250.0, "unit": "ms"},
        "request_latency": {"value": 5e8, "unit": "ns"},
    }
    return {"metadata": metadata, "metrics": metrics, "error": None, **changes}


def test_aiperf(tmp_path: Path) -> None:
    second = 1_759_813_207_000_000_000  # beyond the whole numbers that a float holds
    warm = aiperf_record(second)
    warm["metadata"]["benchmark_phase"] = "warmup"
    good = aiperf_record(second + 500_000_000)
    good["metrics"]["usage_prompt_tokens"] = {"value": 52, "unit": "tokens"}
    good["metrics"]["usage_prompt_cache_read_tokens"] = {"value": 16, "unit": "tokens"}
    failed = aiperf_record(second + 250_000_000, metrics={"error_isl": {"value": 5}}, error={})
    for record in (warm, good, failed):
        start = record["metadata"]["request_start_ns"]
        record["metadata"]["credit_issued_ns"] = start - 1_000_000
    path = written(tmp_path, "profile_export.jsonl", warm, good, failed)
    experiment = load_experiment(path)
    np.testing.assert_allclose(experiment.workload.arrival_s, [0, 0.25, 0.5], atol=1e-12)
    assert experiment.workload.input_tokens.tolist() == [50, 5, 52]
    assert experiment.workload.output_tokens.tolist() == [9, 0, 9]
    np.testing.assert_allclose(experiment.ttft, [NAN, NAN, 0.25])
    np.testing.assert_allclose(experiment.e2e, [NAN, NAN, 0.5])
    told = experiment.provenance
    assert told["server_input_tokens"] == [None, None, 52]
    assert told["client_input_tokens"] == [50, 5, 50]
    assert told["cached_tokens"] == [None, None, 16]
    np.testing.assert_allclose(told["intended_arrival_s"], [-0.001, 0.249, 0.499])
    assert tells(told["warmup"], "1 warm-up .. kept")
    assert tells(told["failed"], "1 requests failed")
    rest = load_experiment(path, drop_warmup=True)
    np.testing.assert_allclose(rest.workload.arrival_s, [0, 0.25], atol=1e-12)
    assert tells(rest.provenance["warmup"], "1 warm-up .. left out")


def test_aiperf_errors(tmp_path: Path) -> None:
    bad = aiperf_record(3)
    bad["metrics"]["time_to_first_token"]["unit"] = "min"
    path = written(tmp_path, "p.jsonl", aiperf_record(1), bad)
    with pytest.raises(
        ExperimentError, match=facts("line 2 .. metrics.time_to_first_token.unit .. 'min'")
    ):
        load_experiment(path)
    del bad["metrics"]["time_to_first_token"], bad["metrics"]["output_sequence_length"]
    path = written(tmp_path, "p.jsonl", aiperf_record(1), bad)
    with pytest.raises(ExperimentError, match=facts("line 2 .. output token count")):
        load_experiment(path)
    bad["metrics"]["output_sequence_length"] = {"value": 1e300, "unit": "tokens"}
    path = written(tmp_path, "p.jsonl", aiperf_record(1), bad)
    with pytest.raises(ExperimentError, match=facts("line 2 .. output token count")):
        load_experiment(path)


def printed(ttft: Any, e2e: Any, tpot: Any = ()) -> list[str]:
    """Return what the patched benchmark prints."""
    lines = ["============ Serving Benchmark Result ============"]
    for name, values in (("TTFTs", ttft), ("e2els", e2e), ("TPOTs", tpot)):
        if len(values):
            lines += [f"{name}: [", "".join(f"{float(v)!r}, " for v in values) + "]"]
    return [*lines, "Mean TTFT (ms): 12.3"]


def test_printed_lists_of_the_original_experiment(tmp_path: Path) -> None:
    original = load_experiment("exp1_30rr")
    path = written(tmp_path, "out.txt", *printed(original.ttft, original.e2e))
    experiment = load_experiment(path, workload="exp1_30rr")
    assert experiment.workload == original.workload
    assert experiment.caveat == original.caveat
    np.testing.assert_array_equal(experiment.ttft, original.ttft)
    np.testing.assert_array_equal(experiment.e2e, original.e2e)
    drawn = load_experiment(path, workload="exp1_30rr", arrivals="seed=42,rate=30")
    expected = sequential_arrivals(100, 30, seed=42)
    assert drawn.workload.arrival_s.tolist() == expected.tolist()
    assert drawn.workload.output_tokens.tolist() == original.workload.output_tokens.tolist()


def test_printed_lists_beside_the_tokenised_workload(tmp_path: Path) -> None:
    """The pair that the original experiment left: its output, and conversations of token ids."""
    said = [{"from": "human", "value": [5, 6, 7]}, {"from": "gpt", "value": [8, 9]}]
    entries = [
        {"id": "a", "conversations": said, "arrivalDelta": 0},
        {"id": "b", "conversations": said, "arrivalDelta": 250_000},
    ]
    workload = written(tmp_path, "tokens.json", json.dumps(entries))
    path = written(tmp_path, "out.txt", *printed([0.5, 0.25], [1.0, 2.0]))
    experiment = load_experiment(path, workload=workload)
    assert experiment.workload.arrival_s.tolist() == [0, 0.25]
    assert experiment.workload.input_tokens.tolist() == [3, 3]
    assert experiment.workload.output_tokens.tolist() == [2, 2]
    assert experiment.workload.prompt_ids is not None
    assert experiment.e2e.tolist() == [1, 2]
    short = written(tmp_path, "short.json", json.dumps(entries[:1]))
    with pytest.raises(ExperimentError, match=facts("2 requests .. 1")):
        load_experiment(path, workload=short)


def read_printed(folder: Path, *lines: str, **options: Any) -> Experiment:
    workload = Workload([0, 1], [4, 5], [1, 3], prompt_token_ids=[range(4), range(5)])
    return load_experiment(written(folder, "out.txt", *lines), **{"workload": workload, **options})


def test_printed_times_per_token(tmp_path: Path) -> None:
    """E2E = TTFT + TPOT x (tokens - 1); token ids and all else of the workload are kept."""
    experiment = read_printed(tmp_path, *printed([0.5, 0.25], [], [7.0, 0.125]))
    assert experiment.e2e.tolist() == [0.5, 0.5]
    assert experiment.workload.prompt_ids is not None
    again = read_printed(tmp_path, *printed([0.5, 0.25], [1, 2]), arrivals="seed=1,rate=2")
    assert again.e2e.tolist() == [1, 2]
    assert again.workload.prompt_ids is not None
    twice = read_printed(tmp_path, *printed([0.5, 0.25], [1, 2]), *printed([1, 2], [3, 4]), run=2)
    assert twice.ttft.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["TTFTs: [0.5, 0.25"], "out.txt .. line 1 .. TTFTs"),
        (["x", "TTFTs: [0.5, y]"], "line 2 .. TTFTs .. 'y'"),
        (["TTFTs: [0.5, 0.25]"], "1 .. TTFTs .. 0 .. e2els .. TPOTs"),
        (["TTFTs: [0.5, 1]", "e2eLs: [1]"], "2 TTFTs .. 1 e2els"),
        (["TTFTs: [0.5]", "e2els: [1]"], "1 requests .. 2"),
        (["TTFTs: [0.5, -1]", "e2els: [1, 1]"], "ttft .. request 1 .. -1.0"),
    ],
)
def test_printed_errors(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(ExperimentError, match=facts(message)) as caught:
        read_printed(tmp_path, *lines)
    assert str(caught.value).startswith(str(tmp_path))


def test_printed_lists_need_a_workload(tmp_path: Path) -> None:
    lines = printed([0.5, 0.25], [1, 2])
    with pytest.raises(ExperimentError, match=facts("workload=FILE")):
        read_printed(tmp_path, *lines, workload=None)
    lengths = written(tmp_path, "lengths.csv", "input_tokens,output_tokens", "4,1", "5,3")
    with pytest.raises(ExperimentError, match=facts("arrivals=seed=S")):
        read_printed(tmp_path, *lines, workload=lengths)
    drawn = read_printed(tmp_path, *lines, workload=lengths, arrivals="seed=1,rate=2")
    assert drawn.workload.output_tokens.tolist() == [1, 3]
    alone = {"arrival_s": [0, 2], "input_tokens": [4, 5], "output_tokens": [1, 3]}
    plain = read_printed(tmp_path, *lines, workload=written(tmp_path, "w.json", alone))
    assert plain.workload == Workload([0, 2], [4, 5], [1, 3])
    with pytest.raises(ExperimentError, match=facts("'exp1'")):
        read_printed(tmp_path, *lines, workload="exp1")
