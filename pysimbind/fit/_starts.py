"""Where local methods start: what is known or guessed, and again around the best."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, cycle

import numpy as np

from ._search import FloatArray, Search

# The cube is folded, so that its walls have derivatives of zero: a start keeps off them.
_MARGIN = 1e-2
# Each so-manyth start is anywhere in the cube, the others are around the best.
_ANYWHERE_EVERY = 12
# Starts around the best multiply each coordinate of the cube by exp(N(0, spread²)): near the
# lower bound parameters are the squares of these.
_SPREADS = (0.05, 0.1, 0.3)
# So many starts in a row without an improvement by _IMPROVEMENT (relative) end it.
_PATIENCE = 24
_IMPROVEMENT = 1e-3


def search_from_starts(search: Search, seed: int, descend: Callable[[FloatArray], object]) -> None:
    """Call ``descend`` with starts ``u`` [free] until it helps no more, or the search ends.

    The search's own starts come first, then points around the best so far, for a loss has jumps
    that stop a local method and are small to step over, and now and then one anywhere. Points are
    drawn from one stream of ``seed``.
    """
    rng = np.random.default_rng(seed)
    dimension = search.free.size
    for _, x in search.starts:
        descend(np.clip(search.unit(x), _MARGIN, 1 - _MARGIN))
    stalled, spreads = 0, cycle(_SPREADS)
    for number in count(1):
        before, x = search.best_loss, search.best_x
        if number % _ANYWHERE_EVERY and np.isfinite(before):
            start = search.unit(x) * np.exp(next(spreads) * rng.standard_normal(dimension))
        else:
            start = rng.random(dimension)
        descend(np.clip(start, _MARGIN / 10, 1 - _MARGIN / 10))
        stalled = 0 if search.best_loss < before * (1 - _IMPROVEMENT) else stalled + 1
        if stalled == _PATIENCE:
            return
