"""Measurement formats.

Oracles: a made-up miniature of a ``vllm bench serve`` result whose arrivals and latencies are
worked out by hand, real results of that program, and the documented schema of the package's files.
"""

from __future__ import annotations

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pysimbind.config import ServerConfig
from pysimbind.errors import ExperimentError
from pysimbind.experiment import Experiment
from pysimbind.formats import (
    FORMATS,
    ReadOptions,
    Source,
    canonical,
    format_of,
    load_experiment,
    read_experiment,
)
from pysimbind.parameters import NAMES
from pysimbind.vllm.arrivals import rescaled_arrivals, sequential_arrivals

from .facts import facts, tells

MINIATURE = Path(__file__).parent / "data/vllm_bench_detailed.json"
NAN = float("nan")


def canonical_example() -> dict[str, Any]:
    return {
        "schema": "pysimbind-experiment",
        "version": 1,
        "name": "example",
        "config": {"block_size": 32},
        "workload": {"arrival_s": [0, 0.5], "input_tokens": [3, 4], "output_tokens": [1, 2]},
        "measured": {"ttft_s": [0.25, None], "e2e_s": [0.25, None]},
        "sources": {"output_tokens": ["exact", "estimated"]},
        "baseline": dict.fromkeys(NAMES, 0.5),
        "bounds": {"box": {name: [0, 1] for name in NAMES}},
        "trials": {"parameters": list(NAMES), "x": [[0.5] * len(NAMES)], "loss": [7]},
        "provenance": {"anything": ["goes"]},
    }


def load(tmp_path: Path, obj: object, config: ServerConfig | None = None) -> Experiment:
    path = tmp_path / "file.json"
    path.write_text(json.dumps(obj))
    return load_experiment(path, config)


