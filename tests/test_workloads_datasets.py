"""Workloads from files: raw ShareGPT by vLLM's rules, tokenised ShareGPT, tokenizers.

Oracles: vLLM's rules written as a plain loop on the global generator, which the test seeds and puts
back; the lists in the files; the libraries ``tokenizers`` and ``tiktoken`` called directly.
"""

from __future__ import annotations

import base64
import itertools
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pysimbind import load_experiment
from pysimbind.errors import MissingExtraError, WorkloadError
from pysimbind.workloads import PATTERNS, from_sharegpt, from_tokenised, load_tokenizer

from .facts import facts


def encode(text: str) -> list[int]:
    """Stand in for a tokenizer: a token for each word."""
    return [sum(map(ord, word)) for word in text.split()]


def talk(*lengths: int) -> dict[str, Any]:
    speakers = itertools.cycle(["human", "gpt"])
    words = [" ".join(f"w{n}.{i}" for i in range(n)) for n in lengths]
    messages = [{"from": who, "value": text} for who, text in zip(speakers, words, strict=False)]
    return {"id": str(lengths), "conversations": messages}


@pytest.fixture
def sharegpt(tmp_path: Path) -> Path:
    """Return a file with conversations of all kinds, in and out of the rules."""
    rng = np.random.default_rng(0)
    entries = [talk(*rng.integers(2, 40, 4).tolist()) for _ in range(60)]
    entries += [talk(n, m) for n, m in [(3, 9), (4, 3), (4, 4), (1024, 9), (1025, 9)]]
    entries += [talk(1000, 1048), talk(1000, 1049), talk(9), talk(), {"id": "none"}]
    path = tmp_path / "sharegpt.json"
    path.write_text(json.dumps(entries))
    return path


@pytest.fixture
def _global_random() -> Iterator[None]:
    state = random.getstate()
    yield
    random.setstate(state)


def by_the_rules(
    path: Path, count: int, seed: int, output_len: int | None
) -> list[tuple[int, int]]:
    """Sample as vLLM does."""
    data = [e for e in json.loads(path.read_text()) if len(e.get("conversations", [])) >= 2]
    random.seed(seed)
    random.shuffle(data)
    chosen: list[tuple[int, int]] = []
    for entry in data:
        if len(chosen) == count:
            return chosen
        prompt, answer = (len(encode(entry["conversations"][i]["value"])) for i in (0, 1))
        output = answer if output_len is None else output_len
        if prompt < 4 or prompt > 1024 or prompt + output > 2048:
            continue
        if output < 4 and output_len is None:
            continue
        chosen.append((prompt, output))
    random.seed(seed)
    return chosen + [random.choice(chosen) for _ in range(count - len(chosen))]


@pytest.mark.usefixtures("_global_random")
@pytest.mark.parametrize("count", [10, 50, 200])
@pytest.mark.parametrize("output_len", [None, 2, 1020])
@pytest.mark.parametrize("seed", [0, 42])
def test_the_sample_is_vllms(sharegpt: Path, count: int, output_len: int | None, seed: int) -> None:
    w = from_sharegpt(sharegpt, encode, count, output_len=output_len, seed=seed)
    got = list(zip(w.input_tokens.tolist(), w.output_tokens.tolist(), strict=True))
    assert got == by_the_rules(sharegpt, count, seed, output_len)


def test_the_limits_are_vllms(sharegpt: Path) -> None:
    w = from_sharegpt(sharegpt, encode, 100, oversample=False, shuffle=False)
    assert len(w) < 66
    pairs = list(zip(w.input_tokens.tolist(), w.output_tokens.tolist(), strict=True))
    assert pairs[-3:] == [(4, 4), (1024, 9), (1000, 1048)]
    assert min(w.input_tokens) == min(w.output_tokens) == 4


def test_prompts_keep_their_token_ids(sharegpt: Path) -> None:
    w = from_sharegpt(sharegpt, encode, 1, shuffle=False)
    assert w.prompt_ids is not None
    entries = json.loads(sharegpt.read_text())
    texts = [[m["value"] for m in e.get("conversations", [])] for e in entries]
    first = next(t for t in texts if len(t) > 1 and min(len(encode(m)) for m in t[:2]) >= 4)
    assert w.prompt_ids[0].tolist() == encode(first[0])
    assert w.output_ids is None


def test_arrivals_and_limit_go_with_it(sharegpt: Path) -> None:
    """The original experiment: seed 42 for both, 30 requests a second."""
    w = from_sharegpt(
        sharegpt, encode, 100, arrivals="original:rate=30", max_concurrency=9, seed=42
    )
    assert w.arrival_s.tolist() == load_experiment("exp1_30rr").workload.arrival_s.tolist()
    assert w.max_concurrency == 9


def test_the_global_generator_is_left_alone(sharegpt: Path) -> None:
    before = random.getstate()
    from_sharegpt(sharegpt, encode, 100)
    assert random.getstate() == before


