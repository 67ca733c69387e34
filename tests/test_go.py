"""The Go code's own checks and tests, run by the toolchain that compiles the library."""

from __future__ import annotations

import subprocess

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
