"""Matching messages by their facts: made-up messages, right and wrong, are the oracle."""

from __future__ import annotations

import re

import pytest

from .facts import facts, tells

MESSAGE = "/x/test-1/f.json: runs[2].rate is -1.5, from 10 to 200; did you mean 'rates'?\nrun 7"


@pytest.mark.parametrize(
    "text",
    ["f.json", "runs[2].rate", "-1.5", "10 .. 200", "200 .. 10", "'rates' .. f.json", "run 7"],
)
def test_facts_are_found_in_any_order(text: str) -> None:
    assert tells(MESSAGE, text)
    assert re.search(facts(text), MESSAGE)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1", "part of a number, of a path"),
        ("1.5", "without its sign"),
        ("-1", "without its fraction"),
        ("20", "part of a number"),
        ("ate", "part of a word"),
        ("runs.2.", "no pattern"),
        ("f.json .. run 7", "two lines"),
        ("f.json .. 'rats'", "one is missing"),
    ],
)
def test_what_is_no_fact_of_a_message(text: str, why: str) -> None:
    assert not tells(MESSAGE, text), why
    assert not re.search(facts(text), MESSAGE), why


@pytest.mark.parametrize("text", ["", "a ..  .. b", " a"])
def test_a_test_must_name_facts(text: str) -> None:
    with pytest.raises(AssertionError, match="not a fact"):
        facts(text)
