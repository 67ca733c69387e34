"""A Parquet file with one row per request: as CSV, read with pyarrow (extra ``parquet``)."""

from __future__ import annotations

import io

from ..errors import ExperimentError, MissingExtraError
from ..experiment import Experiment
from ._options import ReadOptions
from ._source import Source
from ._table import Table
from ._tabular import experiment_of_table

_MAGIC = b"PAR1"


def detect(source: Source) -> bool:
    """Tell whether a file begins as Parquet files do."""
    return source.data.startswith(_MAGIC)


def table(source: Source) -> Table:
    """Return the rows. Raises ``MissingExtraError`` without pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as exc:
        raise MissingExtraError(
            f"{source.where}: Parquet needs pyarrow: pip install 'pysimbind[parquet]'"
        ) from exc
    try:
        columns = pyarrow.parquet.read_table(io.BytesIO(source.data)).to_pydict()
    except (pyarrow.ArrowException, OSError) as exc:
        raise ExperimentError(f"{source.where}: not a readable Parquet file: {exc}") from exc
    rows = len(next(iter(columns.values()), ()))
    return Table(source.where, columns, [f"row {i}" for i in range(rows)])


def read(source: Source, options: ReadOptions) -> Experiment:
    """Make the experiment; ``ExperimentError`` names the file, row (from 0) and column."""
    return experiment_of_table(source, options, table(source), "Parquet")
