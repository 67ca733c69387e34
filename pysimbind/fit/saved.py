"""The fit record: a fit as a JSON file. docs/fit-record.md describes it key by key."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..accuracy import Row
from ..config import ServerConfig
from ..errors import FitError, InputError, nearest
from ..losses import find_loss
from ..models import find_model
from ..parameters import Parameters, Space
from .compare import Comparison
from .result import ROLES, FitResult, FittedRun
from .status import FitStatus

SCHEMA = "pysimbind-fit"
VERSION = 2

_PLAIN = (  # written and read as they are
    "holdout",
    "method",
    "seed",
    "loss",
    "unit",
    "ridge",
    "max_evals",
    "max_time_s",
    "nfev",
    "njev",
    "nit",
    "fixed_why",
    "bounds_name",
)
_MAPPINGS = ("fixed", "at_bound", "infeasible", "identifiability", "versions")
_LISTS = ("no_effect", "notes")
_READ = (
    *("fun", "status", "model", "runs", "params", "bounds"),
    *("comparisons", "accuracy", "history", "timing"),
)
_DERIVED = ("schema", "version", "units", "success", "message")


def to_dict(result: FitResult) -> dict[str, Any]:
    """Return the record as JSON values; losses that are infinite or NaN become None."""
    plain = {name: getattr(result, name) for name in _PLAIN}
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "versions": dict(result.versions),
        "runs": [_run_dict(run) for run in result.runs],
        "model": {"name": result.model.name, "terms": list(result.model.terms)},
        **plain,
        "fun": _finite(result.fun),
        "success": result.success,
        "status": int(result.status),
        "message": result.message,
        "infeasible": dict(sorted(result.infeasible.items())),
        "notes": list(result.notes),
        "params": result.params,
        "units": {name: result.model.unit(name) for name in result.model.names},
        "fixed": dict(result.fixed),
        "at_bound": dict(result.at_bound),
        "no_effect": list(result.no_effect),
        "bounds": result.bounds.as_dict(),
        "identifiability": dict(result.identifiability),
        "comparisons": [_numbers(dataclasses.asdict(row)) for row in result.comparisons],
        "accuracy": [row.as_dict() for row in result.accuracy],
        "history": {
            "nfev": [nfev for nfev, _ in result.history],
            "fun": [fun for _, fun in result.history],
        },
        "timing": {"time_s": result.time_s},
    }


def from_dict(obj: Any, where: str) -> FitResult:
    """Read a record; ``FitError`` names the file and the key."""
    if not isinstance(obj, dict) or obj.get("schema") != SCHEMA:
        raise FitError(f"{where}: not a saved fit (no {SCHEMA!r} schema)")
    if obj.get("version") != VERSION:
        raise FitError(
            f"{where}: version {obj.get('version')!r} of a saved fit; this pysimbind reads "
            f"version {VERSION}: fit the data again"
        )
    known = (*_PLAIN, *_MAPPINGS, *_LISTS, *_READ, *_DERIVED)
    for key in obj:
        if key not in known:
            raise FitError(f"{where}: unknown key {key!r}{nearest(key, known)}")
    try:
        return _read(obj)
    except KeyError as exc:
        raise FitError(f"{where}: key {exc} is missing: save the fit again") from exc
    except InputError as exc:
        raise FitError(f"{where}: {exc}") from exc
    except (TypeError, ValueError, AttributeError) as exc:
        raise FitError(f"{where}: a value is not what a saved fit holds: {exc}") from exc


def _read(obj: Mapping[str, Any]) -> FitResult:
    model = find_model(obj["model"]["terms"])
    history = obj["history"]
    values: dict[str, Any] = {name: obj[name] for name in _PLAIN}
    values |= {name: dict(obj[name]) for name in _MAPPINGS}
    values |= {name: tuple(map(str, obj[name])) for name in _LISTS}
    find_loss(values["loss"])
    return FitResult(
        **values,
        x=Parameters.from_mapping(obj["params"], model).vector,
        fun=np.inf if obj["fun"] is None else float(obj["fun"]),
        status=FitStatus(obj["status"]),
        model=model,
        runs=tuple(_read_run(run) for run in obj["runs"]),
        bounds=Space.from_mapping(obj["bounds"], model),
        comparisons=tuple(_read_comparison(row) for row in obj["comparisons"]),
        accuracy=tuple(Row.from_dict(row) for row in obj["accuracy"]),
        history=tuple(zip(history["nfev"], history["fun"], strict=True)),
        time_s=float(obj["timing"]["time_s"]),
    )


def _run_dict(run: FittedRun) -> dict[str, Any]:
    fields = {name: getattr(run, name) for name in FittedRun.__dataclass_fields__}
    return {
        **fields,
        "config": run.config.as_dict(),
        "findings": [dict(finding) for finding in run.findings],
    }


def _read_run(obj: Mapping[str, Any]) -> FittedRun:
    values = {name: obj[name] for name in FittedRun.__dataclass_fields__}
    if values["role"] not in ROLES:
        raise FitError(f"role {values['role']!r} of a run; known: {', '.join(ROLES)}")
    values["config"] = ServerConfig.from_mapping(values["config"])
    values["findings"] = tuple(dict(finding) for finding in values["findings"])
    return FittedRun(**values)


def _read_comparison(row: Mapping[str, Any]) -> Comparison:
    loss = np.inf if row["loss"] is None else float(row["loss"])
    original = np.nan if row["original"] is None else float(row["original"])
    return Comparison(name=row["name"], loss=loss, original=original, note=row["note"])


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    return {k: _finite(v) if isinstance(v, float) else v for k, v in values.items()}


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
