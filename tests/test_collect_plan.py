"""Collect files: what they mean, and what is wrong with them.

Oracles: the commands that the original experiment's own runner makes of its file, and the messages
that the modules promise.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from pysimbind.collect import read_plan
from pysimbind.collect.flags import normalised, words
from pysimbind.config import ServerConfig
from pysimbind.errors import ConfigError, MissingExtraError
from pysimbind.vllm.flags import SWITCHES

from .facts import facts, tells
from .recorded import flags_of_vllm

ORIGINAL = """
# Generated test configurations
test:
  baseline:
    name: "exp1"
    description: "Basic vLLM performance test"
    model: "Qwen/Qwen2.5-0.5B"
    runs: 1
    vllm:
      gpu_memory_utilization: 0.9
      enable_prefix_caching: true
      disable_log_requests: false
      block_size: 16
      max_model_len: 2048
      max_num_batched_tokens: 2048
      max_num_seqs: 256
      long_prefill_token_threshold: 1000000
      seed: 42  # Set a seed for reproducibility
    benchmark:
      backend: "vllm"
      dataset_name: "sharegpt"
      dataset_path: "ShareGPT.json"
      num_prompts: 100
      request_rate: 16
      sharegpt_output_len: 0 # Set to 0 for no output length limit
      temperature: 0.0
      seed: 42
