"""The data that the tests bring along, against a source folder made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from . import recorded


@pytest.fixture
def source(tmp_path: Path) -> Path:
    recorded.unpack(tmp_path)
    for kind in recorded.GOLDEN:
        (tmp_path / "golden" / kind).mkdir(parents=True)
        for case in recorded.golden(kind):
            path = tmp_path / "golden" / kind / f"{case.pop('name')}.json"
            path.write_text(json.dumps(case, indent=1))
    cases = recorded.golden(recorded.EMPTY_BATCH)
    for case in cases:
        del case["name"]
    (tmp_path / "golden" / f"{recorded.EMPTY_BATCH}.json").write_text(json.dumps(cases))
    return tmp_path


@pytest.mark.slow
def test_a_source_folder_is_compared(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recorded.main([str(source), "--check"]) == 0
    (source / "exp1_30rr" / "bounds.json").write_text("{}")
    (source / "golden" / "vllm-v1" / "chunk_budget1.json").unlink()
    (source / "vllm_cpu" / "new.json").write_text("{}")
    assert recorded.main([str(source), "--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "differs: exp1_30rr/bounds.json.gz",
        "differs: golden/vllm-v1.json.gz",
        "differs: vllm_cpu/new.json.gz",
    ]


@pytest.mark.slow
def test_what_is_written_anew_is_the_same(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever it is written: the files hold no time."""
    made = tmp_path / "made"
    made.mkdir()
    ours = {path.relative_to(recorded.DATA): path for path in recorded.DATA.glob("*/*.gz")}
    monkeypatch.setattr(recorded, "DATA", made)
    assert recorded.main([str(source)]) == 0
    for name, path in ours.items():
        assert recorded._unpacked(made / name) == recorded._unpacked(path)
    written = [path.read_bytes() for path in made.glob("*/*.gz")]
    assert len(written) == len(ours)
    assert {text[4:8] for text in written} == {bytes(4)}  # the time in the header of gzip
