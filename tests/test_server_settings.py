"""What is known of a server, and from where.

Oracles: lines as vLLM's releases print them, with other numbers; a real log of vLLM 0.11.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pysimbind.config import ServerConfig
from pysimbind.errors import ConfigError
from pysimbind.vllm.settings import SETTINGS, Known, from_log, from_mapping, from_vllm_args, resolve

from .facts import facts

LOG_0_11 = """\
2026-01-20 06:08:53 INFO vllm.entrypoints.openai.api_server: vLLM API server version 0.11.0
2026-01-20 06:08:53 INFO vllm.entrypoints.utils: non-default args: {'model_tag': '/m', \
'max_model_len': 4096, 'enable_prefix_caching': False, 'max_num_batched_tokens': 64, \
'max_num_seqs': 32}
2026-01-20 06:08:58 INFO vllm.config.scheduler: Chunked prefill is enabled with \
max_num_batched_tokens=64.
2026-01-20 06:09:03 INFO vllm.v1.engine.core: Initializing a V1 LLM engine (v0.11.0) with config: \
model='/m', speculative_config=None, max_seq_len=4096, enable_prefix_caching=False, \
chunked_prefill_enabled=True, pooler_config=None
2026-01-20 06:10:30 INFO vllm.v1.core.kv_cache_utils: GPU KV cache size: 22,400 tokens
2026-01-20 06:10:32 INFO vllm.v1.metrics.loggers: Engine 000: vllm cache_config_info with \
initialization after num_gpu_blocks is: 700
"""
LOG_0_19 = """\
(APIServer pid=1) INFO 03-19 06:21:30 [utils.py:9] vLLM API server version 0.19.1rc1.dev2
(APIServer pid=1) INFO 03-19 06:21:30 [utils.py:9] non-default args: {'max_model_len': -1}
(APIServer pid=1) INFO 03-19 06:21:31 [scheduler.py:231] Chunked prefill is enabled with \
max_num_batched_tokens=8192.
(APIServer pid=1) INFO 03-19 06:21:31 [vllm.py:754] Asynchronous scheduling is disabled.
(EngineCore pid=9) INFO 03-19 06:21:53 [kv_cache_utils.py:1286] GPU KV cache size: 686,320 tokens
"""


def test_a_log_of_0_11() -> None:
    known = from_log(LOG_0_11, "dir/vllm.log")
    assert known == Known(
        "dir/vllm.log",
        {
            "max_model_len": 4096,
            "enable_prefix_caching": False,
            "max_num_batched_tokens": 64,
            "max_num_seqs": 32,
            "enable_chunked_prefill": True,
            "num_gpu_blocks": 700,
        },
        kv_cache_tokens=22_400,
        vllm_version="0.11.0",
    )
    config, report = resolve([known])
    assert (config.block_size, config.num_gpu_blocks, config.async_scheduling) == (32, 700, False)
    assert report["sources"]["block_size"] == "vllm.log: 22400 tokens in 700 blocks"
    assert report["sources"]["async_scheduling"] == "the default of vLLM 0.11.0"
    assert report["assumed"] == {
        "long_prefill_token_threshold": 0,
        "scheduler_reserve_full_isl": True,
        "watermark": 0.0,
    }
    assert set(report["sources"]) | set(report["assumed"]) == set(SETTINGS)


def test_a_log_of_0_19() -> None:
    """What the log says of asynchronous scheduling wins over the version's default."""
    config, report = resolve([from_log(LOG_0_19, "vllm.log")])
    assert not config.async_scheduling
    assert report["sources"]["async_scheduling"] == "vllm.log"
    assert config.num_gpu_blocks == 42_895
    assert config.max_model_len is None
    assert report["vllm_version"] == "0.19.1rc1.dev2"


def test_of_several_starts_the_last_counts() -> None:
    assert from_log(LOG_0_19 + LOG_0_11, "x") == from_log(LOG_0_11, "x")
    assert from_log(LOG_0_11 + LOG_0_19, "x") == from_log(LOG_0_19, "x")


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("INFO: hello\n", "x.log .. vLLM"),
        (
            LOG_0_19 + LOG_0_19.splitlines()[-1].replace("686", "687"),
            "KV cache size .. (686320, 687320)",
        ),
        ("non-default args: {'block_size': 16.5}", "x.log .. block_size .. '16.5'"),
    ],
)
def test_bad_logs(log: str, message: str) -> None:
    with pytest.raises(ConfigError, match=facts(message)):
        from_log(log, "x.log")


