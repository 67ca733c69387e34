"""The content of a fit's result: what its report and its record are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..accuracy import Row
from ..checks import CheckReport
from ..config import ServerConfig
from ..errors import FitError
from ..models import StepModel
from ..parameters import Parameters, Space
from ._options import SearchOptions
from .compare import Comparison
from .status import FitStatus

FloatArray = npt.NDArray[np.float64]

ROLES = ("training", "held-out", "both")


@dataclass(frozen=True)
class FittedRun:
    """One of the runs that a fit was given.

    ``role``: one of ``ROLES``; ``"both"``, where some of its requests were held out, or it was
    held out in one of several folds. ``sha256``: of its requests, settings and latencies, as
    given. ``caveat``: what of it was not measured. ``findings``: what the checks of its data
    found, as ``Finding.as_dict`` returns them.
    """

    name: str
    role: str
    weight: float
    requests: int
    sha256: str
    config: ServerConfig
    caveat: str
    findings: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, report: CheckReport, role: str, weight: float, sha256: str) -> FittedRun:
        """Describe the checked experiment of ``report``."""
        experiment = report.experiment
        return cls(
            name=experiment.name,
            role=role,
            weight=weight,
            requests=experiment.num_requests,
            sha256=sha256,
            config=experiment.config,
            caveat=experiment.caveat,
            findings=tuple(finding.as_dict() for finding in report.findings),
        )


@dataclass(frozen=True, eq=False)
class Fitted:
    """What was fitted, how, and what was found; the fields of ``FitResult``."""

    x: FloatArray
    """The parameters found [names of ``model``]: seconds per feature, overheads in microseconds."""
    fun: float
    """The loss of ``x`` on the training data, in ``unit``, without the ridge."""
    unit: str
    """Of the loss: ``"s^2"``, ``"rel^2"`` or ``"log^2"``."""
    status: FitStatus
    """Why the search ended."""
    nfev: int
    """Evaluations."""
    njev: int
    """Those of them that came with derivatives."""
    nit: int
    """Batches of evaluations."""
    options: SearchOptions
    """How the search went about it."""
    runs: tuple[FittedRun, ...]
    """The runs that the fit was given, in order."""
    holdout: str
    """What was kept from the fit; ``""`` if nothing."""
    ridge: float
    """The largest weight of the ridge; 0: there was none."""
    bounds_name: str
    """The bounds that were asked for."""
    bounds: Space
    """The box, and infinity where there is no bound."""
    fixed: Mapping[str, float]
    """The value of each parameter that was held."""
    fixed_why: str
    """Why they were held."""
    at_bound: Mapping[str, str]
    """Of each free parameter at a bound, ``"lower"`` or ``"upper"``."""
    no_effect: tuple[str, ...]
    """Parameters that change nothing on these runs: they stay where they started."""
    infeasible: Mapping[str, int]
    """How many candidates could not be simulated to their end, by outcome."""
    identifiability: Mapping[str, Any]
    """What the training data tell of the parameters, as ``Identifiability.as_dict`` has it.

    Its lines are under ``"summary"``. Empty where ``x`` cannot be simulated, or Ctrl-C came before.
    """
    notes: tuple[str, ...]
    """What the method did, and what an interrupted fit lacks."""
    history: tuple[tuple[int, float], ...]
    """Evaluations and best loss, with the ridge, at each improvement."""
    comparisons: tuple[Comparison, ...]
    """The loss beside those of parameters known before. Empty where Ctrl-C came before."""
    accuracy: tuple[Row, ...]
    """A row for each run and part, and one for all runs. Empty where Ctrl-C came before."""
    versions: Mapping[str, str]
    """Of this package and of the libraries."""
    time_s: float = field(compare=False)
    """The duration of the search in seconds."""

    @property
    def method(self) -> str:
        """The method, a name of ``METHODS``."""
        return self.options.method

    @property
    def model(self) -> StepModel:
        """The model whose parameters were searched."""
        return self.options.model

    @property
    def loss(self) -> str:
        """The loss, as ``Loss.parse`` reads it."""
        return self.options.loss

    @property
    def seed(self) -> int:
        """The seed of the method's random numbers."""
        return self.options.seed

    @property
    def max_evals(self) -> int:
        """The evaluations that the fit might take at most."""
        return self.options.max_evals

    @property
    def max_time_s(self) -> float | None:
        """The seconds that the fit might take at most; None: no limit."""
        return self.options.max_time_s

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
        """Whether Ctrl-C ended the search, or what comes after it."""
        return self.status is FitStatus.INTERRUPTED

    @property
    def params(self) -> dict[str, float]:
        """The parameters by name: coefficients in seconds, overheads in microseconds."""
        return self.parameters.as_dict()

    @property
    def parameters(self) -> Parameters:
        """The parameters as one object, which knows their model."""
        return Parameters.from_vector(self.x, self.model)

    @property
    def experiment(self) -> str:
        """The names of the runs."""
        return ", ".join(run.name for run in self.runs)

    @property
    def config(self) -> ServerConfig:
        """The server's settings, which all runs share; raises ``FitError`` where they do not."""
        first = self.runs[0].config
        for run in self.runs:
            if run.config != first:
                raise FitError(
                    f"the runs of this fit met different servers ({self.runs[0].name!r}, "
                    f"{run.name!r}): say which, as config="
                )
        return first

    @property
    def caveat(self) -> str:
        """What of the runs was not measured; ``""`` if nothing."""
        several = len(self.runs) > 1
        said = [(run.name, run.caveat) for run in self.runs if run.caveat]
        return "; ".join(f"{name}: {text}" if several else text for name, text in said)
