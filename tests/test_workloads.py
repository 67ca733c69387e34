"""Workloads from distributions: lengths, arrivals, prefixes, sessions, and their texts.

Oracles: closed forms of the distributions (moments, quantiles); plain loops over the definition of
a conversation; the recorded arrivals of the bundled experiments; the simulator's prefix cache,
which has its own oracles.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pysimbind import ServerConfig, Simulator, Workload, load_experiment
from pysimbind.errors import WorkloadError
from pysimbind.parameters import NAMES
from pysimbind.workloads import (
    Prefixes,
    Sessions,
    arrivals,
    as_arrivals,
    as_lengths,
    generate,
    lengths,
)

from .facts import facts

SEED = np.random.SeedSequence(5)
PARAMS = dict.fromkeys(NAMES, 0.0) | {"intercept": 0.01, "vllm_overhead": 2000.0}


def draw(text: str, size: int = 100_000, seed: int = 11) -> np.ndarray:
    return as_lengths(text).sample(np.random.default_rng(seed), size)


def rows(ragged: Any) -> list[list[int]]:
    flat, offsets = ragged
    return [flat[a:b].tolist() for a, b in itertools.pairwise(offsets)]


# --- lengths -------------------------------------------------------------------------------------


def test_constant() -> None:
    assert draw("128", 3).tolist() == draw("constant:128", 3).tolist() == [128, 128, 128]
    assert as_lengths(128) == as_lengths("128") == lengths.Constant(128)


def test_uniform_has_both_ends_and_each_value_alike() -> None:
    counts = np.unique(draw("uniform:3,6"), return_counts=True)
    assert counts[0].tolist() == [3, 4, 5, 6]
    assert stats.chisquare(counts[1]).pvalue > 0.01


@pytest.mark.parametrize(
    "text",
    [
        "lognormal:mean=500,cv=0.8",
        f"lognormal:median={500 / math.sqrt(1.64)},sigma={math.sqrt(math.log(1.64))}",
        "gamma:mean=500,cv=0.8",
    ],
)
def test_mean_and_variation(text: str) -> None:
    """Rounding adds a variance of 1/12, which is nothing here."""
    drawn = draw(text)
    assert drawn.mean() == pytest.approx(500, rel=0.01)
    assert drawn.std() / drawn.mean() == pytest.approx(0.8, rel=0.02)


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        ("lognormal:median=900,sigma=0.7", stats.lognorm(0.7, scale=900)),
        ("gamma:mean=900,cv=0.5", stats.gamma(4, scale=225)),
    ],
)
def test_shape(text: str, distribution: Any) -> None:
    q = [0.05, 0.25, 0.5, 0.75, 0.95]
    np.testing.assert_allclose(np.quantile(draw(text), q), distribution.ppf(q), rtol=0.02)


def test_limits_clip_and_change_no_other_request() -> None:
    free, limited = draw("gamma:mean=50,cv=2"), draw("gamma:mean=50,cv=2,min=8,max=100")
    assert free.min() == 1
    assert np.array_equal(limited, np.clip(free, 8, 100))


@pytest.mark.parametrize("text", ["lognormal:median=1e300,sigma=1e300", "gamma:mean=1e300,cv=5"])
def test_no_draw_is_beyond_what_a_workload_holds(text: str) -> None:
    drawn = draw(text, 1000)
    assert drawn.min() >= 1
    assert drawn.max() == 2**26 - 1


def test_empirical_repeats_what_was_observed(tmp_path: Path) -> None:
    values = [7, 7, 7, 900]
    drawn = draw("empirical:7,7,7,900")
    assert set(drawn.tolist()) == {7, 900}
    assert (drawn == 7).mean() == pytest.approx(0.75, abs=0.01)
    file = tmp_path / "lengths.json"
    file.write_text(json.dumps(values))
    assert as_lengths(f"empirical:file={file}") == as_lengths("empirical:7,7,7,900")
    assert as_lengths(f"empirical:file={file}") == lengths.Empirical(np.array(values))


@pytest.mark.parametrize(
    "text", ["uniform:1,99", "lognormal:mean=9,cv=1", "gamma:mean=9,cv=1", "empirical:1,2,3"]
)
def test_a_shorter_sample_is_the_beginning_of_a_longer(text: str) -> None:
    assert draw(text, 10).tolist() == draw(text, 1000)[:10].tolist()


def test_words_in_any_order_and_spacing() -> None:
    texts = [
        "gamma:mean=9,cv=1,max=20",
        " gamma: cv = 1 , max=20,mean=9 ",
        "gamma(mean=9,cv=1,max=20)",
    ]
    assert len({as_lengths(text) for text in texts}) == 1
    assert as_lengths("uniform:high=9,low=2") == as_lengths("uniform:2,9")


BAD_LENGTHS = [
    ("gama:mean=3,cv=1", "lengths .. 'gama:mean=3,cv=1' .. 'gama' .. 'gamma'"),
    ("gamma:mean=3,cvv=1", "'cvv' .. 'cv'"),
    ("gamma:mean=3,mean=4,cv=1", "mean .. twice"),
    ("uniform:3,low=4", "low .. twice"),
    ("gamma:mean=3", "cv .. missing"),
    ("gamma:3,1", "3 .. key"),
    ("uniform:3,4,5", "5 .. key"),
    ("gamma:mean=x,cv=1", "'mean=x' .. number .. 'x'"),
    ("gamma:mean=0,cv=1", "mean .. number .. 0"),
    ("gamma:mean=inf,cv=1", "mean .. finite"),
    ("gamma:mean=3,cv=1e-9", "cv .. 0.001 .. 1000"),
    ("gamma:mean=3,cv=1,min=9,max=5", "max (5) .. min (9)"),
    ("gamma:mean=3,cv=1,min=0", "min .. integer .. 1"),
    ("uniform:4,3", "high (3) .. low (4)"),
    ("uniform:1.5,3", "low .. integer"),
    ("lognormal:cv=1", "mean .. median .. neither"),
    ("lognormal:mean=3,median=2,cv=1", "mean .. median .. both"),
    ("lognormal:mean=3", "cv .. sigma .. neither"),
    ("lognormal:mean=3,cv=1,sigma=1", "cv .. sigma .. both"),
    ("lognormal:mean=3,cv=1e300", "cv .. 0.001 .. 1000"),
    ("lognormal:mean=3,sigma=1e9", "median .. number .. 0"),
    ("empirical:", "values"),
    ("empirical:1,file=x.json", "values"),
    ("empirical:1,0", "value 1 .. integer .. 1"),
    ("empirical:file=no.json", "no.json"),
    ("", "kind ''"),
    ("-3", "'-3'"),
    (0, "lengths .. integer .. 1"),
    (2.5, "lengths .. integer"),
    (True, "lengths .. integer"),
    (None, "lengths .. integer"),
]


@pytest.mark.parametrize(("value", "message"), BAD_LENGTHS)
def test_bad_lengths(value: Any, message: str) -> None:
    with pytest.raises(WorkloadError, match=facts(message)):
        as_lengths(value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "list"),
        ("[1, -2]", "1"),
        ('["1"]', "0"),
        ("[", "line 1 .. column 2 .. JSON"),
    ],
)
@pytest.mark.parametrize(("what", "make"), [("empirical", as_lengths), ("replayed", as_arrivals)])
def test_bad_files(tmp_path: Path, content: str, message: str, what: str, make: Any) -> None:
    file = tmp_path / "f.json"
    file.write_text(content)
    with pytest.raises(WorkloadError, match=facts(f"{what}:file= .. f.json: .. {message}")):
        make(f"{what}:file={file}")


# --- arrivals ------------------------------------------------------------------------------------


def test_plain_arrivals() -> None:
    for text, expected in {
        "at-once": [0, 0, 0, 0, 0],
        "constant:rate=4": [0, 0.25, 0.5, 0.75, 1],
        "constant:rate=inf": [0, 0, 0, 0, 0],
        "gamma:rate=4,burstiness=inf": [0, 0.25, 0.5, 0.75, 1],
        "gamma:rate=inf,burstiness=0.2": [0, 0, 0, 0, 0],
        "bursts:size=2,period_s=1.5": [0, 0, 1.5, 1.5, 3],
        "bursts:2,1.5": [0, 0, 1.5, 1.5, 3],
    }.items():
        assert as_arrivals(text).times(5, SEED).tolist() == expected


@pytest.mark.parametrize(("text", "shape"), [("poisson:rate=8", 1), ("gamma:8,0.25", 0.25)])
def test_gaps_are_gamma_distributed(text: str, shape: float) -> None:
    times = as_arrivals(text).times(20_001, SEED)
    assert times[0] == 0
    gaps = np.diff(times)
    assert stats.kstest(gaps, stats.gamma(shape, scale=1 / 8 / shape).cdf).pvalue > 0.01
    assert times[:50].tolist() == as_arrivals(text).times(50, SEED).tolist()


def test_replayed_from_the_first_and_faster(tmp_path: Path) -> None:
    file = tmp_path / "times.json"
    file.write_text("[100.0, 100.5, 103]")
    assert as_arrivals(f"replayed:file={file}").times(3, SEED).tolist() == [0, 0.5, 3]
    assert as_arrivals(f"replayed:file={file},speed=2").times(2, SEED).tolist() == [0, 0.25]
    with pytest.raises(WorkloadError, match=facts("3 .. 4 requests")):
        as_arrivals(f"replayed:file={file}").times(4, SEED)
    with pytest.raises(WorkloadError, match=facts("time 1 .. (1.0 s) .. time 0 .. (2.0 s)")):
        arrivals.Replayed((2, 1))


def test_the_original_experiment_number_for_number() -> None:
    recorded = load_experiment("exp1_30rr").workload.arrival_s
    assert as_arrivals("original:rate=30,seed=42").times(100, SEED).tolist() == recorded.tolist()
    sizes = {"input_tokens": 9, "output_tokens": 9}
    made = generate(100, arrivals="original:rate=30", seed=42, **sizes)
    assert made.arrival_s.tolist() == recorded.tolist()
    client = generate(100, arrivals="vllm-bench-2025:rate=30", seed=42, **sizes)
    np.testing.assert_allclose(client.arrival_s, recorded, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("gama:rate=3", "'gama' .. 'gamma'"),
        ("gamma", "rate .. missing"),
        ("gamma:rate=0", "rate .. 0"),
        ("gamma:rate=1,burstiness=0", "burstiness .. 0"),
        ("constant:rate=-1", "rate .. 0"),
        ("at-once:3", "3"),
        ("bursts:size=0,period_s=1", "size .. 1"),
        ("bursts:size=2,period_s=inf", "period_s .. finite"),
        ("replayed:speed=2", "file .. missing"),
        ("vllm-bench:rate=0", "request_rate .. 0"),
        ("vllm-bench-2025:rate=1,burstiness=inf", "burstiness .. finite"),
        ("original:rate=1,seed=-1", "seed .. 0"),
        (8, "Arrivals .. int"),
    ],
)
def test_bad_arrivals(value: Any, message: str) -> None:
    with pytest.raises(WorkloadError, match=facts(message)):
        as_arrivals(value)


# --- generate ------------------------------------------------------------------------------------

BASE = {
    "input_tokens": "lognormal:mean=100,cv=1,max=400",
    "output_tokens": "gamma:mean=40,cv=0.7",
    "arrivals": "poisson:rate=5",
}


def test_parts_are_what_they_are_alone() -> None:
    w = generate(200, **BASE, max_concurrency=7, seed=3)
    assert len(w) == 200
    assert w.max_concurrency == 7
    assert w.prompt_ids is None
    assert w == generate(200, **BASE, max_concurrency=7, seed=3)
    objects = {
        "input_tokens": lengths.Lognormal.of(mean=100, cv=1, max=400),
        "output_tokens": lengths.Gamma(mean=40, cv=0.7),
        "arrivals": arrivals.Gamma(5),
    }
    assert w == generate(200, **objects, max_concurrency=7, seed=3)
    for column in ("arrival_s", "input_tokens", "output_tokens"):
        other = getattr(generate(200, **BASE, seed=4), column)
        assert not np.array_equal(getattr(w, column), other)
        shorter = getattr(generate(50, **BASE, seed=3), column)
        assert np.array_equal(getattr(w, column)[:50], shorter)


def test_changing_one_part_changes_no_other() -> None:
    """Each purpose has its own stream; prefixes only add to prompts, so subtract them."""
    changes = {
        "input_tokens": {"input_tokens": "uniform:5,9"},
        "output_tokens": {"output_tokens": "empirical:3,5,8"},
        "arrival_s": {"arrivals": "gamma:rate=2,burstiness=0.1"},
        "": {"prefix": "num_prefixes=3,prefix_len=32"},
    }
    before = generate(100, **BASE, seed=8)
    for changed, change in changes.items():
        after = generate(100, **(BASE | change), seed=8)
        for column in ("input_tokens", "output_tokens", "arrival_s"):
            added = 32 if column == "input_tokens" and not changed else 0
            same = np.array_equal(getattr(before, column), getattr(after, column) - added)
            assert same == (column != changed), (changed, column)


def test_prefix_groups_do_not_depend_on_lengths() -> None:
    shared = {"prefix": "num_prefixes=5,prefix_len=4", "seed": 2}
    one, other = (
        [row[:4] for row in rows(generate(60, **(BASE | {"input_tokens": n}), **shared).prompt_ids)]
        for n in (3, "uniform:1,50")
    )
    assert one == other


def test_exactly_the_prefix_repeats() -> None:
    w = generate(40, **BASE, prefix=Prefixes(3, 20), seed=1)
    prompts = rows(w.prompt_ids)
    assert w.output_ids is None
    assert len({tuple(p[:20]) for p in prompts}) == 3
    for a, b in itertools.combinations(prompts, 2):
        pairs = zip(a, b, strict=False)
        common = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))
        assert common == (20 if a[:20] == b[:20] else 0)


def test_the_simulator_finds_the_prefix() -> None:
    """One request after another: all but the first of each group hit its whole blocks."""
    w = generate(
        30, input_tokens=50, output_tokens=2, arrivals="constant:1", prefix=Prefixes(4, 70)
    )
    with Simulator(w, ServerConfig(block_size=16)) as simulator:
        cached = simulator.run(PARAMS).cached_tokens
    seen: set[int] = set()
    for prompt, hit in zip(rows(w.prompt_ids), cached, strict=True):
        assert hit == (64 if prompt[0] in seen else 0)
        seen.add(prompt[0])
    assert len(seen) == 4


def test_skewed_prefixes_follow_zipf() -> None:
    groups = Prefixes(4, 1, skew=1.5).groups(100_000, np.random.default_rng(3))
    weights = np.arange(1, 5) ** -1.5
    np.testing.assert_allclose(np.bincount(groups) / 1e5, weights / weights.sum(), atol=0.01)
    even = Prefixes(4, 1).groups(100_000, np.random.default_rng(3))
    np.testing.assert_allclose(np.bincount(even) / 1e5, 0.25, atol=0.01)


TALK = Sessions("uniform:1,5", think_s=3, ttft_s=0.5, tpot_s=0.02, think_cv=0)


def test_sessions_are_conversations() -> None:
    """Follow each conversation from its turns' own lengths, which a run without sessions has."""
    w = generate(120, **BASE, sessions=TALK, prefix=Prefixes(2, 8), seed=6)
    alone = generate(120, **BASE, seed=6)
    prompts, outputs = rows(w.prompt_ids), rows(w.output_ids)
    sessions: dict[int, list[int]] = {}
    for i, prompt in enumerate(prompts):
        sessions.setdefault(prompt[8], []).append(i)
    assert {len(turns) for turns in sessions.values()} == {1, 2, 3, 4, 5}

    expected = []
    for _, turns in sorted(sessions.items()):
        said: list[int] | None = None
        for before, turn in zip([-1, *turns], turns, strict=False):
            if said is not None:
                gap = 0.5 + 0.02 * (len(outputs[before]) - 1) + 3
                assert w.arrival_s[turn] - w.arrival_s[before] == pytest.approx(gap, rel=1e-9)
                assert prompts[turn][: len(said)] == said
            expected.append(
                (len(prompts[turn]) - (8 if said is None else len(said)), len(outputs[turn]))
            )
            said = prompts[turn] + outputs[turn]
    assert expected == list(zip(alone.input_tokens, alone.output_tokens, strict=True))
    starts = [w.arrival_s[turns[0]] for _, turns in sorted(sessions.items())]
    np.testing.assert_allclose(starts, alone.arrival_s[: len(starts)], rtol=1e-12)


