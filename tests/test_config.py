"""The server's settings.

Oracles: vLLM's documented defaults and flag spellings, and what its ``human_readable_int`` accepts.
"""

from __future__ import annotations

import dataclasses
import math

import pytest

from pysimbind.config import DEFAULT_SEMANTICS, FIELDS, FLAGS, SEMANTICS, ServerConfig
from pysimbind.errors import ConfigError

from .facts import facts, tells
from .recorded import flags_of_vllm

DEFAULTS = {
    "max_num_seqs": 256,
    "max_num_batched_tokens": 2048,
    "block_size": 16,
    "num_gpu_blocks": None,
    "max_model_len": None,
    "enable_prefix_caching": True,
    "enable_chunked_prefill": True,
    "long_prefill_token_threshold": 0,
    "scheduler_reserve_full_isl": True,
    "watermark": 0.0,
    "async_scheduling": False,
    "semantics": DEFAULT_SEMANTICS,
    "horizon_s": None,
}
# Flags of vLLM that do not bear on the simulation, the most alike to ours among them.
OTHER_FLAGS = (
    "--max-log-len 10 --mamba-block-size 8 --hash-block-size 16 "
    "--enable-reasoning --async-engine --max-num-partial-prefills 2 --max-long-partial-prefills 1 "
    "--prefix-caching-hash-algo sha256 --disable-chunked-mm-input --disable-async-output-proc "
    "--max-num-encoder-input-tokens 5 --max-loras 1 --max-logprobs 3 --enable-log-requests "
    "--no-enable-log-requests --no-enable-expert-parallel --max-seq-len-to-capture 5 --seed 42 "
    "--block-list a b c --gpu-memory-utilization 0.9 -tp 2 -O3 --enforce-eager --model-impl auto "
    "--disable-hybrid-kv-cache-manager --num-lookahead-slots 3 --dtype=bfloat16"
)


def test_fields_and_defaults() -> None:
    assert ServerConfig().as_dict() == DEFAULTS
    assert tuple(DEFAULTS) == FIELDS


def test_round_trip_and_replace() -> None:
    config = ServerConfig(max_num_seqs=3, num_gpu_blocks=7, watermark=0.25, horizon_s=2)
    assert ServerConfig.from_mapping(config.as_dict()) == config
    assert config.replace(block_size=32).as_dict() == {**config.as_dict(), "block_size": 32}
    assert config.replace() == config
    assert ServerConfig.from_mapping({}) == ServerConfig()
    assert hash(ServerConfig.from_mapping(config.as_dict())) == hash(config)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.block_size = 8  # type: ignore[misc]


def test_numpy_integers_become_plain() -> None:
    numpy = pytest.importorskip("numpy")
    config = ServerConfig(max_num_seqs=numpy.int32(5), watermark=numpy.float32(0.5))
    assert type(config.max_num_seqs) is int
    assert type(config.watermark) is float


@pytest.mark.parametrize("name", ["max_num_seqs", "max_num_batched_tokens", "block_size"])
@pytest.mark.parametrize("value", [0, -1, True, 2.0, "8", None, 2**31, float("nan")])
def test_bad_counts(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=facts(f"{name} .. {value!r}")):
        ServerConfig().replace(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_gpu_blocks", 0),
        ("max_model_len", 0),
        ("max_model_len", False),
        ("long_prefill_token_threshold", -1),
        ("long_prefill_token_threshold", None),
        ("enable_prefix_caching", 1),
        ("enable_chunked_prefill", None),
        ("scheduler_reserve_full_isl", "yes"),
        ("async_scheduling", 0),
        ("watermark", 1.0),
        ("watermark", -0.1),
        ("watermark", True),
        ("watermark", "0.1"),
        ("watermark", None),
        ("watermark", float("nan")),
        ("horizon_s", 0),
        ("horizon_s", -1.0),
        ("horizon_s", float("inf")),
        ("horizon_s", float("nan")),
        ("horizon_s", "60"),
        ("horizon_s", [1]),
        ("semantics", "vllm"),
        ("semantics", None),
    ],
)
def test_bad_values_name_field_and_value(name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        ServerConfig().replace(**{name: value})
    assert str(caught.value).startswith(f"{name} ")
    assert tells(caught.value, repr(value))
    assert "\n" not in str(caught.value)


def test_optional_fields() -> None:
    config = ServerConfig(num_gpu_blocks=None, max_model_len=None, horizon_s=None)
    assert config == ServerConfig()


def test_unknown_settings() -> None:
    with pytest.raises(ConfigError, match=facts("'max_num_seq' .. 'max_num_seqs'")):
        ServerConfig.from_mapping({"max_num_seq": 3})
    with pytest.raises(ConfigError, match=facts("'blocksize' .. 'block_size'")):
        ServerConfig().replace(blocksize=3)
    with pytest.raises(ConfigError, match="'self'"):
        ServerConfig.from_mapping({"self": 3})
    with pytest.raises(ConfigError, match=facts("list")):
        ServerConfig.from_mapping([])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=facts("'blis-2025-7' .. 'blis-2025-07'")):
        ServerConfig(semantics="blis-2025-7")
    with pytest.raises(ConfigError, match=facts("'vllm-v1-0.9.2' .. 'vllm-v1-0.9.1'")):
        ServerConfig(semantics="vllm-v1-0.9.2")
    assert SEMANTICS == ("blis-2025-07", "vllm-v1", "vllm-v1-0.9.1")
    assert DEFAULT_SEMANTICS == "vllm-v1"