@pytest.mark.parametrize(
    ("version", "asynchronous"),
    [
        ("0.9.1", False),
        ("0.11.2", False),
        ("0.12.0", None),
        ("0.14.1", None),
        ("0.15.0", True),
        ("v0.32.1.dev7+g1", True),
        ("1.0", True),
        ("nightly", None),
    ],
)
def test_asynchronous_scheduling_by_version(version: str, asynchronous: bool | None) -> None:
    config, report = resolve([Known("m", {"max_num_seqs": 4}, vllm_version=version)])
    assert config.async_scheduling is bool(asynchronous)
    assert ("async_scheduling" in report["assumed"]) == (asynchronous is None)


def test_later_sources_win() -> None:
    told = [
        from_mapping({"max_num_seqs": 1, "kv_cache_tokens": 160, "block_size": 16, "x": 3}, "file"),
        Known("log", {"max_num_seqs": 2}, kv_cache_tokens=320),
        from_vllm_args("vllm serve M --max-num-seqs 3 --no-async-scheduling --dtype half", "args"),
    ]
    config, report = resolve(told)
    assert config == ServerConfig(max_num_seqs=3, num_gpu_blocks=20)
    assert report["sources"] == {
        "max_num_seqs": "args",
        "block_size": "file",
        "num_gpu_blocks": "log: 320 tokens in blocks of 16",
        "async_scheduling": "args",
    }
    assert resolve([*told, Known("settings", {"num_gpu_blocks": 7})])[0].num_gpu_blocks == 7


def test_mappings_under_other_names() -> None:
    mapping: dict[str, Any] = {"max_seq_len": 5, "num_kv_tokens": 64, "vllm_version": "0.23.0"}
    assert from_mapping({**mapping, "num_gpu_blocks": None}, "m") == Known(
        "m", {"max_model_len": 5}, 64, "0.23.0"
    )


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (Known("a/m.json", {"block_size": "16"}), "a/m.json .. block_size"),
        (Known("m", {"seqs": 1}), "m .. 'seqs'"),
        (Known("m", {}, kv_cache_tokens=3), "m .. tokens"),
    ],
)
def test_bad_values_name_their_source(known: Known, message: str) -> None:
    with pytest.raises(ConfigError, match=facts(message)):
        resolve([known])


def test_a_real_log(shared: Path) -> None:
    text = (shared / "data/formats/otel/vllm.log").read_text()
    config, report = resolve([from_log(text, "vllm.log")])
    assert config == ServerConfig(
        max_num_seqs=32,
        max_num_batched_tokens=64,
        block_size=16,
        num_gpu_blocks=2790,
        max_model_len=8192,
    )
    assert report["vllm_version"] == "0.11.0"


def test_limits_beside_another_in_a_log() -> None:
    """vLLM 0.32's scheduler takes no more than max_num_active_seqs and max_num_scheduled_tokens."""
    log = LOG_0_11.replace("'max_num_seqs': 32", "'max_num_seqs': 32, 'max_num_active_seqs': 8")
    log = log.replace("'max_model_len'", "'max_num_scheduled_tokens': 48, 'max_model_len'")
    settings = from_log(log, "vllm.log").settings
    assert (settings["max_num_seqs"], settings["max_num_batched_tokens"]) == (8, 48)
    assert settings.keys() == from_log(LOG_0_11, "vllm.log").settings.keys()


def test_a_pool_counted_in_sequences() -> None:
    """vLLM 0.32 logs 700 blocks of 16 as int(700 / 188 * 3000) tokens at max_model_len 3000."""
    log = LOG_0_19.replace("{'max_model_len': -1}", "{'max_model_len': 3000}")
    config, report = resolve([from_log(log.replace("686,320", "11,170"), "vllm.log")])
    assert config.num_gpu_blocks == 700
    assert report["sources"]["num_gpu_blocks"] == "vllm.log: 11170 tokens in blocks of 16"