def test_the_simulator_finds_what_was_said() -> None:
    """All but the last, uncomputed token of the answer is there; whole blocks of it are hits."""
    talk = Sessions(4, think_s=9, ttft_s=1, tpot_s=1, think_cv=0)
    w = generate(4, input_tokens=50, output_tokens=11, sessions=talk)
    with Simulator(w, ServerConfig(block_size=1)) as simulator:
        cached = simulator.run(PARAMS).cached_tokens
    assert cached.tolist() == [0, 60, 121, 182]


def test_think_times() -> None:
    output = np.full(50_000, 11)
    for cv in (0.5, 1.0):
        talk = dataclasses.replace(TALK, think_cv=cv)
        think = talk.gaps_s(output, np.random.default_rng(4)) - 0.7
        assert think.mean() == pytest.approx(3, rel=0.02)
        assert think.std() == pytest.approx(3 * cv, rel=0.03)
    none = dataclasses.replace(TALK, think_s=0, think_cv=1)
    np.testing.assert_allclose(none.gaps_s(output, np.random.default_rng(4)), 0.7)


def test_sessions_end_before_the_model_does() -> None:
    talk = dataclasses.replace(TALK, turns=100, max_model_len=1000)
    w = generate(300, **BASE, sessions=talk, prefix=Prefixes(1, 100), seed=2)
    total = w.input_tokens + w.output_tokens
    assert total.max() <= 1000
    assert total.max() > 800
    owners = [row[100] for row in rows(w.prompt_ids)]
    last = {owner: i for i, owner in enumerate(owners)}
    new = generate(300, **BASE, seed=2)
    order = sorted(set(owners))
    ends = np.cumsum([owners.count(owner) for owner in order])
    for owner, end in zip(order[:-1], ends[:-1], strict=True):  # the next turn would not have fit
        assert total[last[owner]] + new.input_tokens[end] + new.output_tokens[end] > 1000