def test_a_tokenizer_of_transformers(sharegpt: Path) -> None:
    """Its result is no list; ``input_ids`` in it is."""
    w = from_sharegpt(sharegpt, lambda text: SimpleNamespace(input_ids=encode(text)), 20)
    assert w == from_sharegpt(sharegpt, encode, 20)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "list .. conversations"),
        ("[]", "no conversation"),
        ('[{"conversations": [{"value": "a"}, {"value": "b"}]}]', "no conversation"),
        ('[1, {"conversations": [3, 4]}]', "[1].conversations[0] .. 3"),
        (
            '[{"conversations": [{"value": "a"}, {"value": [1]}]}]',
            "[0].conversations[1]",
        ),
        ("[", "line 1 .. column 2 .. JSON"),
    ],
)
def test_bad_sharegpt(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "f.json"
    path.write_text(content)
    with pytest.raises(WorkloadError, match=facts(f"f.json .. {message}")):
        from_sharegpt(path, encode, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_requests": 0}, "num_requests .. 1"),
        ({"output_len": 0}, "output_len .. 1"),
        ({"seed": -1}, "seed .. 0"),
        ({"arrivals": "x"}, "arrivals .. 'x'"),
        ({"tokenizer": "x.model"}, "x.model"),
        ({"tokenizer": str.split}, "prompt_token_ids .. request 0"),
    ],
)
def test_bad_sharegpt_options(sharegpt: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkloadError, match=facts(message)):
        from_sharegpt(**({"path": sharegpt, "tokenizer": encode, "num_requests": 5} | change))


# --- tokenised -----------------------------------------------------------------------------------


def tokenised(tmp_path: Path, entries: Any) -> Path:
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps(entries))
    return path


def message(who: str, *ids: Any) -> dict[str, Any]:
    return {"from": who, "value": list(ids)}


ENTRIES = [
    {
        "id": "a",
        "conversations": [
            message("system", 1),
            message("human", 5, 6, 7),
            message("gpt", 8),
            message("human", 9),
            message("gpt", 1, 2),
            message("human", 3),
            message("gpt", 3),
        ],
        "arrivalDelta": 0,
    },
    {"id": "b", "conversations": [message("gpt", 4), message("human", 5)], "arrivalDelta": 999},
    {
        "id": "c",
        "conversations": [message("human", 2), message("human", 5, 6), message("gpt", 7, 7)],
        "arrivalDelta": 15642,
    },
]


def test_first_pair_of_each_conversation(tmp_path: Path) -> None:
    w = from_tokenised(tokenised(tmp_path, ENTRIES))
    assert w.arrival_s.tolist() == [0, 0.015642]
    assert w.prompt_ids is not None
    assert w.output_ids is not None
    assert [part.tolist() for part in w.prompt_ids] == [[5, 6, 7, 5, 6], [0, 3, 5]]
    assert [part.tolist() for part in w.output_ids] == [[8, 7, 7], [0, 1, 3]]


def test_two_pairs_and_fewer_requests(tmp_path: Path) -> None:
    path = tokenised(tmp_path, ENTRIES)
    assert from_tokenised(path, max_pairs=2).input_tokens.tolist() == [3, 1, 2]
    assert from_tokenised(path, max_pairs=9).output_tokens.tolist() == [1, 2, 1, 2]
    assert from_tokenised(path, 2, max_pairs=2).input_tokens.tolist() == [3, 1]
    assert from_tokenised(path, max_concurrency=2).max_concurrency == 2


def test_the_original_arrivals_from_its_file(tmp_path: Path) -> None:
    recorded = load_experiment("exp1_30rr").workload.arrival_s
    deltas = np.diff(np.rint(recorded * 1e6).astype(int), prepend=0).tolist()
    pair = [message("human", 1), message("gpt", 2)]
    entries = [{"conversations": pair, "arrivalDelta": delta} for delta in deltas]
    assert from_tokenised(tokenised(tmp_path, entries)).arrival_s.tolist() == recorded.tolist()


def test_other_arrivals(tmp_path: Path) -> None:
    bare = [{k: v for k, v in entry.items() if k != "arrivalDelta"} for entry in ENTRIES]
    path = tokenised(tmp_path, bare)
    w = from_tokenised(path, arrivals="bursts:size=1,period_s=2")
    assert w.arrival_s.tolist() == [0, 2]
    with pytest.raises(WorkloadError, match=facts("request 0 .. arrivalDelta")):
        from_tokenised(path)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "list"),
        ([], "'human'"),
        ([3], "[0].conversations .. list"),
        (
            [{"conversations": [{"from": "human", "value": "hi"}, message("gpt", 1)]}],
            "[0].conversations[0].value .. token ids .. 'hi'",
        ),
        (
            [{"conversations": [message("human", 1), message("gpt", -1)], "arrivalDelta": 0}],
            "output_token_ids .. request 0 .. 0",
        ),
        (
            [{"conversations": [message("human", 1), message("gpt", 1)], "arrivalDelta": 0.5}],
            "arrivalDelta .. request 0 .. integer",
        ),
    ],
)
def test_bad_tokenised(tmp_path: Path, entries: Any, message: str) -> None:
    with pytest.raises(WorkloadError, match=facts(f"tokens.json .. {message}")):
        from_tokenised(tokenised(tmp_path, entries))


