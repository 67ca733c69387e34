"""Matching the facts of messages and reports: the place, the key, the value. Their prose is free.

Facts are spelled in one text, parted by two dots: ``"f.json .. runs[2] .. 'rate' .. -1"``. They
stand in one line, in any order.
"""

from __future__ import annotations

import re


def facts(text: str) -> str:
    """Return a pattern for ``match=`` that finds the facts in one line.

    A fact is a whole word or number: ``1`` is neither in ``10`` nor in ``0.1``, nor in a path.
    """
    return "(?m)^" + "".join(f"(?=.*{_pattern(fact)})" for fact in text.split(" .. "))


def tells(message: object, text: str) -> bool:
    """Tell whether one line of a message or a report has all of the facts."""
    return re.search(facts(text), str(message)) is not None


def _pattern(fact: str) -> str:
    assert fact.strip() == fact != "", f"not a fact: {fact!r}"
    before = after = ""
    if re.match(r"-?\.?\d", fact):
        before = r"(?<![\w./-])"
    elif fact[0].isalnum():
        before = r"(?<!\w)"
    if fact[-1].isdigit():
        after = r"(?!\w|\.\d)"
    elif fact[-1].isalnum():
        after = r"(?!\w)"
    return before + re.escape(fact) + after