def test_what_the_original_simulator_leaves_out() -> None:
    """It prefills whole prompts, whatever the flag says, and knows nothing of the others."""
    config = ServerConfig(semantics="blis-2025-07")
    assert config.unmodelled == ("enable_chunked_prefill",)
    assert config.replace(enable_chunked_prefill=False).unmodelled == ()
    config = config.replace(
        max_model_len=2048,
        long_prefill_token_threshold=512,
        scheduler_reserve_full_isl=False,
        watermark=0.1,
        async_scheduling=True,
    )
    assert config.unmodelled == (
        "max_model_len",
        "enable_chunked_prefill",
        "long_prefill_token_threshold",
        "scheduler_reserve_full_isl",
        "watermark",
        "async_scheduling",
    )
    modelled = ServerConfig(
        max_num_seqs=1, num_gpu_blocks=9, enable_prefix_caching=False, horizon_s=3.0
    )
    assert modelled.replace(enable_chunked_prefill=False, semantics="blis-2025-07").unmodelled == ()


def test_vllm_v1_acts_on_every_setting() -> None:
    config = ServerConfig(
        max_num_seqs=1,
        num_gpu_blocks=9,
        max_model_len=2048,
        enable_prefix_caching=False,
        enable_chunked_prefill=False,
        long_prefill_token_threshold=512,
        scheduler_reserve_full_isl=False,
        watermark=0.1,
        async_scheduling=True,
        horizon_s=3.0,
    )
    assert config.semantics == "vllm-v1"
    assert config.unmodelled == ()
    assert ServerConfig().unmodelled == ()


def test_what_the_scheduler_of_mid_2025_did_not_have() -> None:
    """DESIGN section 8: no whole-sequence test, no watermark, always chunked; and synchronous."""
    config = ServerConfig(semantics="vllm-v1-0.9.1")
    assert config.unmodelled == ("scheduler_reserve_full_isl",)
    assert config.replace(scheduler_reserve_full_isl=False).unmodelled == ()
    config = config.replace(
        max_model_len=2048,
        enable_chunked_prefill=False,
        long_prefill_token_threshold=512,
        watermark=0.1,
        async_scheduling=True,
    )
    assert config.unmodelled == (
        "enable_chunked_prefill",
        "scheduler_reserve_full_isl",
        "watermark",
        "async_scheduling",
    )


@pytest.mark.parametrize("semantics", ["blis-2025-07", "vllm-v1", "vllm-v1-0.9.1"])
def test_semantics_come_by_keyword_beside_the_flags(semantics: str) -> None:
    config = ServerConfig.from_vllm_args("--async-scheduling --block-size 8", semantics=semantics)
    assert config == ServerConfig(async_scheduling=True, block_size=8, semantics=semantics)
    again = config.replace(semantics=DEFAULT_SEMANTICS)
    assert again == ServerConfig.from_vllm_args("--async-scheduling --block-size 8")
    off = ServerConfig.from_vllm_args("--async-scheduling --no-async-scheduling")
    assert off == ServerConfig()


