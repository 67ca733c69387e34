"""The fit record: a fit as a JSON file. docs/fit-record.md describes it key by key."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..accuracy import Row
from ..config import ServerConfig
from ..errors import FitError, InputError
from ..formats._fields import Fields
from ..losses import find_loss
from ..models import StepModel, find_model
from ..parameters import Parameters, Space
from .compare import Comparison
from .result import ROLES, FitResult, FittedRun
from .status import FitStatus

SCHEMA = "pysimbind-fit"
VERSION = 2

_TEXTS = ("holdout", "method", "loss", "unit", "fixed_why", "bounds_name")
_COUNTS = ("seed", "max_evals", "nfev", "njev", "nit")
_PLAIN = (*_TEXTS, *_COUNTS, "ridge", "max_time_s")  # written as they are
_READ = (
    *("fun", "status", "model", "runs", "params", "bounds", "fixed", "at_bound", "infeasible"),
    *("identifiability", "versions", "no_effect", "notes", "comparisons", "accuracy", "history"),
    "timing",
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
    try:
        return _read(Fields(obj, where, known=(*_PLAIN, *_READ, *_DERIVED)))
    except InputError as exc:
        text = str(exc)
        raise FitError(text if text.startswith(where) else f"{where}: {text}") from exc
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise FitError(f"{where}: a value is not what a saved fit holds: {exc}") from exc


def _read(top: Fields) -> FitResult:
    model = find_model(top.child("model").get("terms"))
    find_loss(top.get("loss"))
    params = Parameters.from_mapping(top.get("params"), model)
    status = FitStatus(top.count("status"))
    cut = status is FitStatus.INTERRUPTED  # then what comes after the search may be left out
    plain: dict[str, Any] = {name: top.text(name) for name in _TEXTS}
    plain |= {name: top.count(name) for name in _COUNTS}
    return FitResult(
        **plain,
        ridge=_number(top, "ridge"),
        max_time_s=None if top.get("max_time_s") is None else _number(top, "max_time_s"),
        x=params.vector,
        fun=np.inf if top.get("fun") is None else _number(top, "fun"),
        status=status,
        model=model,
        runs=tuple(_read_run(each) for each in _objects(top, "runs")),
        bounds=Space.from_mapping(top.get("bounds"), model),
        fixed={name: _number(values, name) for values, name in _by_name(top, "fixed", model)},
        at_bound={name: values.text(name) for values, name in _by_name(top, "at_bound", model)},
        no_effect=tuple(model.names[model.index(name)] for name in _texts(top, "no_effect")),
        infeasible=_counts(top.child("infeasible")),
        identifiability=_identifiability(top.child("identifiability"), model),
        notes=_texts(top, "notes"),
        history=_history(top.child("history")),
        comparisons=tuple(
            _read_comparison(each) for each in _objects(top, "comparisons", or_none=cut)
        ),
        accuracy=tuple(Row.from_dict(each.obj) for each in _objects(top, "accuracy", or_none=cut)),
        versions=_words(top.child("versions")),
        time_s=_number(top.child("timing"), "time_s"),
    )


def _number(of: Fields, key: str) -> float:
    of.get(key)  # null is no number here, nor is nothing
    number = of.number(key)
    if math.isnan(number):
        raise of.error(key, "must be a finite number, got None")
    return number


def _texts(of: Fields, key: str) -> tuple[str, ...]:
    texts = of.items(key)
    for text in texts:
        if not isinstance(text, str):
            raise of.error(key, f"must be strings, got {text!r:.40}")
    return tuple(texts)


def _objects(of: Fields, key: str, *, or_none: bool = False) -> list[Fields]:
    """Return the objects of a list, which has one at least unless it may have none."""
    items = of.items(key)
    if not (items or or_none):
        raise of.error(key, "must not be empty")
    return [Fields(item, of.where, f"{key}[{i}]") for i, item in enumerate(items)]


def _by_name(of: Fields, key: str, model: StepModel) -> list[tuple[Fields, str]]:
    """Return an object whose keys are parameters, with each of them."""
    values = of.child(key)
    for name in values.obj:
        model.index(name)
    return [(values, name) for name in values.obj]


def _counts(of: Fields) -> dict[str, int]:
    return {name: of.count(name) for name in of.obj}


def _words(of: Fields) -> dict[str, str]:
    return {name: of.text(name) for name in of.obj}


def _history(of: Fields) -> tuple[tuple[int, float], ...]:
    nfev, fun = of.integers("nfev").tolist(), of.numbers("fun").tolist()
    return tuple(zip(nfev, fun, strict=True))


def _identifiability(of: Fields, model: StepModel) -> dict[str, Any]:
    """Check what the report reads of it; the rest is as it is."""
    for key in {"summary", "undetermined"} & {*of.obj}:
        _texts(of, key)
    if "standard_errors" in of.obj:
        for errors, name in _by_name(of, "standard_errors", model):
            errors.number(name)
    return of.obj


def _run_dict(run: FittedRun) -> dict[str, Any]:
    fields = {name: getattr(run, name) for name in FittedRun.__dataclass_fields__}
    return {
        **fields,
        "config": run.config.as_dict(),
        "findings": [dict(finding) for finding in run.findings],
    }


def _read_run(of: Fields) -> FittedRun:
    run = Fields(of.obj, of.where, of.at, known=FittedRun.__dataclass_fields__)
    role = run.text("role")
    if role not in ROLES:
        raise run.error("role", f"{role!r} is none of {', '.join(ROLES)}")
    return FittedRun(
        **{name: run.text(name) for name in ("name", "sha256", "caveat")},
        role=role,
        weight=_number(run, "weight"),
        requests=run.count("requests"),
        config=ServerConfig.from_mapping(run.child("config").obj),
        findings=tuple(_read_finding(each, run) for each in run.items("findings")),
    )


def _read_finding(obj: object, run: Fields) -> Mapping[str, Any]:
    finding = Fields(obj, run.where, f"{run.at}.findings")
    for key in ("name", "severity", "message", "action"):
        finding.text(key)
    return finding.obj


def _read_comparison(of: Fields) -> Comparison:
    loss = np.inf if of.get("loss") is None else _number(of, "loss")
    of.get("original")
    return Comparison(of.text("name"), loss, of.number("original"), of.text("note"))


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    return {k: _finite(v) if isinstance(v, float) else v for k, v in values.items()}


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