def edited(obj: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """Return a copy with the dotted key set, or removed if ``value`` is ``...``."""
    obj = copy.deepcopy(obj)
    *path, last = key.split(".")
    at = obj
    for step in path:
        at = at[step]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return obj


def test_canonical_as_documented(tmp_path: Path) -> None:
    experiment = load(tmp_path, canonical_example())
    assert experiment.name == "example"
    assert experiment.config == ServerConfig(block_size=32)
    assert experiment.workload.arrival_s.tolist() == [0, 0.5]
    assert experiment.workload.input_tokens.tolist() == [3, 4]
    assert experiment.workload.output_tokens.tolist() == [1, 2]
    np.testing.assert_array_equal(experiment.ttft, [0.25, NAN])
    np.testing.assert_array_equal(experiment.e2e, [0.25, NAN])
    assert experiment.input_source == ("exact", "exact")
    assert experiment.output_source == ("exact", "estimated")
    assert experiment.baseline is not None
    assert experiment.baseline["intercept"] == 0.5
    assert experiment.bounds["box"].upper.tolist() == [1] * len(NAMES)
    assert experiment.trials is not None
    assert experiment.trials.loss.tolist() == [7]
    assert experiment.provenance["anything"] == ["goes"]
    assert load(tmp_path, canonical_example(), ServerConfig()).config == ServerConfig()


def test_canonical_optional_parts(tmp_path: Path) -> None:
    obj = canonical_example()
    for key in ("sources", "baseline", "bounds", "trials", "provenance"):
        del obj[key]
    experiment = load(tmp_path, obj)
    assert (experiment.baseline, experiment.trials) == (None, None)
    assert (dict(experiment.bounds), dict(experiment.provenance)) == ({}, {})
    assert experiment.caveat == ""
    assert canonical.from_json(experiment.as_dict(), "again") == experiment


@pytest.mark.parametrize(("value", "limit"), [(..., None), (None, None), (3, 3)])
def test_canonical_max_concurrency(tmp_path: Path, value: object, limit: int | None) -> None:
    obj = canonical_example()
    if value is not ...:
        obj = edited(obj, "workload.max_concurrency", value)
    experiment = load(tmp_path, obj)
    assert experiment.workload.max_concurrency == limit
    again = experiment.as_dict()
    assert again["workload"].get("max_concurrency") == limit
    assert canonical.from_json(again, "again") == experiment


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", 2, "version .. 2 .. 1"),
        ("version", ..., "version"),
        ("name", ..., "name"),
        ("name", 5, "name"),
        ("workloads", {}, "workloads .. 'workload'"),
        ("config", ..., "config"),
        ("config", [], "config .. []"),
        ("config.blocksize", 16, "'blocksize' .. 'block_size'"),
        ("config.block_size", 0, "block_size"),
        ("workload", [], "workload"),
        ("workload.arrivals_s", [], "workload.arrivals_s .. 'arrival_s'"),
        ("workload.arrival_s", [0.5, 0], "arrival_s .. request 1"),
        ("workload.arrival_s", [0.5, None], "workload.arrival_s[1]"),
        ("workload.arrival_s", [0.5, NAN], "arrival_s[1]"),
        ("workload.arrival_s", [0.5, 10**400], "arrival_s[1]"),
        (
            "workload",
            {"arrival_s": [], "input_tokens": [], "output_tokens": []},
            "one request",
        ),
        ("workload.arrival_s", 5, "workload.arrival_s"),
        ("workload.input_tokens", [3], "workload.input_tokens .. 1 .. 2"),
        ("workload.input_tokens", [3, 4.0], "input_tokens[1] .. 4.0"),
        ("workload.input_tokens", [3, 2**63], "input_tokens[1] .. 9223372036854775807"),
        ("workload.input_tokens", [3, -4], "input_tokens[1]"),
        ("workload.output_tokens", [3, True], "output_tokens[1]"),
        ("workload.max_concurrency", 0, "max_concurrency .. 1 .. 0"),
        ("workload.max_concurrency", 2.0, "max_concurrency .. 2.0"),
        ("workload.max_concurrncy", 2, "'max_concurrency'"),
        ("workload.strict", "no", "workload.strict"),
        ("workload.prompt_token_ids", [[1, 2, 3], [1]], "request 1 .. 1 ids .. 4"),
        ("workload.prompt_token_ids", [[1, 2, 3]], "prompt_token_ids .. 1"),
        ("measured.ttft_s", ..., "measured.ttft_s"),
        ("measured.ttft_s", [0.5, "x"], "measured.ttft_s[1] .. 'x'"),
        ("measured.e2e_s", [0.5, -1], "e2e .. request 1 .. -1.0"),
        ("measured.e2es", [1], "measured.e2es .. 'e2e_s'"),
        ("sources.output_tokens", "guess", "sources.output_tokens .. exact .. 'guess'"),
        ("sources.output_tokens", ["exact", "x"], "sources.output_tokens[1] .. 'x'"),
        ("sources.output_tokens", ["exact"], "sources.output_tokens .. 1"),
        ("sources.inputs", "exact", "sources.inputs .. 'input_tokens'"),
        ("baseline", 5, "baseline"),
        ("baseline.intercept", "x", "baseline.intercept .. 'x'"),
        ("baseline.intercept", ..., "'intercept' .. missing"),
        ("baseline.intercpt", 1, "'intercpt' .. 'intercept'"),
        ("bounds", [], "bounds"),
        ("bounds.box", 5, "bounds.box .. 5"),
        ("bounds.box.intercept", [1, "y"], "bounds.box.intercept[1] .. 'y'"),
        ("bounds.box.intercept", [1], "bounds.box.intercept .. 2 .. [1]"),
        ("bounds.box.intercept", [1, 0], "bounds.box .. 'intercept' .. 1"),
        ("trials.x", [[1.0]], "trials.x[0] .. 1 .. 19"),
        ("trials.x", [5], "trials.x[0]"),
        ("trials.x", [[None] * 19], "trials.x[0][0]"),
        ("trials.loss", [1, 2], "trials.x .. 1 .. 2"),
        ("trials.parameters", ["a"], "trials.parameters"),
        ("trials.note", 3, "trials.note"),
        ("provenance", "me", "provenance"),
    ],
)
def test_canonical_errors(tmp_path: Path, key: str, value: object, message: str) -> None:
    with pytest.raises(ExperimentError, match=facts(message)) as caught:
        load(tmp_path, edited(canonical_example(), key, value))
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'file.json'}: ")
    assert text.count("file.json") == 1
    assert "\n" not in text


