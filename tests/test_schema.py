"""Typed reading of JSON: what is wrong is told with its place, the key and the value."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec
import pytest

from pysimbind import ExperimentError
from pysimbind._io.schema import Count, Finite, decode


class Part(msgspec.Struct, forbid_unknown_fields=True):
    weight: Finite
    name: str = ""


class Whole(msgspec.Struct, forbid_unknown_fields=True):
    parts: list[Part]
    count: Count = 0
    by_name: dict[str, Finite | None] = {}
    pairs: list[tuple[Finite, Finite]] = []
    one: Part | None = None
    role: Literal["big", "small"] | None = None
    some: Annotated[list[int], msgspec.Meta(min_length=1)] | None = None


GOOD: dict[str, Any] = {"parts": [{"weight": 1}]}


def test_good_objects() -> None:
    whole = decode({**GOOD, "by_name": {"a": None, "b": 2}}, Whole, "f", ExperimentError)
    assert whole == Whole([Part(1.0)], by_name={"a": None, "b": 2.0})
    assert isinstance(whole.parts[0].weight, float)


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        ({"parts": [{"weight": "x"}]}, "parts[0].weight", ["number", "got 'x'"]),
        ({"parts": [{"weight": math.nan}]}, "parts[0].weight", ["finite number", "got nan"]),
        ({"parts": [{"weight": math.inf}]}, "parts[0].weight", ["finite number", "got inf"]),
        ({"parts": [{"weight": 10**400}]}, "parts[0].weight", ["number", "got 1000"]),
        ({"parts": [{"weight": True}]}, "parts[0].weight", ["number", "got True"]),
        ({"parts": [{"weight": 1}, {}]}, "parts[1].weight", ["missing"]),
        ({"parts": [{"weight": 1, "nam": ""}]}, "parts[0].nam", ["unknown key", "'name'"]),
        ({"one": {"weight": 1, "nam": ""}}, "one.nam", ["unknown key", "'name'"]),
        ({"cuont": 1}, "cuont", ["unknown key", "'count'"]),
        ({"count": -1}, "count", ["integer >= 0", "got -1"]),
        ({"count": 1.5}, "count", ["integer", "got 1.5"]),
        ({"by_name": {"a": 1, "b": "y"}}, "by_name.b", ["number or null", "got 'y'"]),
        ({"pairs": [[1, 2], [3]]}, "pairs[1]", ["length 2", "got [3]"]),
        ({"pairs": [[1, 2], [3, "z"]]}, "pairs[1][1]", ["number", "got 'z'"]),
        ({"role": "bigg"}, "role", ["one of big, small", "got 'bigg'"]),
        ({"role": 3}, "role", ["one of big, small", "got 3"]),
        ({"some": []}, "some", ["not be empty"]),
        ({"by_name": {"a": 1, 5: 2}}, "by_name", ["keys must be strings", "got 5"]),
        ({"parts": "p" * 99}, "parts", ["list", "got 'ppp"]),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    change: dict[str, Any], place: str, words: list[str]
) -> None:
    obj = {**GOOD, **change}
    before = repr(obj)
    with pytest.raises(ExperimentError) as caught:
        decode(obj, Whole, "f.json", ExperimentError)
    message = str(caught.value)
    assert message.startswith(f"f.json: {place}: ")
    assert all(word in message for word in words), message
    assert len(message) < 120
    assert repr(obj) == before


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        ({"parts": [], "x` - at `$.name": 1}, ["unknown field", "x` - at `$.name"]),
        ({"parts": [], "x` - at `key` in `$": 1}, ["unknown field"]),
        ({"parts": [], "a\nb": 1}, [r"'a\nb': unknown key"]),
        ({"parts": [], "by_name": {"a.b]": "x"}}, ["by_name.a.b]: ", "got 'x'"]),
    ],
)
def test_odd_keys(obj: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ExperimentError) as caught:
        decode(obj, Whole, "f", ExperimentError)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_whole_file_may_be_wrong() -> None:
    with pytest.raises(ExperimentError, match=r"^f: the file: must be a JSON object, got 3$"):
        decode(3, Whole, "f", ExperimentError)
    with pytest.raises(ExperimentError, match=r"^f: the file: keys must be strings, got True$"):
        decode({True: 1}, Whole, "f", ExperimentError)
    with pytest.raises(ExperimentError, match=r"^f: here: a key holds half of a character"):
        decode({"\ud800": "", "weight": 1}, Part, "f", ExperimentError, "here")
    with pytest.raises(ExperimentError, match=r"^f: here\[1\]\.weight: missing$"):
        decode({}, Part, "f", ExperimentError, "here[1]")
