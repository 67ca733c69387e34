"""What a fit does unless told otherwise: least squares, then a global search where it stalls.

Gauss-Newton stalls on saturated runs, whose every latency hangs on every step before it; there
CMA-ES goes on from its best.
"""

from __future__ import annotations

from ._cmaes import refine
from ._lsq import descend_all
from ._search import Search

_EVALUATIONS = 4000  # of CMA-ES
_WIDTH = 0.05  # of its first population, in the cube


def run_auto(search: Search, seed: int) -> None:
    """Search until least squares has converged, and CMA-ES, where there is a reason for it."""
    reasons = []
    if descend_all(search):
        reasons.append("its last linear model promised more than any step kept")
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
