"""The limits of the data: identifiability, intervals, profiles, and what to measure next."""

from __future__ import annotations

from ._advice import Advice, Candidate, advise, format_advice, make_candidates
from ._bootstrap import Bootstrap, block_bootstrap
from ._directions import Direction
from ._identifiability import Identifiability, identify
from ._prediction import Prediction
from ._profile import Profile, profile_likelihood

__all__ = [
    "Advice",
    "Bootstrap",
    "Candidate",
    "Direction",
    "Identifiability",
    "Prediction",
    "Profile",
    "advise",
    "block_bootstrap",
    "format_advice",
    "identify",
    "make_candidates",
    "profile_likelihood",
]
