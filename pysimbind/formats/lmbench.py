"""The CSV file of LMBench's multi-round client.

Source: ``LMBench/LMBench``, one file ``LMBench_WORKLOAD_output_QPS.csv`` per load. Columns:
``prompt_tokens``, ``generation_tokens``, ``ttft`` (s), ``generation_time`` (s, from the first token
to the last), ``launch_time`` and ``finish_time`` (s of the client's wall clock).
"""

from __future__ import annotations

import numpy as np

from ..experiment import Experiment
from ._options import ReadOptions
from ._requests import Requests, experiment_of
from ._source import Source
from ._table import Table

_COLUMNS = ("prompt_tokens", "generation_tokens", "ttft", "launch_time", "finish_time")


def detect(source: Source) -> bool:
    """Tell whether a CSV file has LMBench's columns."""
    return all(column in source.header for column in _COLUMNS)


def read(source: Source, options: ReadOptions) -> Experiment:
    """Make the experiment; ``ExperimentError`` names the file, line and column."""
    table = Table.of_csv(source)
    start, finish = table.numbers("launch_time"), table.numbers("finish_time")
    requests = Requests(
        start_s=start,
        input_tokens=table.counts("prompt_tokens"),
        output_tokens=table.counts("generation_tokens"),
        ttft_s=table.numbers("ttft"),
        e2e_s=finish - start,
        failed=np.isnan(finish),
    )
    return experiment_of(source, options, requests, {"source": "LMBench"})
