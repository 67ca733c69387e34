"""A record to predict from: parameters, requests, and the server."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..experiment import Experiment
from ..fit import FitResult
from ..fit.saved import SCHEMA as FIT_SCHEMA
from ..formats import Source, experiment_names, load_experiment
from ..parameters import Parameters


@dataclass(frozen=True)
class Record:
    """The parameters, requests and server of a prediction."""

    params: Parameters
    """The parameters."""
    experiment: Experiment
    """The experiment with the requests and the server."""
    source: str
    """Where the parameters come from, in words."""


def load_record(
    record: str,
    experiment: str | None = None,
    params: Parameters | None = None,
    **reading: Any,
) -> Record:
    """Read a saved fit, or an experiment (bundled or a file) with its baseline parameters.

    ``experiment``: take the requests from there. The server stays the record's, unless a fit had
    several. Without it, a fit of one bundled experiment uses that experiment's requests. ``params``
    replaces the record's parameters. ``reading``: options of ``load_experiment`` for the file with
    the requests. Raises ``InputError`` if a record has no parameters or no requests.
    """
    if _is_fit(record):
        fit = FitResult.load(record)
        given = _requests_of(record, fit, experiment, reading)
        found: Parameters | None = fit.parameters
        source = f"{record}, {fit.method} on {fit.experiment}"
    else:
        own = load_experiment(record, **(reading if experiment is None else {}))
        given = own if experiment is None else load_experiment(experiment, **reading)
        given = dataclasses.replace(given, config=own.config)
        found, source = params or own.baseline, f"the baseline of {own.name}"
    if params is not None:
        found, source = params, "explicit coefficients"
    if found is None:
        raise InputError(
            f"{record} has no baseline parameters: give a saved fit instead "
            f"(`python -m pysimbind fit {record} --out FILE`), or --params FILE"
        )
    return Record(found, given, source)


def _is_fit(record: str) -> bool:
    if record in experiment_names() or not os.path.exists(record):
        return False
    obj = Source.open(record).first
    return isinstance(obj, dict) and obj.get("schema") == FIT_SCHEMA


def _requests_of(
    record: str, fit: FitResult, experiment: str | None, reading: Mapping[str, Any]
) -> Experiment:
    """Return the experiment whose requests belong to a fit, on the server of the fit."""
    names = [run.name for run in fit.runs]
    if experiment is not None:
        given = load_experiment(experiment, **reading)
    elif len(names) > 1:
        raise InputError(
            f"{record}: was fitted to {len(names)} runs ({fit.experiment}): say whose requests to "
            "send, as --experiment FILE"
        )
    elif names[0] not in experiment_names():
        raise InputError(
            f"{record}: was fitted to {names[0]}, which is not bundled: give its file as "
            "--experiment FILE"
        )
    else:
        given = load_experiment(names[0], **reading)
    servers = [run.config for run in fit.runs]
    if all(server == servers[0] for server in servers):
        given = dataclasses.replace(given, config=servers[0])
    return given
