"""The package's own experiment file: JSON with every array on a line.

::

    {"schema": "pysimbind-experiment", "version": 1,
     "name": text,
     "config": {setting: value, ...},            fields of ServerConfig, defaults where left out
     "workload": {
       "arrival_s": [R], "input_tokens": [R], "output_tokens": [R],
       "prompt_token_ids": [R lists],  optional
       "output_token_ids": [R lists],  optional
       "max_concurrency": C,           optional: closed loop, at most C requests in flight
       "strict": true                  optional: false admits unsorted arrivals
     },
     "measured": {"ttft_s": [R], "e2e_s": [R]},  null where the request failed
     "sources": {                                optional: one of SOURCES, or a list [R] of them
       "input_tokens": "exact", "output_tokens": "exact"
     },
     "baseline": {name: value, ...},             optional: all parameters
     "bounds": {set: {name: [lower, upper], ...}, ...},                    optional
     "trials": {"note": text, "parameters": [names], "x": [T rows], "loss": [T]},  optional
     "provenance": {...}}                        optional: anything

Any other key is an error. Options that tell of the server win over ``config``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from .._io.schema import Finite, decode
from ..config import ServerConfig
from ..errors import ExperimentError
from ..experiment import SCHEMA, VERSION, Experiment, Trials
from ..parameters import NAMES, Parameters, Space
from ..vllm.settings import Known
from ..workload import Workload
from ._fields import located
from ._options import ReadOptions
from ._source import Source

_OWN = "the experiment"  # cited for settings that its provenance says nothing of

_Tokens = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Origin = Literal["exact", "estimated", "prior"]


class _Part(msgspec.Struct, forbid_unknown_fields=True):
    """A part of the file: any other key is an error."""


class _Workload(_Part):
    arrival_s: list[Finite]
    input_tokens: list[_Tokens]
    output_tokens: list[_Tokens]
    # Checked row by row when the workload is made: a copy of millions of ids costs too much.
    prompt_token_ids: list[Any] | None = None
    output_token_ids: list[Any] | None = None
    max_concurrency: Annotated[int, msgspec.Meta(ge=1)] | None = None
    strict: bool = True


class _Measured(_Part):
    ttft_s: list[Finite | None]
    e2e_s: list[Finite | None]


class _Sources(_Part):
    input_tokens: _Origin | list[_Origin] = "exact"
    output_tokens: _Origin | list[_Origin] = "exact"


class _Trials(_Part):
    parameters: list[str]
    x: list[list[Finite]]
    loss: list[Finite]
    note: str = ""


class _File(_Part):
    version: int
    name: str
    config: dict[str, Any]
    workload: _Workload
    measured: _Measured
    schema: str = SCHEMA
    sources: _Sources = msgspec.field(default_factory=_Sources)
    baseline: dict[str, Finite] | None = None
    bounds: dict[str, dict[str, tuple[Finite | None, Finite | None]]] = {}
    trials: _Trials | None = None
    provenance: dict[str, Any] = {}


class _Server(msgspec.Struct):
    """What is read of ``provenance["server"]``."""

    sources: dict[str, str] = {}
    assumed: dict[str, Any] = {}
    vllm_version: str | None = None


def detect(source: Source) -> bool:
    """Tell whether a file is an experiment file of this package, whatever its version."""
    return isinstance(source.first, dict) and source.first.get("schema") == SCHEMA


def read(source: Source, options: ReadOptions) -> Experiment:
    """Make the experiment; ``ExperimentError`` names the file and the key."""
    return configured(from_json(source.document(), source.where), options, source.where)


def configured(experiment: Experiment, options: ReadOptions, where: str) -> Experiment:
    """Return the experiment on the server that the options tell, itself where they tell none.

    What its provenance says of settings that stay as they are is kept.
    """
    if not options.given():
        return experiment
    server = experiment.provenance.get("server", {})
    before = decode(server, _Server, where, ExperimentError, "provenance.server")
    known = {k: v for k, v in experiment.config.as_dict().items() if k not in before.assumed}
    told = Known(_OWN, known, vllm_version=before.vllm_version or None)
    config, notes = options.server(where, [told])
    sources = notes["server"]["sources"]
    sources |= {k: v for k, v in before.sources.items() if sources.get(k) == _OWN}
    provenance = {k: v for k, v in experiment.provenance.items() if k != "config"}
    return dataclasses.replace(experiment, config=config, provenance=provenance | notes)


def from_json(obj: object, where: str) -> Experiment:
    """Make the experiment of parsed JSON, ``where`` naming it in errors."""
    if isinstance(obj, dict) and obj.get("version", VERSION) != VERSION:
        raise ExperimentError(
            f"{where}: version: is {obj['version']!r:.40}, this release reads {VERSION}"
        )
    file = decode(obj, _File, where, ExperimentError)
    with located(where):
        return _experiment(file, where)


def read_workload(obj: object, where: str) -> Workload:
    """Make the workload of parsed JSON with the keys of ``workload`` above."""
    read = decode(obj, _Workload, where, ExperimentError)
    with located(where):
        return _workload(read, where)


def _experiment(file: _File, where: str) -> Experiment:
    workload = _workload(file.workload, f"{where}: workload.")
    requests = len(workload)
    for part in ("measured", "sources"):
        _check_lengths(getattr(file, part), requests, f"{where}: {part}.")
    return Experiment(
        name=file.name,
        workload=workload,
        config=ServerConfig.from_mapping(file.config),
        ttft=np.array(file.measured.ttft_s, np.float64),  # null gives NaN
        e2e=np.array(file.measured.e2e_s, np.float64),
        input_source=_source(file.sources.input_tokens),
        output_source=_source(file.sources.output_tokens),
        baseline=None if file.baseline is None else Parameters.from_mapping(file.baseline),
        bounds={name: _space(where, name, box) for name, box in file.bounds.items()},
        trials=None if file.trials is None else _trials(file.trials, f"{where}: trials."),
        provenance=file.provenance,
    )


def _workload(read: _Workload, at: str) -> Workload:
    _check_lengths(read, len(read.arrival_s), at)
    return Workload(
        np.array(read.arrival_s, np.float64),
        np.array(read.input_tokens, np.int64),
        np.array(read.output_tokens, np.int64),
        prompt_token_ids=read.prompt_token_ids,
        output_token_ids=read.output_token_ids,
        max_concurrency=read.max_concurrency,
        strict=read.strict,
    )


def _check_lengths(part: _Part, requests: int, at: str) -> None:
    """Raise ``ExperimentError`` for a list in the part that has not an item for each request."""
    for key in part.__struct_fields__:
        value = getattr(part, key)
        if isinstance(value, list) and len(value) != requests:
            raise ExperimentError(f"{at}{key}: has {len(value)} items for {requests} requests")


def _source(value: Sequence[str]) -> str | tuple[str, ...]:
    return value if isinstance(value, str) else tuple(value)


def _space(where: str, name: str, box: dict[str, Any]) -> Space:
    with located(f"{where}: bounds.{name}"):
        return Space.from_mapping(box)


def _trials(read: _Trials, at: str) -> Trials:
    if read.parameters != list(NAMES):
        raise ExperimentError(f"{at}parameters: must be the names in order: {', '.join(NAMES)}")
    trials = len(read.loss)
    if len(read.x) != trials:
        raise ExperimentError(f"{at}x: has {len(read.x)} items for {trials} trials")
    for i, row in enumerate(read.x):
        if len(row) != len(NAMES):
            raise ExperimentError(f"{at}x[{i}]: has {len(row)} values for {len(NAMES)} parameters")
    return Trials(np.array(read.x).reshape(trials, len(NAMES)), np.array(read.loss), read.note)