def test_vllm_bench_miniature() -> None:
    """Requests 1, 3, 0, 2, 4 in order of their start; 2 failed, 4 got no first token."""
    experiment = load_experiment(MINIATURE)
    assert experiment.name == "vllm_bench_detailed"
    assert experiment.workload.arrival_s.tolist() == [0, 0.25, 0.5, 1.0, 2.0]
    assert experiment.workload.input_tokens.tolist() == [20, 40, 10, 30, 50]
    assert experiment.workload.output_tokens.tolist() == [1, 4, 3, 0, 2]
    np.testing.assert_array_equal(experiment.ttft, [0.25, 0.125, 0.5, NAN, NAN])
    np.testing.assert_array_equal(experiment.e2e, [0.25, 0.625, 1.25, NAN, NAN])
    assert experiment.config == ServerConfig()
    assert experiment.caveat == ""
    assert experiment.provenance["request_rate"] == 4.0
    assert tells(experiment.provenance["failed"], "1 requests")
    assert "defaults are assumed" in experiment.provenance["config"]
    config = ServerConfig(max_num_seqs=2)
    given = load_experiment(MINIATURE, config=config)
    assert given.config == config
    assert "config" not in given.provenance


def miniature() -> dict[str, Any]:
    obj: dict[str, Any] = json.loads(MINIATURE.read_text())
    return obj


def test_vllm_bench_replays_the_sends_of_a_limited_client_in_open_loop(tmp_path: Path) -> None:
    """The start times hold the client's limit already."""
    plain = load(tmp_path, miniature() | {"max_concurrency": None})
    assert "max_concurrency" not in plain.provenance
    limited = load(tmp_path, miniature() | {"max_concurrency": 2, "request_rate": "inf"})
    assert limited.workload == plain.workload
    assert limited.workload.max_concurrency is None
    assert limited.provenance["max_concurrency"] == 2
    assert limited.provenance["request_rate"] == "inf"
    assert "open loop" in limited.provenance["arrivals"]


def test_vllm_bench_latencies_win_over_gaps(tmp_path: Path) -> None:
    obj = miniature() | {"latencies": [1.0, 2.0, 0.0, 4.0, 5.0]}
    np.testing.assert_array_equal(load(tmp_path, obj).e2e, [2.0, 4.0, 1.0, NAN, NAN])
    del obj["itls"]
    np.testing.assert_array_equal(load(tmp_path, obj).e2e, [2.0, 4.0, 1.0, NAN, NAN])


def test_vllm_bench_requests_never_sent_are_left_out(tmp_path: Path) -> None:
    obj = miniature()
    obj["start_times"][2] = 0.0
    experiment = load(tmp_path, obj)
    assert experiment.workload.arrival_s.tolist() == [0, 0.25, 0.5, 2.0]
    assert "1 requests were never sent" in experiment.provenance["unsent"]
    obj["start_times"], obj["errors"] = [0.0] * 5, ["refused"] * 5
    with pytest.raises(ExperimentError, match=facts("no request")):
        load(tmp_path, obj)


def test_vllm_bench_tolerates_nan_only_where_unused(tmp_path: Path) -> None:
    experiment = load(tmp_path, miniature() | {"duration": NAN, "mean_ttft_ms": float("inf")})
    experiment.save(tmp_path / "canonical.json")
    assert load_experiment(tmp_path / "canonical.json") == experiment
    with pytest.raises(ExperimentError, match=facts("ttfts[4] .. nan")):
        load(tmp_path, miniature() | {"ttfts": [0.1, 0.1, 0.1, 0.1, NAN]})


