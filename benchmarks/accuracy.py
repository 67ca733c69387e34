"""Measure how well the default recipe predicts held-out data, on runs of real servers.

    python -m benchmarks.accuracy --shared ../shared/data --update-page

fits each set of runs with three models, and writes the tables into docs/accuracy.md.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import build
from pysimbind import Experiment, ServerConfig, load_experiment
from pysimbind.errors import PysimbindError
from pysimbind.fit import fit
from pysimbind.vllm.settings import from_mapping, resolve

from .pages import ROOT, replace_table
from .scores import Case, Score, missed, tables

PAGE = ROOT / "docs" / "accuracy.md"
MODELS = ("quadratic15", "small", "extended")

_R2, _R4, _R6 = (f"residency_sweep_rate_agg_{rate}rps_vanilla" for rate in (2, 4, 6))
_R12 = "residency_w5_sweep_agg12"
_CODE = "training_20260217-155451-llama-2-7b-tp1-codegen"
_GENERAL = "training_20260217-231439-llama-2-7b-tp1-general"
_S3, _S9, _S15, _C32 = "Q_sync_r3", "Q_sync_r9_s43", "Q_sync_r15_s43", "Q_sync_c32"

CASES = (
    Case("Qwen3-14B, 2 req/s", (_R2,)),
    Case("Qwen3-14B, 4 req/s", (_R4,)),
    Case("Qwen3-14B, 6 req/s", (_R6,)),
    Case("Qwen3-14B, 12 req/s", (_R12,)),
    Case("Qwen3-14B, all four together", (_R2, _R4, _R6, _R12)),
    Case("Qwen3-14B, 2 and 6 → 4 req/s", (_R2, _R6, _R4), f"runs:{_R4}"),
    Case("Qwen3-14B, 2 and 4 → 6 req/s", (_R2, _R4, _R6), f"runs:{_R6}", above=True),
    Case("Qwen3-14B, 4 and 6 → 12 req/s", (_R4, _R6, _R12), f"runs:{_R12}", above=True),
    Case("CodeLlama-34B, mixed", ("otel_jan20-codellama-train-1",)),
    Case("CodeLlama-34B, prefill", ("otel_jan20-codellama-prefill-1",)),
    Case("Llama-3.1-8B, RTX 4090", ("llmservingsim_rtx4090_llama31-8b",)),
    Case("Llama-3.1-8B, RTX PRO 6000", ("llmservingsim_rtxpro6000_llama31-8b",)),
    Case("Llama-2-7B, code", (_CODE,)),
    Case("Llama-2-7B, general", (_GENERAL,)),
    # held out: the second of two ten-minute stages, 6,000 of 9,000 and 12,000 of 16,800 requests
    Case("Llama-2-7B, code, 5 → 10 req/s", (_CODE,), f"time:{6 / 9}", above=True),
    Case("Llama-2-7B, general, 8 → 20 req/s", (_GENERAL,), f"time:{12 / 16.8}", above=True),
    Case("CPU, 3, 9, 15 req/s together", (_S3, _S9, _S15)),
    Case("CPU, 3 and 15 → 9 req/s", (_S3, _S15, _S9), f"runs:{_S9}"),
    Case("CPU, 3 and 9 → 15 req/s", (_S3, _S9, _S15), f"runs:{_S15}", above=True),
    Case("CPU, 3, 9, 15 req/s → 32 at once", (_S3, _S9, _S15, _C32), f"runs:{_C32}", above=True),
    Case("CPU, 4 and 12 req/s", ("Q_async_r4", "Q_async_r12")),
    Case("CPU, 128 tokens a step", ("Q_chunk128_r3",)),
    Case("CPU, 96 KV blocks", ("Q_fewkv96_r3",)),
    Case("CPU, a larger model", ("Q_small_r3",)),
)
GROUPS = {
    "GPU": lambda case: not case.title.startswith("CPU"),
    "CPU": lambda case: case.title.startswith("CPU"),
}
# Ranges of decoding requests that group steps; a mean of fewer than _FEWEST_STEPS is left out.
_BATCHES = ((1, 2), (3, 4), (5, 7), (8, 12), (13, 20), (21, 30), (31, 40))
_FEWEST_STEPS = 20


def load_run(data: Path, name: str) -> Experiment:
    """Load a run of ``data``, with its server's settings from the notes beside it."""
    cpu = data / "vllm_cpu" / f"{name}.json"
    if cpu.exists():
        meta = json.loads(cpu.with_suffix(".meta.json").read_text("utf-8"))
        args, blocks = meta["server_args"], meta["num_gpu_blocks"]
        config = ServerConfig.from_vllm_args(args, num_gpu_blocks=blocks)
        # vLLM 0.32 schedules synchronously on CPUs, whatever its flags say
        return load_experiment(cpu, config.replace(async_scheduling=False))
    notes = data / "real" / "runs.json"
    known = json.loads(notes.read_text("utf-8"))[name]
    caching = known["prefix_caching"]  # a sentence if it is unknown
    told = {
        "enable_prefix_caching": caching if isinstance(caching, bool) else None,
        "vllm_version": known["vllm"],
    }
    config, _ = resolve([from_mapping(known | told, notes.name)])
    return load_experiment(data / "real" / f"{name}.csv", config)


