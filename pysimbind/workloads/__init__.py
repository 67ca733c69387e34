"""Workloads to simulate: drawn from distributions, or read from datasets.

``generate`` draws lengths, arrivals, shared prefixes and sessions. ``from_sharegpt`` samples raw
ShareGPT conversations as vLLM's benchmark does. ``from_tokenised`` reads the original experiment's
token lists. Every part is an object (modules ``lengths``, ``arrivals``, ``prefixes``) or a text.
"""

from __future__ import annotations

from . import arrivals, lengths
from ._generate import generate
from .arrivals import as_arrivals
from .lengths import as_lengths
from .prefixes import Prefixes, Sessions
from .sharegpt import from_sharegpt
from .tokenised import from_tokenised
from .tokenizers import PATTERNS, load_tokenizer

__all__ = [
    "PATTERNS",
    "Prefixes",
    "Sessions",
    "arrivals",
    "as_arrivals",
    "as_lengths",
    "from_sharegpt",
    "from_tokenised",
    "generate",
    "lengths",
    "load_tokenizer",
]
