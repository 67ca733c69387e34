"""Make an ``Experiment`` from the requests of a file: order, time zero, failures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ExperimentError
from ..experiment import Experiment
from ..vllm.settings import Known
from ..workload import Workload
from ._fields import located
from ._options import ReadOptions
from ._source import Source

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

INTENDED = "intended_arrival_s"
CACHED = "cached_tokens"
SERVER_INPUT = "server_input_tokens"
CLIENT_INPUT = "client_input_tokens"


@dataclass(frozen=True)
class Requests:
    """The data of R requests, in the order of the file."""

    start_s: FloatArray
    """When each request was sent [R], in seconds of any clock; NaN: never."""
    input_tokens: IntArray
    """Prompt lengths [R]."""
    output_tokens: IntArray
    """Output lengths [R]."""
    ttft_s: FloatArray
    """Time to first token [R] in seconds; NaN: unknown."""
    e2e_s: FloatArray
    """End-to-end latency [R] in seconds; NaN: unknown."""
    failed: npt.NDArray[np.bool_]
    """Whether each request failed [R]. Its latencies are then ignored."""
    facts: Mapping[str, FloatArray] = field(default_factory=dict)
    """Arrays [R] for the provenance; NaN: unknown. ``intended_arrival_s`` uses the clock of
    ``start_s``."""
    warmup: npt.NDArray[np.bool_] | None = None
    """Whether each request was sent before the measurement began [R]."""
    input_source: tuple[str, ...] | str = "exact"
    """Origin of the prompt lengths, as in ``Experiment``."""
    output_source: tuple[str, ...] | str = "exact"
    """Origin of the output lengths, as in ``Experiment``."""
    max_concurrency: int | None = None
    """The client's limit of requests in flight, only if the starts are planned times, not actual
    sends."""


def experiment_of(
    source: Source,
    options: ReadOptions,
    requests: Requests,
    provenance: Mapping[str, Any],
    told: Iterable[Known] = (),
) -> Experiment:
    """Make the experiment: sorted by sending, the first at 0, failed requests unmeasured.

    A failed request loaded the server too. It stays in the workload with the tokens that it
    generated, and its latencies are NaN. A request that was never sent is left out. ``told``: the
    server settings in the file. Raises ``ExperimentError`` if no request was sent.
    """
    warmup = requests.warmup if requests.warmup is not None else np.zeros_like(requests.failed)
    unsent = ~np.isfinite(requests.start_s)
    kept = np.flatnonzero(~unsent & ~(warmup & options.drop_warmup))
    if kept.size == 0:
        raise ExperimentError(f"{source.where}: no request was sent to the server")
    order = kept[np.argsort(requests.start_s[kept], kind="stable")]
    zero = requests.start_s[order[0]]
    config, server = options.server(source.where, told)
    unmeasured = (requests.failed | warmup)[order]
    with located(source.where):
        return Experiment(
            name=source.name,
            workload=Workload(
                requests.start_s[order] - zero,
                requests.input_tokens[order],
                requests.output_tokens[order],
                max_concurrency=requests.max_concurrency,
            ),
            config=config,
            ttft=np.where(unmeasured, np.nan, requests.ttft_s[order]),
            e2e=np.where(unmeasured, np.nan, requests.e2e_s[order]),
            input_source=_ordered(requests.input_source, order),
            output_source=_ordered(requests.output_source, order),
            provenance={
                **provenance,
                **_losses(requests.failed & ~warmup & ~unsent, unsent),
                **_warmup(warmup, options.drop_warmup),
                **server,
                **{name: _fact(name, v[order], zero) for name, v in requests.facts.items()},
            },
        )


def _ordered(source: tuple[str, ...] | str, order: IntArray) -> tuple[str, ...] | str:
    return source if isinstance(source, str) else tuple(source[i] for i in order)


def aligned(intended_s: FloatArray, start_s: FloatArray) -> FloatArray:
    """Move planned times of another clock to the clock of the starts.

    The request with the smallest delay is assumed to have had none.
    """
    delays = start_s - intended_s
    known = delays[np.isfinite(delays)]
    shifted: FloatArray = intended_s + (known.min() if known.size else 0.0)
    return shifted


def _losses(failed: npt.NDArray[np.bool_], unsent: npt.NDArray[np.bool_]) -> dict[str, str]:
    notes = {}
    if failed.any():
        notes["failed"] = f"{failed.sum()} requests failed: latencies not measured"
    if unsent.any():
        notes["unsent"] = f"{unsent.sum()} requests were never sent: left out"
    return notes


def _warmup(warmup: npt.NDArray[np.bool_], dropped: bool) -> dict[str, str]:
    if not warmup.any():
        return {}
    fate = "left out" if dropped else "kept in the workload, not measured"
    return {"warmup": f"{warmup.sum()} warm-up requests: {fate}"}


def _fact(name: str, values: FloatArray, zero: float) -> list[float | int | None]:
    if name == INTENDED:
        return [None if np.isnan(value) else float(value) for value in values - zero]
    return [None if np.isnan(value) else int(value) for value in values]