def test_vllm_bench_old_files_have_no_errors_key(tmp_path: Path) -> None:
    obj = miniature()
    del obj["errors"]
    np.testing.assert_array_equal(load(tmp_path, obj).ttft, [0.25, 0.125, 0.5, NAN, NAN])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            dict.fromkeys(
                ("input_lens", "output_lens", "ttfts", "itls", "start_times", "errors"), ...
            ),
            "summary .. --save-detailed",
        ),
        (
            {"start_times": ...},
            "start_times .. arrivals=seed=S,rate=R",
        ),
        ({"input_lens": ...}, "input_lens"),
        ({"output_lens": ...}, "output_lens"),
        ({"itls": ...}, "itls"),
        ({"ttfts": [0.1] * 4}, "ttfts .. 4 .. 5"),
        ({"errors": [""]}, "errors .. 1 .. 5"),
        ({"input_lens": [1, 2, 3, 4, 5.5]}, "input_lens[4] .. 5.5"),
        ({"output_lens": [1, 2, 3, 4, -5]}, "output_lens[4]"),
        ({"itls": [[], [], [], [], ["x"]]}, "itls[4][0] .. 'x'"),
        ({"itls": [[], [], [], [], 3]}, "itls[4] .. 3"),
        ({"start_times": [1, 2, 3, 4, None]}, "start_times[4]"),
        ({"start_times": "now"}, "start_times .. 'now'"),
        ({"ttfts": [0.1, 0.1, 0.1, -0.1, 0.1]}, "ttft .. request 1 .. -0.1"),
    ],
)
def test_vllm_bench_errors(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    obj = miniature()
    for key, value in change.items():
        obj = edited(obj, key, value)
    with pytest.raises(ExperimentError, match=facts(message)) as caught:
        load(tmp_path, obj)
    assert str(caught.value).startswith(f"{tmp_path / 'file.json'}: ")
    assert "\n" not in str(caught.value)


def test_vllm_bench_real_results(recorded: Path) -> None:
    """The program's own totals and means agree with what is read."""
    for path in sorted((recorded / "vllm_cpu").glob("*.json")):
        if path.name.count(".") > 1:
            continue  # the companions NAME.meta.json and the like
        raw = json.loads(path.read_text())
        experiment = load_experiment(path)
        assert experiment.num_requests == raw["num_prompts"]
        assert experiment.workload.input_tokens.sum() == raw["total_input_tokens"]
        assert experiment.workload.output_tokens.sum() == raw["total_output_tokens"]
        assert experiment.workload.arrival_s[0] == 0
        assert 1e3 * np.nanmean(experiment.ttft) == pytest.approx(raw["mean_ttft_ms"])
        assert 1e3 * np.nanmean(experiment.e2e) == pytest.approx(raw["mean_e2el_ms"])


def test_the_gaps_of_real_results_add_up_to_the_latencies(recorded: Path, tmp_path: Path) -> None:
    raw = json.loads((recorded / "vllm_cpu/Q_sync_r3.json").read_text())
    with_latencies = load(tmp_path, raw).e2e
    del raw["latencies"]
    np.testing.assert_allclose(load(tmp_path, raw).e2e, with_latencies, atol=2e-3)


def test_vllm_bench_draws_arrivals_where_there_are_none(tmp_path: Path) -> None:
    """The client's generators; a limited client's intended times are limited when replayed."""
    obj = edited(miniature(), "start_times", ...)
    path = tmp_path / "file.json"
    path.write_text(json.dumps(obj))
    drawn = load_experiment(path, arrivals="seed=3")  # rate and burstiness are in the file
    assert drawn.workload.arrival_s.tolist() == sequential_arrivals(5, 4.0, seed=3).tolist()
    assert drawn.workload.input_tokens.tolist() == [10, 20, 30, 40, 50]
    np.testing.assert_array_equal(drawn.ttft, [0.5, 0.25, NAN, 0.125, NAN])
    assert drawn.workload.max_concurrency is None
    assert tells(drawn.provenance["arrivals"], "seed 3 .. rate 4")
    path.write_text(json.dumps(obj | {"max_concurrency": 2}))
    text = "seed=3, rate=8, burstiness=0.5, generator=rescaled"
    rescaled = load_experiment(path, arrivals=text).workload
    expected = rescaled_arrivals(5, 8.0, burstiness=0.5, seed=3)
    np.testing.assert_allclose(rescaled.arrival_s, expected - expected[0], atol=1e-12)
    assert rescaled.max_concurrency == 2


@pytest.mark.parametrize(
    ("arrivals", "message"),
    [
        ("rate=2", "arrivals=rate=2 .. seed"),
        ("seed=1,speed=2", "'speed' .. 'seed'"),
        ("seed=1,seed=2", "seed .. twice"),
        ("seed=x", "seed .. 'x'"),
        ("seed=1,rate=-2", "request_rate"),
        ("seed=1,generator=rescale", "'rescale' .. 'rescaled'"),
    ],
)
def test_bad_arrivals(tmp_path: Path, arrivals: str, message: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(json.dumps(edited(miniature(), "start_times", ...)))
    with pytest.raises(ExperimentError, match=facts(message)) as caught:
        load_experiment(path, arrivals=arrivals)
    assert str(caught.value).startswith(f"{path}: arrivals=")


def test_options_without_effect_are_refused() -> None:
    with pytest.raises(ExperimentError, match=facts("start_times")):
        load_experiment(MINIATURE, arrivals="seed=1")
    with pytest.raises(ExperimentError, match=facts("columns")):
        load_experiment(MINIATURE, columns="ttft=x")
    with pytest.raises(ExperimentError, match=facts("run .. SGLang bench_serving")):
        load_experiment("exp1_30rr", run=1)
    with pytest.raises(ExperimentError, match=facts("server_args .. config")):
        load_experiment(MINIATURE, ServerConfig(), server_args="--max-num-seqs 3")
    with pytest.raises(ExperimentError, match=facts("'arrival' .. 'arrivals'")):
        load_experiment(MINIATURE, arrival="seed=1")


def test_settings_of_the_server_are_merged_and_cited(tmp_path: Path) -> None:
    """settings > server_args > server_log > the file."""
    log = tmp_path / "vllm.log"
    log.write_text("GPU KV cache size: 3,200 tokens\nnon-default args: {'max_num_seqs': 5}\n")
    experiment = load_experiment(
        MINIATURE,
        server_log=log,
        server_args="vllm serve M --max-num-seqs 6 --block-size 32 --watermark 0.1",
        settings={"watermark": 0.2},
    )
    assert experiment.config == ServerConfig(
        max_num_seqs=6, block_size=32, num_gpu_blocks=100, watermark=0.2
    )
    report = experiment.provenance["server"]
    assert report["sources"] == {
        "max_num_seqs": "server_args",
        "block_size": "server_args",
        "watermark": "settings",
        "num_gpu_blocks": "vllm.log: 3200 tokens in blocks of 32",
    }
    assert report["assumed"]["max_num_batched_tokens"] == 2048
    assert "max_num_batched_tokens=2048" in experiment.provenance["config"]
    with pytest.raises(ExperimentError, match=facts("settings .. 'seqs'")):
        load_experiment(MINIATURE, settings={"seqs": 3})
    bundled = load_experiment("exp1_30rr", settings={"max_num_seqs": 3})
    assert bundled.config == load_experiment("exp1_30rr").config.replace(max_num_seqs=3)
    assert bundled.provenance["server"]["sources"]["max_num_seqs"] == "settings"
    pool = load_experiment(MINIATURE, server_log=log, settings={"kv_cache_tokens": 1600})
    assert pool.config.num_gpu_blocks == 100
    with pytest.raises(ExperimentError, match=facts("kv_cache_tokens .. num_gpu_blocks")):
        load_experiment(MINIATURE, settings={"kv_cache_tokens": 1600, "num_gpu_blocks": 100})


def test_the_page_lists_the_formats_and_their_options(root: Path) -> None:
    page = (root / "docs" / "formats.md").read_text("utf-8")
    lines = page.split("## What is read\n\n")[1].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [re.findall(r"`(\w+)`", row[-1]) for row in rows] == [list(f.options) for f in FORMATS]
    for row, each in zip(rows, FORMATS, strict=True):
        assert set(each.name.split()) <= set(row[0].replace("`", "").split())


def test_one_format_claims_a_file(tmp_path: Path) -> None:
    """Other formats may, but come later: a benchmark's file has SGLang's keys or vLLM's."""
    for name, text in (
        ("pysimbind experiment", json.dumps(canonical_example())),
        ("vllm bench serve --save-detailed", MINIATURE.read_text()),
    ):
        source = Source(text.encode(), "file.json")
        assert [each.name for each in FORMATS if each.detect(source)] == [name]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("e.json", b"", "e.json: the file is empty"),
        ("e.csv", b" \n", "e.csv: the file is empty"),
        ("t.csv", b"arrival_s,ttft_s\n", "CSV: column names in the first line, commas between"),
        (
            "t.csv",
            b"arrival_s;ttft_s\n0;1\n",
            "CSV: column names in the first line, commas between",
        ),
    ],
)
def test_files_with_nothing_to_read(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ExperimentError, match=re.escape(message)):
        load_experiment(path)


