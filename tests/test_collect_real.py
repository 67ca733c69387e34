"""Collecting from a real vLLM, which the variables below name.

Oracles: vLLM's own counters and log for the settings, the request rates and lengths asked for, and
its help for the flags.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pysimbind.cli import main
from pysimbind.collect.flags import NO_NEGATIVE
from pysimbind.config import ServerConfig
from pysimbind.formats import load_experiment
from pysimbind.vllm.flags import SWITCHES

VLLM = os.environ.get("PYSIMBIND_VLLM", "")
MODEL = os.environ.get("PYSIMBIND_VLLM_MODEL", "")
pytestmark = [
    pytest.mark.real_vllm,
    pytest.mark.skipif(not (VLLM and MODEL), reason="PYSIMBIND_VLLM, PYSIMBIND_VLLM_MODEL: unset"),
]


def test_two_short_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    vllm = {
        "served_model_name": "tiny",
        "load_format": "dummy",
        "port": 8117,
        "max_model_len": 1024,
        "max_num_seqs": 64,
        "block_size": 32,
        "enforce_eager": True,
        "enable_prefix_caching": False,
    }
    bench = {"dataset_name": "random", "random_input_len": 64, "random_output_len": 16}
    bench |= {"num_prompts": 30, "request_rate": [4, 10], "ignore_eos": True, "num_warmups": 2}
    config = tmp_path / "tiny.json"
    config.write_text(json.dumps({"model": MODEL, "vllm": vllm, "benchmark": bench}))
    out = tmp_path / "out"
    assert main(["collect", str(config), "--output", str(out), "--vllm", VLLM]) == 0
    for rate in (4, 10):
        folder = out / "tiny" / f"rate-{rate}-run-1"
        experiment = load_experiment(folder / "experiment.json.gz")
        assert experiment.num_requests == 30
        assert np.isfinite(experiment.e2e).all()
        assert (experiment.ttft < experiment.e2e).all()
        assert set(experiment.workload.output_tokens) == {16}
        assert experiment.config.max_num_seqs == 64
        assert experiment.config.enable_prefix_caching is False
        blocks = experiment.config.num_gpu_blocks
        assert blocks is not None
        assert f"KV cache size: {32 * blocks:,} tokens" in (folder / "server.log").read_text()
        counters = experiment.provenance["counters"]
        assert counters["generation_tokens"] >= 30 * 16


def test_the_flags_are_those_of_vllm() -> None:
    """What ``--help`` lists at the beginning of a line."""
    for section, words in (("vllm", ["serve"]), ("benchmark", ["bench", "serve"])):
        command = [VLLM, *words, "--help=all"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        heads = [re.split(r"\s{2,}", h)[0] for h in re.findall(r"^  (-.*)$", done.stdout, re.M)]
        flags = {f.replace("-", "_") for h in heads for f in re.findall(r"--([a-z0-9][\w-]+)", h)}
        assert len(flags) > 50
        assert not {f"no_{switch}" for switch in NO_NEGATIVE[section]} & flags
        for flag in flags - {"config"} if section == "vllm" else ():
            value = ["0.5" if flag == "watermark" else "8"]
            switch = flag.removeprefix("no_") in SWITCHES
            ServerConfig.from_vllm_args([f"--{flag}", *([] if switch else value)])
