"""The default method: least squares, then a global search if least squares stalls.

Gauss-Newton stalls on saturated runs, where each latency depends on every earlier step. CMA-ES then
continues from its best point.
"""

from __future__ import annotations

from ._cmaes import refine
from ._lsq import descend_all
from ._search import Search

_EVALUATIONS = 4000  # for CMA-ES
_WIDTH = 0.05  # standard deviation of its first population, in the unit cube


def run_auto(search: Search, seed: int) -> None:
    """Search with least squares until it converges, then with CMA-ES if there is a reason."""
    reasons = []
    if descend_all(search):
        reasons.append("its last linear model promised more than any step gained")
    if search.saturated:
        reasons.append(f"the queue grows to the end of {', '.join(search.saturated)}")
    if not reasons:
        search.note("no CMA-ES: least squares converged, and no run is saturated")
        return
    before = search.best_loss
    evaluations = refine(search, seed, _WIDTH, _EVALUATIONS)
    search.note(
        f"CMA-ES from there, since {' and '.join(reasons)}: {evaluations:,} evaluations, "
        f"{before:.4g} to {search.best_loss:.4g} {search.unit_name}"
    )
