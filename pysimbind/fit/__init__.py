"""Fitting: search the parameters that explain a measured run best.

The package is a function too: ``pysimbind.fit(...)`` is ``pysimbind.fit.fit(...)``.
"""

from __future__ import annotations

import inspect
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
    """A module that can be called, as ``fit`` is; ``_typed.py`` says so to type checkers."""

    def __call__(self, *args: Any, **kwargs: Any) -> FitResult:
        return fit(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
# What inspect.signature, help and an editor tell of pysimbind.fit.
__signature__ = inspect.signature(fit)
__doc__ = "\n\n".join(text for text in (__doc__, inspect.getdoc(fit)) if text)