def test_more_than_there_are(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=facts("tokens.json .. 2 .. 3")):
        from_tokenised(tokenised(tmp_path, ENTRIES), 3)


# --- tokenizers ----------------------------------------------------------------------------------

TEXT = "It's 2026, and the cat\n\n sat on 12345 mats!"


@pytest.fixture
def hugging_face(tmp_path: Path) -> Path:
    """Write a small word-level tokenizer whose post-processor puts a token in front."""
    tokenizers = pytest.importorskip("tokenizers", reason="needs the extra 'tokenizers'")
    vocabulary = {"<s>": 0, "?": 1, "the": 2, "cat": 3, "sat": 4}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing("<s> $A", None, [("<s>", 0)])
    made.enable_truncation(3)
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    return path


def test_hugging_face(hugging_face: Path) -> None:
    """Special tokens are counted, and no stored truncation applies."""
    for given in (hugging_face, hugging_face.parent, str(hugging_face)):
        assert list(load_tokenizer(given)("the cat sat the dog")) == [0, 2, 3, 4, 2, 1]


def test_hugging_face_counts_a_dataset(hugging_face: Path, sharegpt: Path) -> None:
    w = from_sharegpt(sharegpt, hugging_face, 10)
    assert w == from_sharegpt(sharegpt, load_tokenizer(hugging_face), 10)
    assert w.prompt_ids is not None
    assert w.prompt_ids[0][0] == 0


@pytest.fixture
def ranks(tmp_path: Path) -> Path:
    """Write a file of ranks: all bytes, and a few pairs."""
    tokens = [bytes([b]) for b in range(256)] + [b"at", b"the", b"th", b" th", b"12", b"123"]
    path = tmp_path / "small.tiktoken"
    lines = (f"{base64.b64encode(token).decode()} {i}\n" for i, token in enumerate(tokens))
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize("name", ["cl100k", "qwen"])
def test_tiktoken(ranks: Path, name: str) -> None:
    tiktoken = pytest.importorskip("tiktoken", reason="needs the extra 'tokenizers'")
    mergeable = {
        base64.b64decode(token): int(rank)
        for token, rank in (line.split() for line in ranks.read_text().splitlines())
    }
    direct = tiktoken.Encoding(
        "direct", pat_str=PATTERNS[name], mergeable_ranks=mergeable, special_tokens={}
    )
    ids = list(load_tokenizer(ranks, name)(TEXT))
    assert ids == direct.encode(TEXT)
    assert direct.decode(ids) == TEXT
    assert (mergeable[b"123"] in ids) == (name == "cl100k")  # Qwen cuts numbers into digits
    assert load_tokenizer(ranks, PATTERNS[name])(TEXT) == ids


def test_a_changed_file_is_read_again(ranks: Path) -> None:
    pytest.importorskip("tiktoken", reason="needs the extra 'tokenizers'")
    before = load_tokenizer(ranks)("cat")
    ranks.write_text("\n".join(ranks.read_text().splitlines()[:256]) + "\n")
    assert len(load_tokenizer(ranks)("cat")) == 3 > len(before)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", "{}", "Hugging Face"),
        ("x.json", None, "No such file"),
        ("x.tiktoken", "YQ== 0\nYg==\n", "line 2 .. base64"),
        ("x.tiktoken", "YQ== a\n", "line 1 .. base64"),
        ("x.tiktoken", "!! 1\n", "line 1 .. base64"),
        ("x.tiktoken", "YQ== -1\n", "line 1 .. base64"),
        ("x.tiktoken", "YQ== 0\nYg== 0\n", "line 2 .. rank 0 .. twice"),
        ("x.tiktoken", "YQ== 0\n", "0x00"),
        ("x.tiktoken", "", "ranks"),
        ("x.tiktoken", None, "No such file"),
        ("x.model", "", ".json"),
    ],
)
def test_bad_tokenizers(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    pytest.importorskip("tokenizers", reason="needs the extra 'tokenizers'")
    pytest.importorskip("tiktoken", reason="needs the extra 'tokenizers'")
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(WorkloadError, match=facts(f"{name} .. {message}")):
        load_tokenizer(tmp_path / name)


def test_a_bad_pattern(ranks: Path) -> None:
    pytest.importorskip("tiktoken", reason="needs the extra 'tokenizers'")
    with pytest.raises(WorkloadError, match=facts("'('")):
        load_tokenizer(ranks, "(")


@pytest.mark.parametrize(
    ("name", "library"), [("x.json", "tokenizers"), ("x.tiktoken", "tiktoken")]
)
def test_a_missing_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=facts(f"{library} .. pysimbind[tokenizers]")):
        load_tokenizer(tmp_path / name)
