"""TraceV2, the traces of ``blis observe``: a YAML header, and a CSV file beside it.

Source: ``sim/workload/tracev2.go`` of ``inference-sim/inference-sim``; header versions 2 and 3.
Columns are found by name, since optional columns stand between the others. Latencies count from
``send_time_us``. ``arrival_time_us`` is the planned time, on another clock. ``server_input_tokens``
is the server's count of the prompt (0: not recorded), and overrides the client's ``input_tokens``.
Requests with a ``request_id`` below ``warm_up_requests`` are warm-up (as in ``calibrate.go``
there). A request that was not streamed has no first token, so no TTFT.

Either file may be given. The other has the same name with another ending. A trace without its
header is read too, but then warm-up and server settings are unknown.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from .._io.yaml_text import parse_yaml
from ..errors import ExperimentError
from ..experiment import Experiment
from ..vllm.settings import Known, from_mapping
from ._fields import Fields
from ._options import ReadOptions
from ._requests import CLIENT_INPUT, INTENDED, SERVER_INPUT, Requests, aligned, experiment_of
from ._source import Source
from ._table import Table

FloatArray = npt.NDArray[np.float64]

_COLUMNS = (
    "request_id",
    "input_tokens",
    "output_tokens",
    "send_time_us",
    "first_chunk_time_us",
    "status",
)
_VERSIONS = (2, 3)
_HEADER = re.compile(r"^trace_version\s*:", re.MULTILINE)
_SERVER_FILE = "server_config.json"
_STAMPS = ("send", "first_chunk", "last_chunk")
_NEEDS = "the header of a trace needs PyYAML: pip install 'pysimbind[yaml]'"
_US = 1e-6


def detect(source: Source) -> bool:
    """Tell whether a file is the header or the rows of a trace."""
    if source.header:
        return all(column in source.header for column in _COLUMNS)
    return source.first is None and _HEADER.search(source.head) is not None


def read(source: Source, options: ReadOptions) -> Experiment:
    """Make the experiment; ``ExperimentError`` names the file, line and column."""
    if source.header:
        rows, header = source, source.sibling(f"{source.name}.yaml", f"{source.name}.yml")
    else:
        rows, header = _rows_of(source), source
    told = {} if header is None else _read_header(header)
    table = Table.of_csv(rows)
    warm_up = table.counts("request_id") < told.get("warm_up_requests", 0)
    requests = _requests(table, warm_up)
    provenance: dict[str, Any] = {"source": "TraceV2"}
    if "prefix_group" in table and any(table.texts("prefix_group")):
        provenance["prefixes"] = "prompts share prefixes, whose token ids the trace does not hold"
    if header is None:
        provenance["header"] = f"{rows.name}.yaml is missing: warm-up requests are not known"
    provenance |= {k: told[k] for k in ("mode", "workload_seed", "workload_spec") if k in told}
    return experiment_of(source, options, requests, provenance, _server(rows, header, told))


def _rows_of(header: Source) -> Source:
    rows = header.sibling(f"{header.name}.csv", f"{header.name}.csv.gz")
    if rows is None:
        raise ExperimentError(
            f"{header.where}: is the header of a trace, whose rows {header.name}.csv are missing"
        )
    return rows


def _read_header(header: Source) -> dict[str, Any]:
    told = parse_yaml(header.text, header.where, ExperimentError, _NEEDS)
    fields = Fields(told, header.where)
    if fields.get("trace_version") not in _VERSIONS:
        raise fields.error(
            "trace_version", f"is {told['trace_version']!r}, expected one of {_VERSIONS}"
        )
    if fields.obj.get("time_unit", "us") != "us":
        raise fields.error("time_unit", f"is {told['time_unit']!r}, expected 'us'")
    if "warm_up_requests" in told:
        fields.count("warm_up_requests")
    return fields.obj


def _requests(table: Table, warm_up: npt.NDArray[np.bool_]) -> Requests:
    send, first, last = (_stamps_us(table, f"{name}_time_us") for name in _STAMPS)
    if np.isnan(send).all():
        raise ExperimentError(
            f"{table.where}: send_time_us is 0 in every row: a generated trace, nothing measured"
        )
    start = (send - np.nanmin(send)) * _US  # subtract before scaling: whole microseconds are exact
    inputs, facts = _input_tokens(table)
    if "arrival_time_us" in table:
        facts[INTENDED] = aligned(table.numbers("arrival_time_us") * _US, start)
    return Requests(
        start_s=start,
        input_tokens=inputs,
        output_tokens=table.counts("output_tokens"),
        ttft_s=np.where(_streamed(table), (first - send) * _US, np.nan),
        e2e_s=(last - send) * _US,
        failed=np.array([status != "ok" for status in table.texts("status")]),
        facts=facts,
        warmup=warm_up,
    )


def _stamps_us(table: Table, column: str) -> FloatArray:
    """Return times in microseconds; 0 means that the event never happened."""
    stamps = table.numbers(column)
    return np.where(stamps == 0, np.nan, stamps)


def _streamed(table: Table) -> npt.NDArray[np.bool_]:
    if "streaming" not in table:
        return np.ones(len(table), dtype=np.bool_)
    return np.array([text.lower() != "false" for text in table.texts("streaming")])


def _input_tokens(table: Table) -> tuple[npt.NDArray[np.int64], dict[str, FloatArray]]:
    client = table.counts("input_tokens")
    if "server_input_tokens" not in table:
        return client, {}
    server = table.counts("server_input_tokens")
    if not server.any():
        return client, {}
    facts = {
        SERVER_INPUT: np.where(server > 0, server, np.nan),
        CLIENT_INPUT: client.astype(np.float64),
    }
    return np.where(server > 0, server, client), facts


def _server(rows: Source, header: Source | None, told: dict[str, Any]) -> list[Known]:
    known = []
    if header is not None and isinstance(told.get("server"), dict):
        known.append(from_mapping(told["server"], header.where))
    beside = rows.sibling(_SERVER_FILE)
    if beside is not None:
        known.append(from_mapping(Fields(beside.document(), beside.where).obj, beside.where))
    return known
