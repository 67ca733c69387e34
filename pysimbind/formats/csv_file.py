"""A CSV file with one row per request and column names in its first line.

The default column names are ``arrival_s``, ``input_tokens``, ``output_tokens``, ``ttft_s``,
``e2e_s`` (or ``_ms``, ``_us``, ``_ns``). The option ``columns`` gives other names.
"""

from __future__ import annotations

from ..experiment import Experiment
from ._options import ReadOptions
from ._source import Source
from ._table import Table
from ._tabular import experiment_of_table


def detect(source: Source) -> bool:
    """Tell whether a file begins with column names and as many values, separated by commas."""
    return bool(source.header)


def table(source: Source) -> Table:
    """Return the rows."""
    return Table.of_csv(source)


def read(source: Source, options: ReadOptions) -> Experiment:
    """Make the experiment; ``ExperimentError`` names the file, line and column."""
    return experiment_of_table(source, options, table(source), "CSV")
