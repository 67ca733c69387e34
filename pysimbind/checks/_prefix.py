"""Checks for prefix cache hits that the simulation will not reproduce."""

from __future__ import annotations

import numpy as np

from ._report import Finding
from ._view import View

_NOTE_SHARE = 0.02

_MIN_ALONE = 30
_LONG_SPREAD = 4.0
_MUCH = 0.5
_DEVIATIONS = 6.0


def prefix_hits(view: View) -> Finding | None:
    """Prompt tokens in the server's cache (``cached_tokens``) that the simulation cannot find.

    The provenance counts hits. But the config has prefix caching off, or the workload has no token
    ids that show which prompts share prefixes. A note up to 2 % of all prompt tokens, else a
    warning.
    """
    cached = view.per_request("cached_tokens")
    if cached is None:
        return None
    config, workload = view.experiment.config, view.experiment.workload
    if config.enable_prefix_caching and workload.prompt_ids is not None:
        return None
    bad = cached > 0
    if not bad.any():
        return None
    share = float(cached[bad].sum() / max(workload.input_tokens.sum(), 1))
    why, mend = ("the workload has no token ids", "give prompt_token_ids")
    if not config.enable_prefix_caching:
        why, mend = ("prefix caching is off in the config", "turn enable_prefix_caching on")
    return Finding(
        "prefix_hits",
        "note" if share <= _NOTE_SHARE else "warning",
        np.flatnonzero(bad),
        f"{np.count_nonzero(bad)} of {view.requests} requests hit the prefix cache, with "
        f"{100 * share:.2g} % of all prompt tokens, but {why}",
        f"nothing changed: {mend}",
    )


def prefix_hits_suspected(view: View) -> Finding | None:
    """TTFTs too short for a whole prompt, with prefix caching off and no hit counters.

    Only requests sent while no other request waited are used (at least 30, with lengths that differ
    by a factor of 4). A robust line (Theil and Sen) fits their TTFT over prompt length. A request
    looks cached if three things hold. Its prompt is longer than the median, its TTFT is less than
    half of the line's value, and the TTFT lies 6 robust standard deviations below the line. A note:
    it is a guess.
    """
    config = view.experiment.config
    if config.enable_prefix_caching or "cached_tokens" in view.experiment.provenance:
        return None
    prompt = view.experiment.workload.input_tokens
    alone = np.flatnonzero((view.waiting == 0) & (view.ttft > 0) & (prompt > 0))
    if alone.size < _MIN_ALONE or np.ptp(np.log(prompt[alone])) < np.log(_LONG_SPREAD):
        return None
    from scipy.stats import theilslopes  # here: it takes half a second to import

    alone = alone[np.linspace(0, alone.size - 1, min(alone.size, 1000)).astype(np.int64)]
    slope, offset, lowest, _ = theilslopes(view.ttft[alone], prompt[alone])
    if lowest <= 0:
        return None  # the noise hides any dependence on the length
    expected = offset + slope * prompt
    off = view.ttft - expected
    deviation = 1.4826 * float(np.median(np.abs(off[alone])))
    bad = (view.waiting == 0) & (prompt > np.median(prompt[alone]))
    bad &= (view.ttft < _MUCH * expected) & (off < -_DEVIATIONS * deviation)
    if not bad.any():
        return None
    return Finding(
        "prefix_hits_suspected",
        "note",
        np.flatnonzero(bad),
        f"{np.count_nonzero(bad)} of {view.requests} requests have a TTFT too short for their "
        "prompt, with prefix caching off in the config",
        "nothing changed: check whether the server had prefix caching on",
    )