@pytest.mark.parametrize(
    ("args", "fields"),
    [
        ("", {}),
        ("--max-num-seqs 128", {"max_num_seqs": 128}),
        ("--max-num-seqs=128", {"max_num_seqs": 128}),
        ("--max_num_seqs 128 --block_size=32", {"max_num_seqs": 128, "block_size": 32}),
        ("vllm serve Qwen/Qwen2.5-0.5B --block-size 32", {"block_size": 32}),
        ("--max-num-seqs 1 --max-num-seqs 2", {"max_num_seqs": 2}),
        ("--num-gpu-blocks-override 4096", {"num_gpu_blocks": 4096}),
        ("--no-async-scheduling", {"async_scheduling": False}),
        ("--async-scheduling", {"async_scheduling": True}),
        ("--enable-prefix-caching", {"enable_prefix_caching": True}),
        ("--no-enable-prefix-caching", {"enable_prefix_caching": False}),
        ("--no_enable_chunked_prefill", {"enable_chunked_prefill": False}),
        ("--enable-chunked-prefill False", {"enable_chunked_prefill": False}),
        ("--enable-chunked-prefill=true", {"enable_chunked_prefill": True}),
        ("--no-scheduler-reserve-full-isl", {"scheduler_reserve_full_isl": False}),
        ("--max-num-batched-tokens 8k", {"max_num_batched_tokens": 8000}),
        ("--max-num-batched-tokens 8K", {"max_num_batched_tokens": 8192}),
        ("--max-model-len 25.6k", {"max_model_len": 25600}),
        ("--max-model-len 1M", {"max_model_len": 1048576}),
        ("--max-model-len auto", {"max_model_len": None}),
        ("--max-model-len -1", {"max_model_len": None}),
        ("--long-prefill-token-threshold 1000000", {"long_prefill_token_threshold": 1000000}),
        ("--watermark 0.05", {"watermark": 0.05}),
        ("--enforce-eager \\\n --max-num-seqs 4", {"max_num_seqs": 4}),
        ("--max-num-active-seqs 8 --max-num-seqs 64", {"max_num_seqs": 8}),
        ("--max-num-seqs 64 --max-num-active-seqs 8", {"max_num_seqs": 8}),
        ("--max-num-scheduled-tokens 8k", {"max_num_batched_tokens": 8000}),
        (
            "--max-num-scheduled-tokens 8k --max-num-batched-tokens 512",
            {"max_num_batched_tokens": 512},
        ),
        (OTHER_FLAGS, {}),
        (f"{OTHER_FLAGS} --block-size 64 {OTHER_FLAGS}", {"block_size": 64}),
    ],
)
def test_vllm_args(args: str, fields: dict[str, object]) -> None:
    assert ServerConfig.from_vllm_args(args) == ServerConfig(**fields)  # type: ignore[arg-type]
    words = args.replace("\\\n", "").split()
    assert ServerConfig.from_vllm_args(words) == ServerConfig.from_vllm_args(args)


@pytest.mark.parametrize("flag", flags_of_vllm())
def test_every_flag_of_vllm_is_taken(flag: str) -> None:
    """Those of 0.32 and of releases since 0.9; none is mistaken for a misspelling of another."""
    name = flag.removeprefix("--").removeprefix("no-").replace("-", "_")
    value = ["0.5" if flag == "--watermark" else "8"] * (name not in FLAGS)
    ServerConfig.from_vllm_args([flag, *value])


@pytest.mark.parametrize(
    "line",
    [
        "vllm serve M --max-num-seqs 8 --enforce-eager 2>&1 | tee log --max-num-seqs 9",
        "CUDA_VISIBLE_DEVICES=0 nohup vllm serve M --max-num-seqs 8 > server.log &",
        "source v/bin/activate && vllm serve M --max-num-seqs 8; echo ended",
        "python -m vllm.entrypoints.openai.api_server --model M --max-num-seqs 8 # --block-size 1",
        "docker run --gpus all -p 80:80 vllm/vllm-openai:v0.9.1 --model M --max-num-seqs 8",
    ],
)
def test_a_line_copied_from_a_shell(line: str) -> None:
    assert ServerConfig.from_vllm_args(line) == ServerConfig(max_num_seqs=8)


