"""Recorded data that the tests bring along, compressed: data/README.md says what each file is.

``python -m tests.recorded FOLDER --check`` compares it with a source folder: byte for byte, and the
golden vectors value for value. Without ``--check`` it is written anew from there.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent / "data"

# Folders of vectors: each becomes one list of cases, with the names of their files.
GOLDEN = ("blis-2025-07", "vllm-v1", "vllm-v1-async", "vllm-v1-0.9.1")
EMPTY_BATCH = "vllm-v1-empty-batch"

# Folders that are kept file by file; no test needs what is left out.
FOLDERS = ("exp1_30rr", "vllm_cpu")
LEFT_OUT = ("B_prefix_r4.prompt_token_ids.json",)


def golden(kind: str) -> list[dict[str, Any]]:
    """Return the recorded cases of a kind, by name."""
    cases: list[dict[str, Any]] = json.loads(_unpacked(DATA / "golden" / f"{kind}.json.gz"))
    return cases


def unpack(folder: Path) -> None:
    """Write the folders that are kept file by file as they were recorded."""
    for name in FOLDERS:
        (folder / name).mkdir()
        for path in sorted((DATA / name).glob("*.gz")):
            (folder / name / path.stem).write_bytes(_unpacked(path))


def _unpacked(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


def _packed(text: bytes) -> bytes:
    """Compress without a time, so that the same text gives the same bytes."""
    return gzip.compress(text, 9, mtime=0)


def _made_of(source: Path) -> Iterator[tuple[Path, bytes]]:
    """Return each file of ours that comes from a source folder, and its text."""
    for kind in GOLDEN:
        paths = sorted((source / "golden" / kind).glob("*.json"))
        cases = [{"name": path.stem} | json.loads(path.read_text("utf-8")) for path in paths]
        yield DATA / "golden" / f"{kind}.json.gz", _json(cases)
    path = source / "golden" / f"{EMPTY_BATCH}.json"
    cases = [{"name": f"seed{case['seed']}"} | case for case in json.loads(path.read_text("utf-8"))]
    yield DATA / "golden" / f"{EMPTY_BATCH}.json.gz", _json(cases)
    for name in FOLDERS:
        for path in sorted((source / name).glob("*.json")):
            if path.name not in LEFT_OUT:
                yield DATA / name / f"{path.name}.gz", path.read_bytes()


def _json(cases: list[dict[str, Any]]) -> bytes:
    return json.dumps(cases, separators=(",", ":")).encode()


def differences(source: Path) -> list[str]:
    """Name the files of ours that are not what a source folder gives."""
    wanted = dict(_made_of(source))
    found = {path for name in ("golden", *FOLDERS) for path in (DATA / name).glob("*.gz")}
    changed = {path for path in found & set(wanted) if _unpacked(path) != wanted[path]}
    odd = changed | found ^ set(wanted)
    return sorted(path.relative_to(DATA).as_posix() for path in odd)


def main(arguments: list[str] | None = None) -> int:
    """Write the data from a source folder, or compare it with one."""
    parser = argparse.ArgumentParser(prog="python -m tests.recorded", description=__doc__)
    parser.add_argument("source", type=Path, help="folder of golden/, exp1_30rr/ and vllm_cpu/")
    parser.add_argument("--check", action="store_true", help="only compare, and name what differs")
    args = parser.parse_args(arguments)
    if not args.check:
        for path, text in _made_of(args.source):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(_packed(text))
    odd = differences(args.source)
    for name in odd:
        print(f"differs: {name}")
    return 1 if odd else 0


if __name__ == "__main__":
    raise SystemExit(main())
