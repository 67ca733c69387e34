"""The option ``workload``: what was asked of the server, for files that do not say."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ExperimentError
from ..experiment import experiment_names, load_experiment
from ..workload import Workload
from ..workloads.tokenised import from_tokenised
from . import canonical
from ._columns import COUNTS, Columns
from ._options import ReadOptions
from ._source import Source
from ._table import Table

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Asked:
    """Token counts [R] in request order, arrivals where known, and all else of a ``Workload``."""

    where: str
    arrival_s: npt.NDArray[np.float64] | None
    input_tokens: IntArray
    output_tokens: IntArray
    more: dict[str, Any] = field(default_factory=dict)
    input_source: tuple[str, ...] | str = "exact"
    output_source: tuple[str, ...] | str = "exact"

    def __len__(self) -> int:
        return int(self.input_tokens.size)

    def workload(self, arrival_s: npt.NDArray[np.float64]) -> Workload:
        """Return the requests, sent at other times."""
        return Workload(arrival_s, self.input_tokens, self.output_tokens, **self.more)

    def require(self, count: int, where: str) -> None:
        """Raise ``ExperimentError`` unless there are ``count`` requests, as there are in a file."""
        if len(self) != count:
            raise ExperimentError(
                f"{where}: measured {count} requests, but the workload {self.where} has "
                f"{len(self)} (failed ones may be left out there)"
            )


def asked(options: ReadOptions, where: str) -> Asked:
    """Read the option ``workload``: an object, a bundled experiment, or a file.

    A file may be a measurement of any format, a JSON object of ``arrival_s``, ``input_tokens``
    and so on, as in the canonical file, the original experiment's tokenised conversations, or a CSV
    or Parquet table, whose arrivals may be missing. Raises ``ExperimentError`` where the option was
    not given, and ``InputError`` where it names nothing good.
    """
    given = options.workload
    if given is None:
        raise ExperimentError(
            f"{where}: does not tell the token counts of its requests: give workload=FILE"
        )
    if isinstance(given, Workload):
        return _of_workload(given, "given")
    if given not in experiment_names() and os.path.exists(given):
        source = Source.open(given)
        told = _of_file(source)
        if told is not None:
            return told
    experiment = load_experiment(given)
    return dataclasses.replace(
        _of_workload(experiment.workload, str(given)),
        input_source=experiment.input_source,
        output_source=experiment.output_source,
    )


def _of_file(source: Source) -> Asked | None:
    """Read a file that holds a workload and no more; None where it is a measurement."""
    from . import format_of  # here: the table of formats needs this module

    if _is_tokenised(source.first):
        return _of_workload(from_tokenised(source.where), source.where)
    if isinstance(source.first, dict) and "arrival_s" in source.first:
        workload = canonical.read_workload(source.document(), source.where)
        return _of_workload(workload, source.where)
    found = format_of(source)
    if found is not None and found.table is not None:
        return _of_table(found.table(source))
    return None


def _is_tokenised(document: Any) -> bool:
    """Tell whether this is the original experiment's workload, conversations of token ids."""
    if not isinstance(document, list) or not document:
        return False
    return isinstance(document[0], dict) and "conversations" in document[0]


def _of_workload(workload: Workload, where: str) -> Asked:
    more: dict[str, Any] = {
        "max_concurrency": workload.max_concurrency,
        "strict": workload.strict,
    }
    if workload.prompt_ids is not None:
        more["prompt_token_ids"] = canonical.lists(workload.prompt_ids)
    if workload.output_ids is not None:
        more["output_token_ids"] = canonical.lists(workload.output_ids)
    arrays = (workload.arrival_s, workload.input_tokens, workload.output_tokens)
    return Asked(where, *arrays, more)


def _of_table(table: Table) -> Asked:
    columns = Columns(table, None)
    arrival_s = columns.seconds("arrival") if "arrival" in columns else None
    counts = (table.counts(COUNTS["input"]), table.counts(COUNTS["output"]))
    return Asked(table.where, arrival_s, *counts)
