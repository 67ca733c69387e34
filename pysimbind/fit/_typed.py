"""What ``pysimbind.fit`` is to a type checker: a function, with the names of the package.

Type checkers know no modules that can be called. ``pysimbind/__init__.py`` shows them this object,
which takes its signature from ``fit`` itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, ParamSpec, TypeVar

from . import _fit, _methods, _search, compare, result, status

P = ParamSpec("P")
R = TypeVar("R")


class _FunctionWithNames(Generic[P, R]):
    METHODS: Mapping[str, _methods.Method]
    Comparison = compare.Comparison
    FitProgress = _search.FitProgress
    FitResult = result.FitResult
    FitStatus = status.FitStatus
    FittedRun = result.FittedRun

    def __init__(self, function: Callable[P, R]) -> None:
        self.fit = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.fit(*args, **kwargs)


fit = _FunctionWithNames(_fit.fit)