def test_keywords_win_over_flags() -> None:
    config = ServerConfig.from_vllm_args("--max-num-seqs 8 --block-size 32", max_num_seqs=9)
    assert config == ServerConfig(max_num_seqs=9, block_size=32)
    with pytest.raises(ConfigError, match=facts("'max_seqs'")):
        ServerConfig.from_vllm_args("", max_seqs=9)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--max-num-seq 8", "'--max-num-seq' .. '--max-num-seqs'"),
        ("--max-seqs 8", "'--max-seqs' .. '--max-num-seqs'"),
        ("-max-num-seqs 8", "'-max-num-seqs' .. '--max-num-seqs'"),
        ("--num-gpu-blocks 8", "'--num-gpu-blocks' .. '--num-gpu-blocks-override'"),
        ("--prefix-caching", "'--prefix-caching' .. '--enable-prefix-caching'"),
        ("--no-prefix-caching", "'--no-prefix-caching' .. '--no-enable-prefix-caching'"),
        ("--disable-prefix-caching", "'--disable-prefix-caching' .. '--no-enable-prefix-caching'"),
        ("--disable-async-scheduling", "'--disable-async-scheduling' .. '--no-async-scheduling'"),
        ("--enable-async-scheduling", "'--enable-async-scheduling' .. '--async-scheduling'"),
        ("--max-num-seqs eight", "--max-num-seqs .. 'eight'"),
        ("--max-num-seqs 8.5", "--max-num-seqs .. 8.5"),
        ("--max-num-seqs 1.5K", "--max-num-seqs .. 1.5K"),
        ("--max-num-seqs 0", "max_num_seqs .. 1 .. 0"),
        ("--max-num-seqs -4", "max_num_seqs .. 1 .. -4"),
        ("--max-num-seqs", "--max-num-seqs .. value"),
        ("--max-num-seqs --block-size 16", "--max-num-seqs .. value"),
        ("--max-num-seqs=", "--max-num-seqs .. ''"),
        ("--max-num-seqs 8 9", "'9'"),
        ("--enable-prefix-caching=maybe", "--enable-prefix-caching .. 'maybe'"),
        ("--enable-prefix-caching yes", "'yes'"),
        ("--watermark much", "--watermark .. 'much'"),
        ("--watermark 2", "watermark .. 2.0"),
        ("--config server.yaml", "--config"),
        ("--served-model-name 'a", "split"),
    ],
)
def test_bad_vllm_args(args: str, message: str) -> None:
    with pytest.raises(ConfigError, match=facts(message)) as caught:
        ServerConfig.from_vllm_args(args)
    assert "\n" not in str(caught.value)


def test_kv_cache_in_tokens() -> None:
    """What vLLM logs as its KV cache size, 524,288 tokens, is 16,384 blocks of 32."""
    assert ServerConfig(block_size=32).with_kv_cache_tokens(524_288).num_gpu_blocks == 16_384
    assert ServerConfig().with_kv_cache_tokens(31).num_gpu_blocks == 1
    assert ServerConfig(max_model_len=4096).with_kv_cache_tokens(1000).num_gpu_blocks == 62
    assert ServerConfig().replace(kv_cache_tokens=64, block_size=32).num_gpu_blocks == 2
    with pytest.raises(ConfigError, match=facts("kv_cache_tokens .. num_gpu_blocks")):
        ServerConfig().replace(kv_cache_tokens=64, num_gpu_blocks=2)
    for tokens in (15, 0, 16.5, "many"):
        with pytest.raises(ConfigError, match=facts("16")):
            ServerConfig().with_kv_cache_tokens(tokens)  # type: ignore[arg-type]


@pytest.mark.parametrize("max_model_len", [3000, 4090, 8000, 10_000, 40_960])
@pytest.mark.parametrize("block_size", [8, 16, 32])
def test_kv_cache_counted_in_sequences(max_model_len: int, block_size: int) -> None:
    """Oracle: ``get_kv_cache_capacity`` of vLLM 0.32, for pools whose size is not of both kinds.

    Its products may lie just below a whole number, and a sequence need not fill its last block.
    """
    config = ServerConfig(block_size=block_size, max_model_len=max_model_len)
    for blocks in range(500, 5000, 7):
        logged = int(blocks / math.ceil(max_model_len / block_size) * max_model_len)
        if logged % block_size or max_model_len % block_size == 0:
            assert config.with_kv_cache_tokens(logged).num_gpu_blocks == blocks
