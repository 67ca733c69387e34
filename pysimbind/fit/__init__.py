"""Fitting: search the parameters that explain a measured run best."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from ._fit import fit
from ._methods import METHODS
from ._search import FitProgress
from .compare import Comparison
from .result import FitResult, FittedRun
from .status import FitStatus

__all__ = [
    "METHODS",
    "Comparison",
    "FitProgress",
    "FitResult",
    "FitStatus",
    "FittedRun",
    "fit",
]


class _CallableModule(ModuleType):
    """Lets ``pysimbind.fit(...)`` be the function, though the package of that name holds it."""

    def __call__(self, *args: Any, **kwargs: Any) -> FitResult:
        return fit(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
