"""Simulate LLM inference servers in-process, and calibrate the simulator to a measured server."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from . import workloads
from .checks import CheckReport, Finding, check_experiment
from .config import ServerConfig
from .errors import (
    CollectError,
    ConfigError,
    DataError,
    ExperimentError,
    FitError,
    ForkError,
    HandleError,
    InputError,
    LibraryError,
    MissingExtraError,
    NativeError,
    OutputError,
    ParameterError,
    PysimbindError,
    WorkloadError,
)
from .experiment import Experiment
from .fit import FitResult
from .fit.validate import Criterion, SettingDifference, Validation, validate
from .formats import experiment_names, load_experiment
from .losses import Loss
from .models import MODELS, OVERHEADS, TERMS, StepModel, Term, find_model
from .objective import Objective
from .parameters import COEFFICIENTS, NAMES, Parameters, Space
from .results import BatchResult, Jacobian, Outcome, SimResult, Status
from .simulator import Simulator, simulate, simulate_batch
from .trace import StepTrace
from .vllm.arrivals import arrival_deltas_us, rescaled_arrivals, sequential_arrivals
from .workload import Workload

if TYPE_CHECKING:
    from .fit._typed import fit  # a function to type checkers, who know no callable modules
else:
    from . import fit

try:
    __version__ = version("pysimbind")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

__all__ = [
    "COEFFICIENTS",
    "MODELS",
    "NAMES",
    "OVERHEADS",
    "TERMS",
    "BatchResult",
    "CheckReport",
    "CollectError",
    "ConfigError",
    "Criterion",
    "DataError",
    "Experiment",
    "ExperimentError",
    "Finding",
    "FitError",
    "FitResult",
    "ForkError",
    "HandleError",
    "InputError",
    "Jacobian",
    "LibraryError",
    "Loss",
    "MissingExtraError",
    "NativeError",
    "Objective",
    "Outcome",
    "OutputError",
    "ParameterError",
    "Parameters",
    "PysimbindError",
    "ServerConfig",
    "SettingDifference",
    "SimResult",
    "Simulator",
    "Space",
    "Status",
    "StepModel",
    "StepTrace",
    "Term",
    "Validation",
    "Workload",
    "WorkloadError",
    "__version__",
    "arrival_deltas_us",
    "check_experiment",
    "experiment_names",
    "find_model",
    "fit",
    "load_experiment",
    "rescaled_arrivals",
    "sequential_arrivals",
    "simulate",
    "simulate_batch",
    "validate",
    "workloads",
]