def score(case: Case, experiments: Sequence[Experiment], model: str) -> Score:
    """Fit with all defaults, and judge the held-out data."""
    begin_s = time.process_time()
    result = fit(experiments, model=model, holdout=case.holdout)
    cpu_s = time.process_time() - begin_s
    # with several runs, the last row is over all of them
    row = [row for row in result.accuracy if row.part == "held-out"][-1]
    assert row.floor is not None  # these semantics always have several replicas
    return Score(
        e2e_mape=row.accuracy.e2e.mape,
        e2e_mean=row.accuracy.e2e.mean,
        ttft_mape=row.accuracy.ttft.mape,
        ttft_floor=row.floor.ttft,
        ttft_mean=row.accuracy.ttft.mean,
        cpu_s=cpu_s,
    )


def measure(data: Path, cases: Sequence[Case] = CASES) -> dict[Case, dict[str, Score]]:
    """Score every model on every case. Prints one line each."""
    scores: dict[Case, dict[str, Score]] = {}
    for case in cases:
        experiments = [load_run(data, name) for name in case.runs]
        scores[case] = {}
        for model in MODELS:
            found = scores[case][model] = score(case, experiments, model)
            print(
                f"{case.title:34} {model:11} E2E {found.e2e_mape:5.2f} {found.e2e_mean:+6.2f}  "
                f"TTFT {found.ttft_mape:5.1f} / {found.ttft_floor:4.1f} {found.ttft_mean:+6.1f}  "
                f"{found.cpu_s:5.2f} s  missed: {', '.join(missed(case, found)) or '-'}",
                flush=True,
            )
    return scores


def steps_by_batch(data: Path) -> list[str]:
    """Return a table of decode step times on the CPU server, by batch size and run."""
    names = (_S3, _S9, _S15, _C32)
    columns = [_decode_steps(data / "vllm_cpu" / f"{name}.steps.json") for name in names]
    lines = [f"| decoding requests | {' | '.join(f'`{name}`' for name in names)} |"]
    lines.append("|---" + "|--:" * len(names) + "|")
    for low, high in _BATCHES:
        alike = [ms[(low <= batch) & (batch <= high)] for batch, ms in columns]
        cells = (f"{ms.mean():.1f}" if ms.size >= _FEWEST_STEPS else "-" for ms in alike)
        lines.append(f"| {low} to {high} | {' | '.join(cells)} |")
    return lines


def _decode_steps(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return requests [S] and milliseconds [S] of the steps without prefill in a log."""
    log = json.loads(path.read_text("utf-8"))
    column = dict(zip(log["columns"], np.array(log["rows"]).T, strict=True))
    decode = column["ctx_tokens"] == 0
    return column["gen_reqs"][decode], column["elapsed_ms"][decode]


def main() -> None:
    """Measure, print the tables, and update the page if asked."""
    parser = argparse.ArgumentParser(description="Measure the accuracy of fits on real runs.")
    parser.add_argument("--shared", type=Path, required=True, help="folder of vllm_cpu/ and real/")
    parser.add_argument("--only", default="", metavar="TEXT", help="sets whose title has this text")
    parser.add_argument("--update-page", action="store_true", help="put the tables into the page")
    args = parser.parse_args()
    cases = [case for case in CASES if args.only in case.title]
    if not cases:
        parser.error(f"--only {args.only!r}: no title has that")
    if args.update_page and len(cases) < len(CASES):
        parser.error("--update-page needs all sets: leave --only out")
    build.build()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the checks find in the data is in docs/checks.md
            scores = measure(args.shared, cases)
        found = [*tables(scores, GROUPS), steps_by_batch(args.shared)]
    except (OSError, PysimbindError) as exc:
        parser.error(str(exc))
    for table in found:
        print("", *table, sep="\n")
    if args.update_page:
        text = PAGE.read_text("utf-8")
        for table in found:
            text = replace_table(text, table)
        PAGE.write_text(text, "utf-8")
        print(f"\nupdated {PAGE}")


if __name__ == "__main__":
    main()
