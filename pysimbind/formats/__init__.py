"""The measurement formats that ``load_experiment`` reads, one module each.

A format is a line in ``FORMATS``: the first whose ``detect`` says yes reads the file, so a format
stands before those that would take its files for theirs. To add one, write a module with
``detect(source)`` and ``read(source, options)`` and name it here.
"""

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
from ._arrivals import GRAMMAR as ARRIVALS
from ._options import FOR_ALL, ReadOptions
from ._source import Source
from ._table import Table


@dataclass(frozen=True)
class Format:
    """One measurement format.

    ``detect(source)`` tells, quickly and without raising, whether a file is of this format;
    ``read(source, options)`` makes the experiment of it, or raises ``ExperimentError`` naming the
    file and the place. ``options``: those that it takes besides ``FOR_ALL``; any other that was
    given is refused, never ignored. ``table``: the file as a plain table, for formats that are one.
    """

    name: str
    detect: Callable[[Source], bool]
    read: Callable[[Source, ReadOptions], Experiment]
    options: tuple[str, ...] = ()
    table: Callable[[Source], Table] | None = None


_CSV_HINT = ": column names in the first line, commas between them, and as many values below"
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
    """Return the format of a file, None if none is known."""
    return next((each for each in FORMATS if each.detect(source)), None)


def read_experiment(source: Source, options: ReadOptions) -> Experiment:
    """Read a file of any known format.

    Raises ``ExperimentError`` for a file of no known format and for an option without effect.
    """
    found = format_of(source)
    if found is None:
        if not source.data.strip():
            raise ExperimentError(f"{source.where}: the file is empty")
        if source.head.lstrip().startswith(("{", "[")) or not source.text.strip():
            source.document()  # to say what is wrong with it as JSON
        known = ", ".join(each.name for each in FORMATS)
        raise ExperimentError(
            f"{source.where}: not a measurement file of a known format ({known}{_hint(source)})"
        )
    _check_options(found, source.where, options)
    return found.read(source, options)


def reconfigure(experiment: Experiment, options: ReadOptions, where: str) -> Experiment:
    """Return an experiment that was read already as it would have been with these options.

    Raises ``ExperimentError`` for options that a canonical file does not take.
    """
    _check_options(FORMATS[0], where, options)
    return canonical.configured(experiment, options, where)


def _hint(source: Source) -> str:
    """Say what a CSV file looks like, where one seems to be meant."""
    named = source.where.removesuffix(".gz").endswith((".csv", ".tsv"))
    return _CSV_HINT if named else ""


def _check_options(found: Format, where: str, options: ReadOptions) -> None:
    for name in options.given():
        if name not in (*FOR_ALL, *found.options):
            takers = ", ".join(each.name for each in FORMATS if name in each.options)
            raise ExperimentError(
                f"{where}: {name} has no effect on files of this format ({found.name}); it is "
                f"for: {takers}"
            )


__all__ = [
    "ARRIVALS",
    "FORMATS",
    "Format",
    "ReadOptions",
    "Source",
    "format_of",
    "read_experiment",
    "reconfigure",
]
