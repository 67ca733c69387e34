"""The search methods by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import FitError, nearest
from ._auto import run_auto
from ._bayes import require_bayes, run_bayes
from ._cmaes import require_cma, run_cmaes
from ._de import require_de, run_de
from ._lsq import require_lsq, run_lsq
from ._scipy_local import require_minimize, run_lbfgsb, run_nelder_mead
from ._search import Search


@dataclass(frozen=True)
class Method:
    """A search method and its defaults.

    ``run`` searches with a seed: it returns when it has converged and else goes on until the
    search ends it. ``require`` imports the library that it needs, if any, and raises
    ``MissingExtraError`` where that is not installed.
    """

    name: str
    run: Callable[[Search, int], None]
    require: Callable[[], object]
    max_evals: int
    seed: int = 0
    hold_aliases: bool = True


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method("auto", run_auto, require_lsq, max_evals=20_000),
            Method("lsq", run_lsq, require_lsq, max_evals=10_000),
            Method("cmaes", run_cmaes, require_cma, max_evals=30_000),
            Method("de", run_de, require_de, max_evals=30_000),
            Method("lbfgsb", run_lbfgsb, require_minimize, max_evals=10_000),
            Method("nelder-mead", run_nelder_mead, require_minimize, max_evals=30_000),
            # As the original: 5 + 100 points, random_state 1, all 19 parameters free.
            Method(
                "bayes",
                run_bayes,
                require_bayes,
                max_evals=105,
                seed=1,
                hold_aliases=False,
            ),
        )
    }
)
"""The methods by name.

Our least squares with derivatives, alone or with CMA-ES where that is not enough (``auto``),
pycma's CMA-ES, scipy's differential evolution, L-BFGS-B and Nelder-Mead, Bayesian optimisation.
"""


def find_method(name: str) -> Method:
    """Return the method of that name; raises ``FitError``, naming the nearest, if there is none."""
    if not isinstance(name, str) or name not in METHODS:
        raise FitError(
            f"unknown method {name!r}{nearest(str(name), METHODS)} (methods: {', '.join(METHODS)})"
        )
    return METHODS[name]
