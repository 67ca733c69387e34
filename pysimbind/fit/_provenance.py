"""What a fit rests on: fingerprints of the data, versions of the software."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType

import numpy as np

from .._native import ABI_VERSION
from ..experiment import Experiment

_PACKAGES = ("pysimbind", "numpy", "scipy", "cma")


def data_hash(experiment: Experiment) -> str:
    """Return the SHA-256 of a run, in hexadecimal: requests, server settings and latencies.

    Names and provenance do not enter.
    """
    workload = experiment.workload
    digest = hashlib.sha256()
    for values in (workload.arrival_s, experiment.ttft, experiment.e2e):
        digest.update(np.ascontiguousarray(values, "<f8").tobytes())
    for counts in (workload.input_tokens, workload.output_tokens):
        digest.update(np.ascontiguousarray(counts, "<i8").tobytes())
    for ragged in (workload.prompt_ids, workload.output_ids):
        for ids in () if ragged is None else ragged:
            digest.update(np.ascontiguousarray(ids, "<i8").tobytes())
        digest.update(b";")
    rest = {"max_concurrency": workload.max_concurrency, "config": experiment.config.as_dict()}
    digest.update(json.dumps(rest, sort_keys=True).encode())
    return digest.hexdigest()


@functools.cache  # looking them up takes milliseconds, as long as a fit
def versions() -> Mapping[str, str]:
    """Return the versions of this package, its engine's ABI, and the libraries that a fit uses."""
    found = {name: _version(name) for name in _PACKAGES}
    return MappingProxyType({**found, "engine_abi": str(ABI_VERSION)})


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a checkout that was never installed
        return "unknown"