def test_sessions_as_a_text() -> None:
    text = "turns=uniform(1,5),think_s=3,ttft_s=0.5,tpot_s=0.02,think_cv=0"
    assert generate(50, **BASE, sessions=text) == generate(50, **BASE, sessions=TALK)
    assert pickle.loads(pickle.dumps(TALK)) == TALK


NEED = "think_s=3,ttft_s=1,tpot_s=1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_requests": 0}, "num_requests .. 1"),
        ({"seed": -1}, "seed .. 0"),
        ({"seed": 1.0}, "seed"),
        ({"input_tokens": "x"}, "input_tokens .. 'x'"),
        ({"output_tokens": 0}, "output_tokens .. 1"),
        ({"max_concurrency": 0}, "max_concurrency .. 0"),
        ({"arrivals": "original:rate=2", "seed": 2**32}, "seed .. 4294967296"),
        ({"prefix": 3}, "prefix .. pysimbind.workloads .. int"),
        ({"prefix": "num_prefixes=3"}, "'num_prefixes=3' .. prefix_len"),
        ({"prefix": "num_prefixes=0,prefix_len=3"}, "num_prefixes .. 1"),
        ({"prefix": "3,prefix_len=0"}, "prefix_len .. 1"),
        ({"prefix": "3,3,skew=-1"}, "skew .. 0"),
        ({"sessions": 4}, "sessions"),
        ({"sessions": "turns=4"}, "'turns=4' .. think_s, ttft_s, tpot_s"),
        ({"sessions": f"turns=0,{NEED}"}, "turns .. 1"),
        ({"sessions": f"turns=unform(1,2),{NEED}"}, "turns .. 'unform(1,2)' .. 'unform'"),
        ({"sessions": f"turns=2,{NEED},think_cv=1e9"}, "think_cv .. 0"),
        ({"sessions": "turns=2,think_s=inf,ttft_s=1,tpot_s=1"}, "think_s .. finite"),
        ({"sessions": f"turns=2,{NEED},max_model_len=0"}, "max_model_len .. 1"),
    ],
)
def test_bad_workloads(change: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkloadError, match=facts(message)):
        generate(**({"num_requests": 5, "input_tokens": 3, "output_tokens": 3} | change))


def test_the_global_generator_is_left_alone() -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    generate(20, **(BASE | {"arrivals": "vllm-bench:rate=3"}), sessions=TALK, prefix="2,8")
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]  # noqa: NPY002


def test_a_workload_of_its_own_is_simulated() -> None:
    w = generate(50, **BASE, seed=1)
    assert isinstance(w, Workload)
    with Simulator(w) as simulator:
        assert np.isfinite(simulator.run(PARAMS).e2e).all()
