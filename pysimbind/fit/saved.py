"""The fit record: a fit as a JSON file. docs/fit-record.md describes it key by key."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
import numpy as np

from .._io.schema import Count, Finite, decode
from ..accuracy import Row
from ..config import ServerConfig
from ..errors import FitError, InputError
from ..losses import find_loss
from ..models import StepModel, find_model
from ..parameters import Parameters, Space
from ._fitted import Fitted, FittedRun
from ._options import SearchOptions
from .compare import Comparison
from .status import FitStatus

SCHEMA = "pysimbind-fit"
VERSION = 2

R = TypeVar("R", bound=Fitted)
_Side: TypeAlias = Literal["lower", "upper"]

# What is written as it stands: fields of Fitted and of SearchOptions.
_PLAIN = (
    *("holdout", "method", "loss", "unit", "fixed_why", "bounds_name"),
    *("seed", "max_evals", "nfev", "njev", "nit", "ridge", "max_time_s"),
)


class _Part(msgspec.Struct, forbid_unknown_fields=True):
    """A part of the record: any other key is an error."""


class _Model(_Part):
    terms: list[str]
    name: str = ""


class _Finding(_Part):
    name: str
    severity: str
    requests: list[Count]
    message: str
    action: str
    masked: list[Literal["ttft", "e2e"]]


class _Run(_Part):
    name: str
    role: Literal["training", "held-out", "both"]
    weight: Finite
    requests: Count
    sha256: str
    config: dict[str, Any]
    caveat: str
    findings: list[_Finding]


class _Direction(_Part):
    change: dict[str, Finite]
    others: Count
    standard_error: Finite | None
    rest_known: bool
    why: str


class _Identifiability(_Part):
    """What ``Identifiability.as_dict`` has, and the report's lines; any of it may be missing."""

    x: dict[str, Finite] = {}
    analysed: list[str] = []
    held: list[str] = []
    at_bound: dict[str, _Side] = {}
    structural: list[str] = []
    singular_values: list[Finite] = []
    direction_errors: list[Finite | None] = []
    rank: Count = 0
    tolerance: Finite = 0.0
    directions: list[_Direction] = []
    standard_errors: dict[str, Finite | None] = {}
    scale: dict[str, Finite] = {}
    undetermined: list[str] = []
    note: str = ""
    summary: list[str] = []


class _Comparison(_Part):
    name: str
    loss: Finite | None
    original: Finite | None
    note: str


class _Errors(_Part):
    mape: Finite | None
    mean: Finite | None
    p50: Finite | None
    p90: Finite | None
    p99: Finite | None
    pearson_r: Finite | None
    requests: Count


class _Floor(_Part):
    ttft: Finite | None
    e2e: Finite | None
    tpot: Finite | None


class _Row(_Part):
    run: str
    part: Literal["", "training", "held-out"]
    ttft: _Errors
    e2e: _Errors
    tpot: _Errors
    requests: Count
    left_out: Count
    floor: _Floor | None


class _History(_Part):
    nfev: list[Count]
    fun: list[Finite]


class _Timing(_Part):
    time_s: Finite


class _Record(_Part):
    schema: str
    version: int
    versions: dict[str, str]
    runs: Annotated[list[_Run], msgspec.Meta(min_length=1)]
    model: _Model
    holdout: str
    method: str
    loss: str
    unit: str
    fixed_why: str
    bounds_name: str
    seed: Count
    max_evals: Count
    nfev: Count
    njev: Count
    nit: Count
    ridge: Finite
    max_time_s: Finite | None
    fun: Finite | None
    status: Annotated[int, msgspec.Meta(ge=0, le=int(max(FitStatus)))]
    infeasible: dict[str, Count]
    notes: list[str]
    params: dict[str, Finite]
    fixed: dict[str, Finite]
    at_bound: dict[str, _Side]
    no_effect: list[str]
    bounds: dict[str, Any]
    identifiability: dict[str, Any]
    comparisons: list[_Comparison]
    accuracy: list[_Row]
    history: _History
    timing: _Timing
    # These follow from the others, and are for readers.
    success: bool | None = None
    message: str | None = None
    units: dict[str, str] | None = None