def test_vllm_bench_keeps_what_json_can_hold(tmp_path: Path) -> None:
    experiment = load(tmp_path, miniature() | {"request_rate": math.inf, "date": [math.nan]})
    assert experiment.provenance["request_rate"] == "inf"
    assert "date" not in experiment.provenance
    experiment.save(tmp_path / "saved.json")
    assert load_experiment(tmp_path / "saved.json") == experiment


def test_vllm_bench_appended_results(tmp_path: Path) -> None:
    """As ``--append-result`` writes them: one object after the other."""
    path = tmp_path / "runs.json"
    runs = [miniature() | {"request_rate": 2.0}, miniature() | {"request_rate": "inf"}]
    path.write_text("\n".join(map(json.dumps, runs)))
    with pytest.raises(ExperimentError, match=facts("2 runs .. request_rate 2.0 .. inf")):
        load_experiment(path)
    second = load_experiment(path, run=2)
    assert second.provenance["run"] == "2 of 2"
    assert second.workload == load_experiment(MINIATURE).workload
    path.write_text(json.dumps(runs[0]) + json.dumps(edited(runs[0], "ttfts", 3)))
    with pytest.raises(ExperimentError, match=facts("runs.json .. line 1 .. ttfts")):
        load_experiment(path, run=2)


def test_a_rate_beyond_the_floats(tmp_path: Path) -> None:
    old = miniature() | {"request_rate": 10**400}
    del old["start_times"]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old))
    with pytest.raises(ExperimentError, match=facts("rate")):
        load_experiment(path, arrivals="seed=1")


ODD = [b"", b"\0\1", b"null", b"3", b'"text"', b"[]", b"{}", b"[{]", b'{"ttfts": []}', b"\xff\xfe"]
ODD += [b"word\nword\n", b"1,2\n3,4\n", b"a,b\n1\n", b"[" * 99_999, b"{" + b"1" * 5000]


@pytest.mark.parametrize("data", ODD)
def test_no_format_claims_anything_else(data: bytes) -> None:
    assert format_of(Source(data, "file")) is None
    with pytest.raises(ExperimentError, match=r"^file: "):
        read_experiment(Source(data, "file"), ReadOptions())


@pytest.mark.parametrize("share", range(0, 100, 4))
def test_a_file_cut_off_anywhere_is_one_line(share: int) -> None:
    data = MINIATURE.read_bytes()
    with pytest.raises(ExperimentError, match=r"^file: ") as caught:
        read_experiment(Source(data[: len(data) * share // 100], "file"), ReadOptions())
    assert "\n" not in str(caught.value)
