"""What the data can't tell: identifiability, intervals, profiles, and what to measure next."""

from __future__ import annotations

from ._advice import (
    Advice,
    Candidate,
    advise,
    fit_information,
    format_advice,
    make_candidates,
    relative_noise,
)
from ._bootstrap import Bootstrap, block_bootstrap, time_blocks
from ._directions import Direction
from ._identifiability import Identifiability, identifiability
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
    "fit_information",
    "format_advice",
    "identifiability",
    "make_candidates",
    "profile_likelihood",
    "relative_noise",
    "time_blocks",
]