"""
BLOCK = {"model": "m", "vllm": {}, "benchmark": {"request_rate": 4}}


def plan(tmp_path: Path, obj: Any) -> Any:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(obj))
    return read_plan(path)


def test_the_original_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(ORIGINAL)
    (run,) = read_plan(path)
    assert run.path == "exp1/rate-16-run-1"
    serve = run.serve_command(["vllm"])
    assert serve[:3] == ["vllm", "serve", "Qwen/Qwen2.5-0.5B"]
    assert set(
        shlex.split(
            "--gpu-memory-utilization 0.9 --block-size 16 --max-model-len 2048 "
            "--max-num-batched-tokens 2048 --max-num-seqs 256 "
            "--long-prefill-token-threshold 1000000 --seed 42 --enable-prefix-caching"
        )
    ) <= set(serve)
    assert not any("log-requests" in word for word in serve)
    bench = shlex.join(run.bench_command(["vllm"], run.base_url, "out"))
    assert tells(bench, "--base-url http://127.0.0.1:8000 --model Qwen/Qwen2.5-0.5B --backend vllm")
    assert "--num-prompts 100 --request-rate 16 --temperature 0.0 --seed 42" in bench
    assert "sharegpt-output-len" not in bench
    assert run.config.long_prefill_token_threshold == 1_000_000


def test_blocks_benchmarks_rates_and_repeats(tmp_path: Path) -> None:
    benches = [{"request_rate": [1, 2.5]}, {"name": "all", "request_rate": "inf"}, {"seed": 1}]
    several = {"a": BLOCK | {"runs": 2}, "b": BLOCK | {"benchmark": benches}}
    expected = ["a/rate-4-run-1", "a/rate-4-run-2", "b/bench-1-rate-1-run-1"]
    expected += ["b/bench-1-rate-2.5-run-1", "b/all-rate-inf-run-1", "b/bench-3-run-1"]
    assert [run.path for run in plan(tmp_path, several)] == expected
    assert [run.path for run in plan(tmp_path, {"test": several})] == expected
    assert [run.path for run in plan(tmp_path, BLOCK)] == ["c/rate-4-run-1"]
    assert [run.path for run in plan(tmp_path, {"test": BLOCK})] == ["test/rate-4-run-1"]


def test_names_of_a_served_model_and_hosts(tmp_path: Path) -> None:
    vllm = {"model": "dir", "served_model_name": "tiny", "host": "0.0.0.0", "port": 9}
    (run,) = plan(tmp_path, {"vllm": vllm, "benchmark": {}})
    assert run.base_url == "http://127.0.0.1:9"
    assert "dir --host 0.0.0.0 --port 9 --served-model-name tiny" in " ".join(run.serve_command(()))
    assert "--model dir --served-model-name tiny" in " ".join(run.bench_command((), "u", "o"))
    (run,) = plan(tmp_path, {"vllm": vllm | {"host": "::1"}, "benchmark": {}})
    assert run.base_url == "http://[::1]:9"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"enable_prefix_caching": False}, "--no-enable-prefix-caching"),
        ({"disable_log_stats": False}, ""),
        ({"max_num_seqs": None}, ""),
        ({"kv_cache_memory_bytes": "1G"}, "--kv-cache-memory-bytes 1G"),
        ({"compilation_config": {"level": 3}}, """--compilation-config '{"level":3}'"""),
        ({"served_model_name": ["a", "b"]}, "--served-model-name a b"),
        ({"chat_template": "-x"}, "--chat-template=-x"),
        ({"extra_args": ["--brand-new", 3], "seed": 1}, "--seed 1 --brand-new 3"),
        ({"max-num-seqs": 4}, "--max-num-seqs 4"),
        ({"not_known_here": True, "nor_this": False}, "--not-known-here --no-nor-this"),
        ({"not_known_here": ["a", 2]}, "--not-known-here a 2"),
        ({"not_known_here": "a; b"}, "--not-known-here 'a; b'"),
        ({"not_known_here": {"a": [1]}}, """--not-known-here '{"a":[1]}'"""),
    ],
)
def test_values_become_words(settings: dict[str, Any], expected: str) -> None:
    assert words(normalised(settings, "vllm", ""), "vllm") == shlex.split(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vlm": {}}, "vlm .. 'vllm'"),
        (
            {"vllm": {"max_num_seq": 8}},
            "vllm.max_num_seq .. 'max_num_seqs'",
        ),
        ({"vllm": {"max_nums_seqs": 8}}, "'--max-nums-seqs' .. '--max-num-seqs'"),
        ({"vllm": {"no_async_schedulin": True}}, "'async_scheduling'"),
        ({"vllm": {"num_gpu_blocks": 9}}, "'num_gpu_blocks_override'"),
        ({"vllm": {"api_key": "x"}}, "vllm.api_key .. recorded"),
        ({"vllm": {"api_ke": "x"}}, "vllm.api_ke .. recorded"),
        ({"vllm": {"api-key.a": "x"}}, "vllm.api-key.a .. recorded"),
        ({"vllm": {"api_key=x": True}}, "'api_key=x' .. flag"),
        ({"vllm": {"brand_new_auth_token": "x"}}, "brand_new_auth_token .. recorded"),
        ({"benchmark": {"openai_api_key": "x"}}, "openai_api_key .. recorded"),
        ({"benchmark": {"extra_args": ["--api_key=x"]}}, "--api_key .. recorded"),
        ({"vllm": {"extra_args": ["--hf-tok", "x"]}}, "--hf-tok .. recorded"),
        ({"vllm": {"extra_args": ["--port=9"]}}, "--port=9 .. port in vllm"),
        ({"vllm": {"extra_args": ["--por", 9]}}, "--por .. 'port'"),
        ({"vllm": {"extra_args": ["--max-num-seqs", 0]}}, "max_num_seqs .. integer .. 1"),
        ({"vllm": {"x": ["a", "--api-key=y"]}}, "vllm.x[1] .. '--api-key=y'"),
        ({"vllm": {"max_num_seqs": True}}, "--max-num-seqs .. value"),
        ({"vllm": {"max_num_seqs": [1, 2]}}, "'2'"),
        ({"vllm": {"max_num_seqs": [[1]]}}, "vllm.max_num_seqs[0]"),
        ({"vllm": {"served_model_name": []}}, "vllm.served_model_name .. string"),
        ({"vllm": {"host": 1}}, "vllm.host .. string .. 1"),
        ({"vllm": {"max_num_seqs": 0}}, "vllm .. max_num_seqs .. integer .. 1"),
        ({"vllm": {"port": 0}}, "vllm.port .. number .. 1"),
        ({"vllm": {"extra_args": "--x"}}, "extra_args .. list"),
        ({"vllm": {"max_num_seqs": 1, "max-num-seqs": 2}}, "vllm.max-num-seqs .. twice"),
        ({"vllm": 3}, "vllm .. JSON object .. 3"),
        ({"vllm": {"model": "other"}}, "'other' .. 'm'"),
        ({"model": None}, "model"),
        ({"benchmark": []}, "benchmark .. empty"),
        ({"benchmark": {"base_url": "x"}}, "benchmark.base_url"),
        ({"benchmark": {"request_rate": 0}}, "request_rate .. inf .. 0"),
        ({"benchmark": {"request_rate": 10**400}}, "request_rate .. inf"),
        ({"vllm": {"a\n": 1}}, r"vllm .. 'a\n' .. flag"),
        ({"benchmark": {"request_rate": []}}, "request_rate .. empty"),
        ({"benchmark": {"request_rate": [4, 4.0]}}, "c/rate-4-run-1"),
        ({"runs": 0}, "runs .. integer .. 0"),
        ({"name": "a/b"}, "name .. 'a/b'"),
        ({"name": ".."}, "name: .. '..'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(tmp_path, BLOCK | change)
    assert tells(str(caught.value), message)
    assert str(caught.value).startswith(str(tmp_path / "c.json"))
    assert "\n" not in str(caught.value)


def test_settings_are_read_from_any_spelling(tmp_path: Path) -> None:
    vllm = {"no_async_scheduling": True, "max-num-active-seqs": 8}
    vllm |= {"extra_args": ["--block-size=32", "--no-enable-prefix-caching"]}
    (run,) = plan(tmp_path, BLOCK | {"vllm": vllm})
    config = ServerConfig(max_num_seqs=8, block_size=32, enable_prefix_caching=False)
    assert run.config == config


def test_keys_of_yaml_must_be_strings(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("model: m\nvllm: {8: 1}\nbenchmark: {}\n")
    with pytest.raises(ConfigError, match=facts("c.yaml .. vllm .. strings .. 8")):
        read_plan(path)


def test_flags_of_vllm_are_passed_on_or_refused_for_a_reason(tmp_path: Path) -> None:
    """No flag of vLLM is taken for a secret, or for the beginning of another one."""
    refused = {"--api-key", "--hf-token", "--grpc", "--uds", "--headless"}
    refused |= {"--ssl-keyfile", "--ssl-certfile"}
    refused |= {"--model", "--host", "--port", "--served-model-name"}  # they have keys
    for flag in [*flags_of_vllm(), "--only-a-newer-vllm-has-it"]:
        name = flag.removeprefix("--").removeprefix("no-").replace("-", "_")
        value = {"watermark": "0.5", **dict.fromkeys(SWITCHES, "true")}.get(name, "8")
        given = BLOCK | {"vllm": {"extra_args": [f"{flag}={value}"]}}
        if flag in refused:
            with pytest.raises(ConfigError, match=f"{flag}"):
                plan(tmp_path, given)
        else:
            assert plan(tmp_path, given)[0].serve == (f"{flag}={value}",)


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ([], "JSON object .. []"),
        ({}, "block"),
        ({"test": []}, "test .. JSON object .. []"),
        ({"a": BLOCK, "runs": 3}, "'runs'"),
        ({"a": {"vllm": {}, "model": "m"}}, "a.benchmark"),
        ({"a": BLOCK, "b": BLOCK | {"name": "a"}}, "a/rate-4-run-1"),
    ],
)
def test_files_of_another_shape(tmp_path: Path, obj: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(tmp_path, obj)
    assert tells(str(caught.value), message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "line 1, column 5 .. YAML"),
        (
            "vllm: {seed: 1,\n  seed: 2}",
            "line 2, column 3 .. YAML .. 'seed'",
        ),
        ("a: !!python/object:os.system {}", "YAML"),
    ],
)
def test_yaml_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="^" + str(path)) as caught:
        read_plan(path)
    assert tells(str(caught.value), message)


def test_yaml_needs_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(ORIGINAL)
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtraError, match=facts("'pysimbind[collect]'")):
        read_plan(path)
    with pytest.raises(ConfigError, match=facts("missing.yaml: .. No such file")):
        read_plan(tmp_path / "missing.yaml")
