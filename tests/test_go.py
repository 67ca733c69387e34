"""The Go code's own checks and tests, run by the toolchain that compiles the library."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import build


@pytest.mark.parametrize(
    "command", [["vet"], ["test", "-count=1", "-timeout=5m"]], ids=["vet", "test"]
)
def test_go(command: list[str]) -> None:
    go = build.find_go()
    done = subprocess.run(
        [go, *command, "./..."],
        cwd=build.SHIM,
        env=build.go_environment() | {"CC": build.find_cc()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    if command[0] == "test":
        assert "ok  \tpysimbind/sim\t" in done.stdout


def test_the_table_of_edges_names_what_there_is(root: Path) -> None:
    """Its files, functions and tests, as the sources have them."""
    text = (root / "docs" / "engines.md").read_text("utf-8").split("### The edges")[1]
    rows = [row.split("|") for row in text.splitlines() if row.startswith("| ")][1:]
    named = {name for row in rows for cell in row[3:5] for name in re.findall(r"`(.+?)`", cell)}
    files = {path.name: path.read_text("utf-8") for path in (build.SHIM / "sim").glob("*.go")}
    functions = set(
        re.findall(r"^func (?:\(.+?\) )?(\w+)", "\n".join(files.values()), re.MULTILINE)
    )
    assert named <= functions | set(files), named - functions - set(files)
    tests = {name for name in functions if re.match("TestEdges|TestV1PrefixSurvives", name)}
    assert tests <= named, tests - named
