"""The starts of local methods: known or guessed points, then points around the best."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, cycle

import numpy as np

from ._search import FloatArray, Search

# Least distance of a start from the walls of the folded cube, where derivatives are zero.
_MARGIN = 1e-2
# Every 12th start is anywhere in the cube. The others are around the best point.
_ANYWHERE_EVERY = 12
# A start around the best multiplies each coordinate of the cube by exp(N(0, spread²)). Near the
# lower bound, parameters are the squares of their coordinates.
_SPREADS = (0.05, 0.1, 0.3)
# This many starts in a row without a relative improvement by _IMPROVEMENT end the search.
_PATIENCE = 24
_IMPROVEMENT = 1e-3


def search_from_starts(search: Search, seed: int, descend: Callable[[FloatArray], object]) -> None:
    """Call ``descend`` with starts ``u`` [free] until it gains nothing more, or the search ends.

    The search's own starts come first. Then come points around the best, since small jumps of the
    loss stop a local method. Now and then a point is anywhere in the cube. One random stream of
    ``seed`` draws the points.
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
