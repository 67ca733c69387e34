"""An experiment: a workload, the server that it met, and the latencies that were measured."""

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
"""Where a token count comes from: measured, inferred from the latencies, or a typical value."""

SCHEMA = "pysimbind-experiment"
VERSION = 1
"""What the package's own experiment file says of itself."""


@dataclass(frozen=True, eq=False)
class Trials:
    """What an earlier optimisation tried: ``x`` [T, names] and its reported ``loss`` [T], in s^2.

    ``note`` says how that loss was made. Raises ``ExperimentError`` for shapes that do not agree.
    """

    x: FloatArray
    loss: FloatArray
    note: str = ""

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
    """One measured run; immutable. Everything per request is in the workload's order.

    ``ttft``, ``e2e`` [R]: time to first token and end-to-end latency in seconds; NaN where the
    request failed. ``input_source``, ``output_source``: where each token count comes from, one of
    ``SOURCES`` for all or for each request. ``baseline``: parameters known beforehand. ``bounds``:
    named boxes to search. ``trials``: what an earlier optimisation tried. ``provenance``: how the
    numbers came about, anything that JSON can hold.

    Raises ``ExperimentError`` for shapes that do not agree and values that cannot be latencies.
    """

    name: str
    workload: Workload
    config: ServerConfig
    ttft: FloatArray
    e2e: FloatArray
    input_source: tuple[str, ...] | str = "exact"
    output_source: tuple[str, ...] | str = "exact"
    baseline: Parameters | None = None
    bounds: Mapping[str, Space] = field(default_factory=dict)
    trials: Trials | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

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
        """What a result of this experiment rests on that was not measured; ``""`` if nothing."""
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
        """Write the experiment as canonical JSON, compressed where the name ends in ``.gz``.

        The file is replaced in one piece. Raises ``OutputError`` where it cannot be written.
        """
        write_json(path, self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Return the experiment as JSON values; ``pysimbind.formats.canonical`` has the keys."""
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
