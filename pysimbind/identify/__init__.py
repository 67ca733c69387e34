"""What the data can't tell: identifiability, intervals, profiles, and what to measure next."""

from __future__ import annotations

from ._directions import Direction
from ._identifiability import Identifiability, identifiability

__all__ = ["Direction", "Identifiability", "identifiability"]
