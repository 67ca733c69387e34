"""The part that CSV and Parquet files share: make an experiment from a table."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from ..experiment import Experiment
from ._asked import Asked
from ._columns import Columns
from ._options import ReadOptions
from ._requests import CACHED, INTENDED, Requests, experiment_of
from ._source import Source
from ._start_times import generate
from ._table import Table

FloatArray = npt.NDArray[np.float64]


def experiment_of_table(
    source: Source, options: ReadOptions, table: Table, kind: str
) -> Experiment:
    """Make the experiment from a table.

    The table needs ``ttft`` or ``first_token``, and ``e2e`` or ``finish``. It needs ``arrival``,
    unless the option ``arrivals`` draws them. It needs ``input`` and ``output``, unless the option
    ``workload`` has them. An empty cell means that the request was not measured. Raises
    ``ExperimentError`` for a missing column.
    """
    columns = Columns(table, options.columns)
    given = _lengths(columns, options, table)
    start, note = _arrivals(columns, options, table)
    facts = {}
    if "intended" in columns:
        facts[INTENDED] = columns.seconds("intended")
    if "cached" in columns:
        facts[CACHED] = columns.tokens("cached").astype(np.float64)
    requests = Requests(
        start_s=start,
        input_tokens=given.input_tokens,
        output_tokens=given.output_tokens,
        ttft_s=_latency(columns, "ttft", "first_token", start),
        e2e_s=_latency(columns, "e2e", "finish", start),
        failed=np.zeros(len(table), dtype=np.bool_),
        facts=facts,
        input_source=given.input_source,
        output_source=given.output_source,
    )
    if options.workload is not None:
        note = {"workload": f"token counts from {os.path.basename(given.where)}", **note}
    return experiment_of(source, options, requests, {"source": kind, **note})


def _lengths(columns: Columns, options: ReadOptions, table: Table) -> Asked:
    if options.workload is not None:
        given = options.asked(table.where)
        given.require(len(table), table.where)
        return given
    for role in ("input", "output"):
        if role not in columns:
            raise columns.missing(role)
    return Asked(table.where, None, columns.tokens("input"), columns.tokens("output"))


def _arrivals(
    columns: Columns, options: ReadOptions, table: Table
) -> tuple[FloatArray, dict[str, str]]:
    if options.arrivals is not None:
        made = generate(options.arrivals, len(table), table.where)
        return made.arrival_s, {"arrivals": made.note}
    if "arrival" not in columns:
        raise columns.missing("arrival")
    return columns.seconds("arrival"), {}


def _latency(columns: Columns, role: str, moment: str, start: FloatArray) -> FloatArray:
    if role in columns:
        return columns.seconds(role)
    if moment not in columns:
        raise columns.missing(role, moment)
    passed: FloatArray = columns.seconds(moment) - start
    return passed
