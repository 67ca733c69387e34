"""What a fit found, and its JSON file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .._jsonio import check_writable, read_json, write_json
from ..config import ServerConfig
from ..errors import FitError, InputError, nearest
from ..experiment import Experiment
from ..losses import find_loss
from ..parameters import Parameters, Space
from ..results import SimResult
from ..simulator import Simulator
from ..workload import Workload
from .status import FitStatus

FloatArray = npt.NDArray[np.float64]

SCHEMA = "pysimbind-fit"
VERSION = 1


@dataclass(frozen=True)
class Comparison:
    """One line of the closing table: a candidate's loss and mean absolute errors [%].

    Infinite where the candidate can't be simulated to its end; NaN where nothing was measured.
    """

    name: str
    loss: float
    ttft_mape: float
    e2e_mape: float
    note: str = ""


@dataclass(frozen=True, eq=False)
class FitResult:
    """The parameters found, in scipy's words (``x fun success status message nfev nit``).

    ``x`` [names] is the vector with the least loss ``fun`` (in ``unit``); ``params`` is the same
    by name. ``njev`` of the ``nfev`` evaluations came with derivatives; ``nit`` counts batches
    of evaluations. ``fixed`` maps each held parameter to its
    value, ``at_bound`` each free one at a bound to ``"lower"`` or ``"upper"``; ``infeasible``
    counts candidates that could not be simulated to their end, by outcome. ``history`` lists
    (evaluations, best loss) at each improvement. ``time_s`` is the duration of the search.

    Two results are equal if all but the time is.
    """

    x: FloatArray
    fun: float
    unit: str
    status: FitStatus
    nfev: int
    njev: int
    nit: int
    experiment: str
    config: ServerConfig
    method: str
    seed: int
    loss: str
    max_evals: int
    max_time_s: float | None
    bounds_name: str
    bounds: Space
    fixed: Mapping[str, float]
    fixed_why: str
    at_bound: Mapping[str, str]
    infeasible: Mapping[str, int]
    history: tuple[tuple[int, float], ...]
    comparisons: tuple[Comparison, ...]
    caveat: str
    time_s: float = field(compare=False)

    @property
    def success(self) -> bool:
        """Whether the search ended as it was asked to, with a candidate that can be simulated."""
        return self.status.success

    @property
    def message(self) -> str:
        """Why the search ended."""
        return self.status.message

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the search."""
        return self.status is FitStatus.INTERRUPTED

    @property
    def params(self) -> dict[str, float]:
        """The parameters by name: coefficients in seconds, overheads in microseconds."""
        return Parameters.from_vector(self.x).as_dict()

    def predict(
        self, experiment_or_workload: Experiment | Workload, config: ServerConfig | None = None
    ) -> SimResult:
        """Simulate a workload with the fitted parameters.

        Without ``config``, an experiment brings its own server settings, and a bare workload
        meets the server of the fit.
        """
        if isinstance(experiment_or_workload, Experiment):
            workload = experiment_or_workload.workload
            config = config or experiment_or_workload.config
        else:
            workload = experiment_or_workload
        with Simulator(workload, config or self.config) as simulator:
            return simulator.run(self.x)

    def report(self) -> str:
        """Return the closing table as text, several lines."""
        from .report import format_report  # here: the report needs this class

        return format_report(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result as JSON, in one piece, compressed where the name ends in ``.gz``.

        All but ``"timing"`` is the same, byte for byte, for the same fit. Raises ``OutputError``
        where the file cannot be written.
        """
        check_writable(path)
        write_json(path, self.as_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FitResult:
        """Read what ``save`` wrote; raises ``FitError`` for anything else."""
        return _from_dict(read_json(path, FitError), str(path))

    def as_dict(self) -> dict[str, Any]:
        """Return the content of the JSON file; losses that are infinite or NaN become None."""
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "experiment": self.experiment,
            "caveat": self.caveat,
            "method": self.method,
            "seed": self.seed,
            "loss": self.loss,
            "unit": self.unit,
            "max_evals": self.max_evals,
            "max_time_s": self.max_time_s,
            "fun": _finite(self.fun),
            "success": self.success,
            "status": int(self.status),
            "message": self.message,
            "nfev": self.nfev,
            "njev": self.njev,
            "nit": self.nit,
            "infeasible": dict(sorted(self.infeasible.items())),
            "params": self.params,
            "at_bound": dict(self.at_bound),
            "fixed": dict(self.fixed),
            "fixed_why": self.fixed_why,
            "bounds_name": self.bounds_name,
            "bounds": self.bounds.as_dict(),
            "config": self.config.as_dict(),
            "comparisons": [
                {
                    key: _finite(value) if isinstance(value, float) else value
                    for key, value in dataclasses.asdict(row).items()
                }
                for row in self.comparisons
            ],
            "history": {
                "nfev": [nfev for nfev, _ in self.history],
                "fun": [fun for _, fun in self.history],
            },
            "timing": {"time_s": self.time_s},
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FitResult):
            return NotImplemented
        mine, theirs = self.as_dict(), other.as_dict()
        del mine["timing"], theirs["timing"]
        return mine == theirs

    __hash__ = None  # type: ignore[assignment]  # compared by content, too large to hash

    def __repr__(self) -> str:
        return (
            f"<FitResult {self.experiment!r} by {self.method}: {self.loss} {self.fun:.4g} "
            f"{self.unit} after {self.nfev} evaluations, {self.message}>"
        )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _infinite(value: float | None) -> float:
    return np.inf if value is None else float(value)


def _from_dict(obj: Any, where: str) -> FitResult:
    if not isinstance(obj, dict) or obj.get("schema") != SCHEMA:
        raise FitError(f"{where}: not a saved fit (no {SCHEMA!r} schema)")
    if obj.get("version") != VERSION:
        raise FitError(
            f"{where}: version {obj.get('version')!r} of a saved fit; this pysimbind reads "
            f"version {VERSION}"
        )
    try:
        return _read_fields(obj)
    except KeyError as exc:
        raise FitError(f"{where}: key {exc} is missing: save the fit again") from exc
    except InputError as exc:
        raise FitError(f"{where}: {exc}") from exc
    except (TypeError, ValueError, AttributeError) as exc:
        raise FitError(f"{where}: a value is not what a saved fit holds: {exc}") from exc


_DERIVED = ("schema", "version", "params", "success", "message", "timing")


def _read_fields(obj: dict[str, Any]) -> FitResult:
    names = [f.name for f in dataclasses.fields(FitResult) if f.name not in ("x", "time_s")]
    for key in obj:
        if key not in names and key not in _DERIVED:
            raise FitError(f"unknown key {key!r}{nearest(key, names)}")
    obj = {"njev": 0, **obj}  # 0.1.0 knew no method with derivatives, and saved no count of them
    values = {name: obj[name] for name in names}
    find_loss(values["loss"])
    rows = values["comparisons"]
    history = values["history"]
    values |= {
        "x": Parameters.from_mapping(obj["params"]).vector,
        "fun": _infinite(obj["fun"]),
        "status": FitStatus(obj["status"]),
        "config": ServerConfig.from_mapping(obj["config"]),
        "bounds": Space.from_mapping(obj["bounds"]),
        "comparisons": tuple(_read_comparison(row) for row in rows),
        "history": tuple(zip(history["nfev"], history["fun"], strict=True)),
        "time_s": float(obj["timing"]["time_s"]),
    }
    return FitResult(**values)


def _read_comparison(row: Mapping[str, Any]) -> Comparison:
    numbers = {key: _infinite(row[key]) for key in ("loss", "ttft_mape", "e2e_mape")}
    return Comparison(name=row["name"], note=row["note"], **numbers)
