"""A workload from options, to be simulated in place of an experiment's own."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import numpy as np

from ..errors import WorkloadError
from ..experiment import Experiment
from ..workload import Workload
from ..workloads import from_sharegpt, from_tokenised, generate, load_tokenizer
from ..workloads.arrivals import ARRIVALS
from ..workloads.lengths import LENGTHS
from ._parser import FILE, Complete, Parser

# Which options belong to which source; --num-requests, --arrival-process and --seed to all.
_GENERATED = ("input_tokens", "output_tokens", "prefix", "sessions")
_SHAREGPT = ("sharegpt", "tokenizer", "tokenizer_pattern", "sharegpt_output_len")
_SHARED = ("num_requests", "arrival_process", "seed")


def add_workload(parser: Parser) -> None:
    """Add the options that ``read_workload`` reads."""
    add = parser.adder(
        "workload",
        "Simulate other requests on the experiment's server (docs/workloads.md). LENGTHS are a "
        f"number or kind:key=value,... with the kinds {', '.join(LENGTHS)}. ARRIVALS are "
        f"kind:key=value,... with the kinds {', '.join(ARRIVALS)}.",
    )
    add("--num-requests", type=int, metavar="N", help="how many requests")
    add("--input-tokens", metavar="LENGTHS", help="prompt lengths, as in lognormal:mean=512,cv=0.8")
    add("--output-tokens", metavar="LENGTHS", help="output lengths, as in uniform:16,512")
    # not --arrivals: that is how a measurement file is read
    add(
        "--arrival-process",
        metavar="ARRIVALS",
        help="as in gamma:rate=8,burstiness=0.5 (default: at-once)",
    )
    add("--prefix", metavar="VALUES", help="shared prefixes, as in num_prefixes=8,prefix_len=512")
    add(
        "--sessions",
        metavar="VALUES",
        help="conversations, as in turns=uniform(1,8),think_s=10,ttft_s=0.2,tpot_s=0.02",
    )
    add(
        "--sharegpt",
        metavar="FILE",
        complete=FILE,
        help="sample raw ShareGPT as vllm bench serve does",
    )
    add(
        "--tokenizer",
        metavar="FILE",
        complete=FILE,
        help="for --sharegpt: tokenizer.json or a .tiktoken file",
    )
    add(
        "--tokenizer-pattern",
        metavar="NAME",
        complete=Complete(("cl100k", "qwen")),
        help="pattern of a .tiktoken file: cl100k, qwen (default: cl100k)",
    )
    add(
        "--sharegpt-output-len",
        type=int,
        metavar="N",
        help="outputs of N tokens (default: those of ShareGPT)",
    )
    add(
        "--tokenised",
        metavar="FILE",
        complete=FILE,
        help="read the token lists of the original experiment",
    )
    add("--seed", type=int, metavar="S", help="seed of everything drawn (default: 0)")


def read_workload(args: argparse.Namespace) -> Workload | None:
    """Make the workload that the options describe; None if there are none of them.

    Raises ``WorkloadError`` for options that do not go together.
    """
    given = {n: getattr(args, n) for n in (*_GENERATED, *_SHAREGPT, "tokenised", *_SHARED)}
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return None
    if "tokenised" in given:
        _only(given, "--tokenised", "tokenised")
        return from_tokenised(given.pop("tokenised"), **_arguments(given))
    if "sharegpt" in given:
        _only(given, "--sharegpt", *_SHAREGPT)
        _needs(given, "--sharegpt", "tokenizer", "num_requests")
        return _sharegpt(**_arguments(given))
    _only(given, "a generated workload", *_GENERATED)
    _needs(given, "another workload", "num_requests", "input_tokens", "output_tokens")
    return generate(**_arguments(given))


def workload_files(args: argparse.Namespace) -> list[str | None]:
    """Return the files that ``read_workload`` would read; None for an option not given."""
    return [args.sharegpt, args.tokenizer, args.tokenised]


def with_workload(experiment: Experiment, workload: Workload) -> Experiment:
    """Return the experiment's server with another workload, of which nothing was measured."""
    unknown = np.full(len(workload), np.nan)
    return dataclasses.replace(
        experiment,
        name=f"another workload on {experiment.name}",
        workload=workload,
        ttft=unknown,
        e2e=unknown,
        input_source="exact",
        output_source="exact",
        trials=None,
    )


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Return the options by the names that the functions have for them."""
    return {"arrivals" if n == "arrival_process" else n: value for n, value in given.items()}


def _sharegpt(
    sharegpt: str,
    tokenizer: str,
    tokenizer_pattern: str = "cl100k",
    sharegpt_output_len: int | None = None,
    **others: Any,
) -> Workload:
    encode = load_tokenizer(tokenizer, tokenizer_pattern)
    return from_sharegpt(sharegpt, encode, output_len=sharegpt_output_len, **others)


def _only(given: dict[str, Any], source: str, *names: str) -> None:
    stray = next((name for name in given if name not in (*names, *_SHARED)), None)
    if stray is not None:
        raise WorkloadError(f"{_option(stray)} does not go with {source}")


def _needs(given: dict[str, Any], source: str, *names: str) -> None:
    missing = [_option(name) for name in names if name not in given]
    if missing:
        raise WorkloadError(f"{source} needs {' and '.join(missing)}")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
