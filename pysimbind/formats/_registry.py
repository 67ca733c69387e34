"""The table of formats. The first format that recognises a file reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import ExperimentError
from ..experiment import Experiment
from . import (
    aiperf,
    bench_stdout,
    canonical,
    csv_file,
    guidellm,
    llmservingsim,
    lmbench,
    otel_spans,
    parquet_file,
    sglang,
    tracev2,
    vllm_bench,
)
from ._options import FOR_ALL, ReadOptions
from ._source import Source
from ._table import Table


@dataclass(frozen=True)
class Format:
    """One measurement format."""

    name: str
    """Name of the format, for messages."""
    detect: Callable[[Source], bool]
    """Tells, quickly and without errors, whether a file has this format."""
    read: Callable[[Source, ReadOptions], Experiment]
    """Makes the experiment. Raises ``ExperimentError`` with the file and the place."""
    options: tuple[str, ...] = ()
    """The options that it takes besides ``FOR_ALL``. Any other given option is refused."""
    table: Callable[[Source], Table] | None = None
    """Reads the file as a plain table, for formats that are one."""


_TABULAR = ("columns", "arrivals", "workload")

FORMATS: tuple[Format, ...] = (
    Format("pysimbind experiment", canonical.detect, canonical.read),
    Format("SGLang bench_serving", sglang.detect, sglang.read, ("arrivals", "run")),
    Format(
        "vllm bench serve --save-detailed",
        vllm_bench.detect,
        vllm_bench.read,
        ("arrivals", "run"),
    ),
    Format("GuideLLM report", guidellm.detect, guidellm.read, ("run",)),
    Format("AIPerf profile_export.jsonl", aiperf.detect, aiperf.read, ("drop_warmup",)),
    Format("vLLM OpenTelemetry spans", otel_spans.detect, otel_spans.read),
    Format("LLMServingSim requests.jsonl", llmservingsim.detect, llmservingsim.read),
    Format("BLIS TraceV2", tracev2.detect, tracev2.read, ("drop_warmup",)),
    Format("LMBench CSV", lmbench.detect, lmbench.read),
    Format(
        "latencies printed by a benchmark",
        bench_stdout.detect,
        bench_stdout.read,
        ("workload", "arrivals", "run"),
    ),
    Format("Parquet", parquet_file.detect, parquet_file.read, _TABULAR, parquet_file.table),
    Format("CSV", csv_file.detect, csv_file.read, _TABULAR, csv_file.table),
)


def format_of(source: Source) -> Format | None:
    """Return the format of a file; None if it is unknown."""
    return next((each for each in FORMATS if each.detect(source)), None)


def reconfigure(experiment: Experiment, options: ReadOptions, where: str) -> Experiment:
    """Apply these options to an experiment that is already read.

    Raises ``ExperimentError`` for options that a canonical file does not take.
    """
    check_options(FORMATS[0], where, options)
    return canonical.configured(experiment, options, where)


def check_options(found: Format, where: str, options: ReadOptions) -> None:
    """Raise ``ExperimentError`` for an option that has no effect on this format."""
    for name in options.given():
        if name not in (*FOR_ALL, *found.options):
            takers = ", ".join(each.name for each in FORMATS if name in each.options)
            raise ExperimentError(
                f"{where}: {name} has no effect on files of this format ({found.name}); it is "
                f"for: {takers}"
            )