def to_dict(result: Fitted) -> dict[str, Any]:
    """Return the record as JSON values; losses that are infinite or NaN become None."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "versions": dict(result.versions),
        "runs": [_run_dict(run) for run in result.runs],
        "model": {"name": result.model.name, "terms": list(result.model.terms)},
        **{name: getattr(result, name) for name in _PLAIN},
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


def from_dict(obj: Any, where: str, kind: type[R]) -> R:
    """Read a record as a ``kind``; ``FitError`` names the file and the key."""
    if not isinstance(obj, dict) or obj.get("schema") != SCHEMA:
        raise FitError(f"{where}: not a saved fit (no {SCHEMA!r} schema)")
    if obj.get("version") != VERSION:
        raise FitError(
            f"{where}: version {obj.get('version')!r} of a saved fit; this pysimbind reads "
            f"version {VERSION}: fit the data again"
        )
    record = decode(obj, _Record, where, FitError)
    try:
        return _result(record, where, kind)
    except InputError as exc:
        text = str(exc)
        raise FitError(text if text.startswith(where) else f"{where}: {text}") from exc


def _result(record: _Record, where: str, kind: type[R]) -> R:
    model = find_model(record.model.terms)
    find_loss(record.loss)
    for key in ("fixed", "at_bound", "no_effect"):
        for name in getattr(record, key):
            model.index(name)
    status = FitStatus(record.status)
    if status is not FitStatus.INTERRUPTED:  # which may leave out what comes after the search
        for key in ("comparisons", "accuracy"):
            if not getattr(record, key):
                raise FitError(f"{where}: {key}: must not be empty")
    history = record.history
    if len(history.nfev) != len(history.fun):
        raise FitError(f"{where}: history: nfev and fun must be of equal length")
    plain = {name: getattr(record, name) for name in _PLAIN}
    how = {f.name: plain.pop(f.name) for f in dataclasses.fields(SearchOptions) if f.name in plain}
    return kind(
        **plain,
        options=SearchOptions(model=model, **how),
        x=Parameters.from_mapping(record.params, model).vector,
        fun=np.inf if record.fun is None else record.fun,
        status=status,
        runs=tuple(_run(run) for run in record.runs),
        bounds=Space.from_mapping(record.bounds, model),
        fixed=record.fixed,
        at_bound=record.at_bound,
        no_effect=tuple(record.no_effect),
        infeasible=record.infeasible,
        identifiability=_identifiability(record.identifiability, model, where),
        notes=tuple(record.notes),
        history=tuple(zip(history.nfev, history.fun, strict=True)),
        comparisons=tuple(_comparison(row) for row in record.comparisons),
        accuracy=tuple(Row.from_dict(msgspec.to_builtins(row)) for row in record.accuracy),
        versions=record.versions,
        time_s=record.timing.time_s,
    )


def _run(run: _Run) -> FittedRun:
    fields = msgspec.structs.asdict(run)
    fields |= {
        "config": ServerConfig.from_mapping(run.config),
        "findings": tuple(msgspec.structs.asdict(finding) for finding in run.findings),
    }
    return FittedRun(**fields)


def _run_dict(run: FittedRun) -> dict[str, Any]:
    fields = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
    return {
        **fields,
        "config": run.config.as_dict(),
        "findings": [dict(finding) for finding in run.findings],
    }


def _identifiability(obj: dict[str, Any], model: StepModel, where: str) -> dict[str, Any]:
    """Check it, and return it as it is."""
    told = decode(obj, _Identifiability, where, FitError, "identifiability")
    for name in told.standard_errors:
        model.index(name)
    return obj


def _comparison(row: _Comparison) -> Comparison:
    loss = np.inf if row.loss is None else row.loss
    return Comparison(row.name, loss, np.nan if row.original is None else row.original, row.note)


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    return {k: _finite(v) if isinstance(v, float) else v for k, v in values.items()}


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
