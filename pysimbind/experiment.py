"""An experiment: a workload, the server that ran it, and the measured latencies."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ._io.files import write_json
from .config import ServerConfig
from .errors import ExperimentError
from .parameters import NAMES, Parameters, Space
from .workload import Workload

FloatArray = npt.NDArray[np.float64]

SOURCES: tuple[str, ...] = ("exact", "estimated", "prior")
"""Origin of a token count: measured, inferred from latencies, or a typical value."""

SCHEMA = "pysimbind-experiment"
VERSION = 1
"""The schema name and version in the package's own experiment files."""


@dataclass(frozen=True, eq=False)
class Trials:
    """The trials of an earlier optimisation. Raises ``ExperimentError`` if shapes disagree."""

    x: FloatArray
    """The tried parameters [T, names]."""
    loss: FloatArray
    """The loss that was reported for each trial [T], in s^2."""
    note: str = ""
    """How that loss was computed."""

    def __post_init__(self) -> None:
        x = np.array(self.x, dtype=np.float64)
        loss = np.array(self.loss, dtype=np.float64)
        if loss.ndim != 1 or x.shape != (loss.size, len(NAMES)):
            raise ExperimentError(
                f"trials must be x [T, {len(NAMES)}] and loss [T], got {x.shape} and {loss.shape}"
            )
        for name, array in (("x", x), ("loss", loss)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def as_dict(self) -> dict[str, Any]:
        """Return the trials as JSON values."""
        return {
            "note": self.note,
            "parameters": list(NAMES),
            "x": self.x.tolist(),
            "loss": self.loss.tolist(),
        }

    def __len__(self) -> int:
        return int(self.loss.size)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trials):
            return NotImplemented
        return (
            np.array_equal(self.x, other.x)
            and np.array_equal(self.loss, other.loss, equal_nan=True)
            and self.note == other.note
        )

    __hash__ = None  # type: ignore[assignment]  # compared by content, too large to hash


@dataclass(frozen=True, eq=False)
class Experiment:
    """One measured run; immutable. Every array has one value per request, in workload order.

    Raises ``ExperimentError`` for shapes that disagree, and for values that cannot be latencies.
    """

    name: str
    """Name of the run."""
    workload: Workload
    """The requests that were sent, R of them."""
    config: ServerConfig
    """The settings of the server."""
    ttft: FloatArray
    """Time to first token [R] in seconds; NaN if the request failed."""
    e2e: FloatArray
    """End-to-end latency [R] in seconds; NaN if the request failed."""
    input_source: tuple[str, ...] | str = "exact"
    """Origin of the prompt lengths: one of ``SOURCES``, for all requests or for each."""
    output_source: tuple[str, ...] | str = "exact"
    """Origin of the output lengths, as ``input_source``."""
    baseline: Parameters | None = None
    """Parameters that were known before."""
    bounds: Mapping[str, Space] = field(default_factory=dict)
    """Boxes to search, by name."""
    trials: Trials | None = None
    """What an earlier optimisation tried."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """How the numbers were obtained: any values that JSON can hold."""

    def __post_init__(self) -> None:
        for name, kind in (("workload", Workload), ("config", ServerConfig)):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise ExperimentError(
                    f"{name} must be a {kind.__name__}, got {type(value).__name__}"
                )
        requests = len(self.workload)
        boxes = self.bounds.items()
        fixed: dict[str, Any] = {
            "ttft": _latencies("ttft", self.ttft, requests),
            "e2e": _latencies("e2e", self.e2e, requests),
            "input_source": _sources("input_source", self.input_source, requests),
            "output_source": _sources("output_source", self.output_source, requests),
            "baseline": None if self.baseline is None else Parameters.of(self.baseline),
            "bounds": MappingProxyType(
                {n: b if isinstance(b, Space) else Space.from_mapping(b) for n, b in boxes}
            ),
            "provenance": MappingProxyType(dict(self.provenance)),
        }
        for name, checked in fixed.items():
            object.__setattr__(self, name, checked)

    @property
    def num_requests(self) -> int:
        """The number of requests, R."""
        return len(self.workload)

    @property
    def caveat(self) -> str:
        """Which token counts were not measured, in words; ``""`` if all were."""
        inputs, outputs = Counter(self.input_source), Counter(self.output_source)
        parts = [
            (outputs["estimated"], "output lengths estimated"),
            (outputs["prior"], "output lengths unknown"),
            (inputs["estimated"], "prompt lengths estimated"),
            (inputs["prior"], "prompt lengths unknown"),
        ]
        said = [(count, what) for count, what in parts if count]
        return ", ".join(
            f"{count}{'' if i else f' of {self.num_requests}'} {what}"
            for i, (count, what) in enumerate(said)
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the experiment as canonical JSON, with gzip if the name ends in ``.gz``.

        The file is replaced in one piece. Raises ``OutputError`` if it cannot be written.
        """
        write_json(path, self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Return the experiment as JSON values. ``pysimbind.formats.canonical`` lists the keys."""
        obj: dict[str, Any] = {
            "schema": SCHEMA,
            "version": VERSION,
            "name": self.name,
            "config": self.config.as_dict(),
            "workload": self.workload.as_dict(),
            "measured": {"ttft_s": _nullable(self.ttft), "e2e_s": _nullable(self.e2e)},
            "sources": {
                "input_tokens": _shortest(self.input_source),
                "output_tokens": _shortest(self.output_source),
            },
        }
        if self.baseline is not None:
            obj["baseline"] = self.baseline.as_dict()
        if self.bounds:
            obj["bounds"] = {name: space.as_dict() for name, space in self.bounds.items()}
        if self.trials is not None:
            obj["trials"] = self.trials.as_dict()
        if self.provenance:
            obj["provenance"] = dict(self.provenance)
        return obj

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Experiment):
            return NotImplemented
        return all(_same(getattr(self, n), getattr(other, n)) for n in self.__dataclass_fields__)

    __hash__ = None  # type: ignore[assignment]  # compared by content, too large to hash

    def __repr__(self) -> str:
        caveat = f" ({self.caveat})" if self.caveat else ""
        return f"<Experiment {self.name!r}: {self.num_requests} requests{caveat}>"

    def __reduce__(self) -> tuple[Any, ...]:
        values = [getattr(self, name) for name in self.__dataclass_fields__]
        return Experiment, tuple(dict(v) if isinstance(v, Mapping) else v for v in values)


def _latencies(name: str, values: npt.ArrayLike, requests: int) -> FloatArray:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise ExperimentError(f"{name} must be seconds, NaN for a failed request: {exc}") from exc
    if array.shape != (requests,):
        raise ExperimentError(f"{name} has shape {array.shape} for {requests} requests")
    bad = np.flatnonzero((array < 0) | np.isinf(array))
    if bad.size:
        raise ExperimentError(f"{name} of request {bad[0]} is {array[bad[0]]}: not a latency")
    array.setflags(write=False)
    return array


def _sources(name: str, values: Iterable[str] | str, requests: int) -> tuple[str, ...]:
    sources = (values,) * requests if isinstance(values, str) else tuple(values)
    for i, source in enumerate(sources):
        if source not in SOURCES:
            raise ExperimentError(
                f"{name} of request {i} is {source!r}: must be one of {', '.join(SOURCES)}"
            )
    if len(sources) != requests:
        raise ExperimentError(f"{name} has {len(sources)} values for {requests} requests")
    return sources


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=True)
    return bool(a == b)


def _nullable(values: FloatArray) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]


def _shortest(sources: tuple[str, ...] | str) -> str | list[str]:
    distinct = set(sources)
    return distinct.pop() if len(distinct) == 1 else list(sources)
