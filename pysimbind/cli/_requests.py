"""The results of a simulation request by request, as JSON or CSV."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

from .._io.files import write_bytes, write_json
from ..errors import OutputError
from ..results import SimResult, Status
from ._scenario import Scenario

SCHEMA = "pysimbind-simulation"
VERSION = 1

_ENDINGS = (".json", ".csv", ".json.gz", ".csv.gz")


def check_ending(path: str) -> None:
    """Raise ``OutputError`` unless the file's name says in which format to write it."""
    if not path.endswith(_ENDINGS):
        raise OutputError(f"{path}: in which format? end it with {' or '.join(_ENDINGS[:2])}")


def save_requests(scenario: Scenario, result: SimResult, path: str) -> None:
    """Write a row for each request, in request order: CSV, or JSON with parameters and settings.

    A latency that never came is empty in CSV and null in JSON. The file is written in one piece;
    raises ``OutputError`` where it cannot be.
    """
    columns = _columns(scenario, result)
    if Path(path.removesuffix(".gz")).suffix == ".csv":
        write_bytes(path, _csv(columns).encode())
    else:
        write_json(path, {**_head(scenario, result), "requests": columns})


def _columns(scenario: Scenario, result: SimResult) -> dict[str, list[Any]]:
    workload = scenario.experiment.workload
    columns: dict[str, list[Any]] = {
        "arrival_s": workload.arrival_s.tolist(),
        "sent_s": result.sent_s.tolist(),
        "input_tokens": workload.input_tokens.tolist(),
        "output_tokens": workload.output_tokens.tolist(),
        "ttft_s": result.ttft.tolist(),
        "e2e_s": result.e2e.tolist(),
        "status": [Status(code).name.lower() for code in result.status.tolist()],
        "generated_tokens": result.generated_tokens.tolist(),
        "cached_tokens": result.cached_tokens.tolist(),
        "preemptions": result.preemptions.tolist(),
        "queue_time_s": result.queue_time_s.tolist(),
        "prefill_time_s": result.prefill_time_s.tolist(),
        "inter_token_s": result.inter_token_s.tolist(),
    }
    return {name: [_or_none(value) for value in values] for name, values in columns.items()}


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _head(scenario: Scenario, result: SimResult) -> dict[str, Any]:
    experiment = scenario.experiment
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "experiment": experiment.name,
        "caveat": experiment.caveat,
        "notes": list(scenario.notes),
        "model": scenario.params.model.name,
        "params": scenario.params.as_dict(),
        "params_from": scenario.source,
        "config": experiment.config.as_dict(),
        "max_concurrency": experiment.workload.max_concurrency,
        "outcome": result.outcome.name.lower(),
        "steps": result.steps,
        "peak_kv_blocks": result.peak_kv_blocks,
    }


def _csv(columns: dict[str, list[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("request", *columns))
    writer.writerows((i, *row) for i, row in enumerate(zip(*columns.values(), strict=True)))
    return text.getvalue()
