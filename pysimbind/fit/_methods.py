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
    """A search method and its defaults."""

    name: str
    """Name of the method."""
    run: Callable[[Search, int], None]
    """The search, called with a seed. It returns when it has converged, unless the search ends it
    earlier."""
    require: Callable[[], object]
    """Imports the library that the method needs, if any. Raises ``MissingExtraError`` if it is not
    installed."""
    max_evals: int
    """Default limit of evaluations."""
    seed: int = 0
    """Default seed."""
    hold_aliases: bool = True
    """Whether a fit holds one parameter of each alias fixed, by default."""


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
            # As in the original experiment: 5 + 100 points, random_state 1, all 19 parameters free.
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

Least squares with derivatives, alone or followed by CMA-ES if needed (``auto``); pycma's CMA-ES;
scipy's differential evolution, L-BFGS-B and Nelder-Mead; and Bayesian optimisation.
"""


def find_method(name: str) -> Method:
    """Return the method of a name. Raises ``FitError``, with the nearest name, if unknown."""
    if not isinstance(name, str) or name not in METHODS:
        raise FitError(
            f"unknown method {name!r}{nearest(str(name), METHODS)} (methods: {', '.join(METHODS)})"
        )
    return METHODS[name]
