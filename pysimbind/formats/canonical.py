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
from typing import Any

import numpy as np

from ..config import ServerConfig
from ..experiment import SCHEMA, VERSION, Experiment, Trials
from ..parameters import NAMES, Parameters, Space
from ..vllm.settings import Known
from ..workload import Workload
from ._fields import Fields, located
from ._options import ReadOptions
from ._source import Source

_OWN = "the experiment"  # cited for settings that its provenance says nothing of
_TOP = (
    "schema",
    "version",
    "name",
    "config",
    "workload",
    "measured",
    "sources",
    "baseline",
    "bounds",
    "trials",
    "provenance",
)
_WORKLOAD = (
    "arrival_s",
    "input_tokens",
    "output_tokens",
    "prompt_token_ids",
    "output_token_ids",
    "max_concurrency",
    "strict",
)


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
    before = Fields(experiment.provenance.get("server", {}), where, "provenance.server")
    cited = Fields(before.obj.get("sources", {}), where, "provenance.server.sources").obj
    assumed = Fields(before.obj.get("assumed", {}), where, "provenance.server.assumed").obj
    known = {k: v for k, v in experiment.config.as_dict().items() if k not in assumed}
    told = Known(_OWN, known, vllm_version=before.text("vllm_version", "") or None)
    config, notes = options.server(where, [told])
    sources = notes["server"]["sources"]
    sources |= {k: v for k, v in cited.items() if sources.get(k) == _OWN}
    provenance = {k: v for k, v in experiment.provenance.items() if k != "config"}
    return dataclasses.replace(experiment, config=config, provenance=provenance | notes)


def from_json(obj: object, where: str) -> Experiment:
    """Make the experiment of parsed JSON, ``where`` naming it in errors."""
    top = Fields(obj, where, known=_TOP)
    if top.get("version") != VERSION:
        raise top.error("version", f"is {top.get('version')!r}, this release reads {VERSION}")
    with located(where):
        return _experiment(top)


def read_workload(obj: object, where: str) -> Workload:
    """Make the workload of parsed JSON with the keys of ``workload`` above."""
    with located(where):
        return _workload(Fields(obj, where, known=_WORKLOAD))


def _experiment(top: Fields) -> Experiment:
    obj, where = top.obj, top.where
    config = ServerConfig.from_mapping(top.get("config"))
    workload = _workload(Fields(top.get("workload"), where, "workload", _WORKLOAD))
    measured = Fields(top.get("measured"), where, "measured", ("ttft_s", "e2e_s"))
    sources = Fields(
        obj.get("sources", {}), where, "sources", known=("input_tokens", "output_tokens")
    )
    baseline = obj.get("baseline")
    bounds = Fields(obj.get("bounds", {}), where, "bounds").obj
    return Experiment(
        name=top.text("name"),
        workload=workload,
        config=config,
        ttft=measured.numbers("ttft_s", len(workload), missing=True),
        e2e=measured.numbers("e2e_s", len(workload), missing=True),
        input_source=_source(sources, "input_tokens", len(workload)),
        output_source=_source(sources, "output_tokens", len(workload)),
        baseline=None if baseline is None else _baseline(top),
        bounds={name: _space(top, name, box) for name, box in bounds.items()},
        trials=_trials(top) if "trials" in obj else None,
        provenance=Fields(obj.get("provenance", {}), where, "provenance").obj,
    )


def _workload(fields: Fields) -> Workload:
    arrival_s = fields.numbers("arrival_s")
    strict = fields.obj.get("strict", True)
    if not isinstance(strict, bool):
        raise fields.error("strict", f"must be true or false, got {strict!r:.40}")
    ids = {
        key: fields.items(key, arrival_s.size)
        for key in ("prompt_token_ids", "output_token_ids")
        if key in fields.obj
    }
    return Workload(
        arrival_s,
        fields.integers("input_tokens", arrival_s.size),
        fields.integers("output_tokens", arrival_s.size),
        prompt_token_ids=ids.get("prompt_token_ids"),
        output_token_ids=ids.get("output_token_ids"),
        max_concurrency=fields.obj.get("max_concurrency"),
        strict=strict,
    )


def _source(fields: Fields, key: str, requests: int) -> str | tuple[str, ...]:
    value = fields.obj.get(key, "exact")
    return value if isinstance(value, str) else tuple(map(str, fields.items(key, requests)))


def _baseline(top: Fields) -> Parameters:
    return Parameters.from_mapping(Fields(top.get("baseline"), top.where, "baseline").obj)


def _space(top: Fields, name: str, box: Any) -> Space:
    with located(f"{top.where}: bounds.{name}"):
        return Space.from_mapping(box)


def _trials(top: Fields) -> Trials:
    keys = ("note", "parameters", "x", "loss")
    fields = Fields(top.get("trials"), top.where, "trials", keys)
    if fields.items("parameters") != list(NAMES):
        raise fields.error("parameters", f"must be the names in order: {', '.join(NAMES)}")
    loss = fields.numbers("loss")
    rows = fields.number_lists("x", loss.size)
    for i, row in enumerate(rows):
        if row.size != len(NAMES):
            raise fields.error(f"x[{i}]", f"has {row.size} values for {len(NAMES)} parameters")
    return Trials(np.array(rows).reshape(loss.size, len(NAMES)), loss, fields.text("note", ""))
