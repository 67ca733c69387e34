"""The original way, rebuilt: one Go process per evaluation, and a parser for its text."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import build
from pysimbind import Experiment, load_experiment

from .case import EXPERIMENT, FloatArray, write_case

RELAY = Path(__file__).with_name("relay.py")
_PACKAGE = "./cmd/oneshot"
_BENCHMARKS = ("Leap", "Reference", "Jacobian", "Batch")


class OldWay:
    """The oneshot command, compiled, and a case file for each candidate [N, 19].

    The files are written in advance, as the original's workload file was. Without an experiment,
    the bundled one is simulated.
    """

    def __init__(
        self, folder: Path, vectors: FloatArray, experiment: Experiment | None = None
    ) -> None:
        self.oneshot = folder / "oneshot"
        flags = ["-trimpath", "-buildvcs=false", "-ldflags=-s -w"]
        _go(["build", *flags, "-o", str(self.oneshot), _PACKAGE])
        self.cases = [folder / f"case{i}.json" for i in range(len(vectors))]
        experiment = experiment or load_experiment(EXPERIMENT)
        for path, vector in zip(self.cases, vectors, strict=True):
            write_case(path, vector, experiment)

    def evaluate(self, case: Path) -> FloatArray:
        """Simulate a case file by Python -> Go; return TTFT and E2E [2, R] in us, NaN: never."""
        return parse(_output([str(self.oneshot), str(case)]))

    def evaluate_by_relay(self, case: Path) -> FloatArray:
        """Simulate a case file by Python -> Python -> Go, as the original did; see ``evaluate``."""
        return parse(_output([sys.executable, str(RELAY), str(self.oneshot), str(case)]))


def parse(text: str) -> FloatArray:
    """Read the latencies [2, R] in us from the output of the oneshot command."""
    found = {}
    for line in text.splitlines():
        name, _, values = line.partition(": ")
        found[name] = [float(value) for value in values.strip("[] ").split()]
    return np.array([found["TTFTs"], found["E2Es"]])


@dataclass(frozen=True)
class GoSpeed:
    """Go's measurements of one evaluation."""

    ns: float
    allocations: int


def engines_in_go(
    case: Path, vectors: FloatArray, *, repeats: int = 3, benchtime: str = "1s"
) -> dict[str, list[GoSpeed]]:
    """Time both engines, and the leap engine with derivatives, in Go without Python.

    Go's own benchmark measures this, after it has checked that the engines agree on every candidate
    [N, 19]. ``case``: a file with the workload. Returns the repeats by name. Each is for one
    candidate; names with Batch are for all candidates by one worker.
    """
    candidates = case.with_name("candidates.json")
    candidates.write_text(json.dumps(vectors.tolist()), encoding="utf-8")
    files = {"ONESHOT_BENCH_CASE": str(case), "ONESHOT_BENCH_CANDIDATES": str(candidates)}
    flags = ["-run=^$", "-bench=.", f"-benchtime={benchtime}", f"-count={repeats}"]
    found: dict[str, list[GoSpeed]] = {name: [] for name in _BENCHMARKS}
    for line in _go(["test", *flags, _PACKAGE], files).splitlines():
        if line.startswith("Benchmark"):
            # for example: BenchmarkLeap-2   262144   4580 ns/op   0 B/op   0 allocs/op
            name, _, *values = line.split()
            by_unit = dict(zip(values[1::2], values[::2], strict=True))
            speed = GoSpeed(float(by_unit["ns/op"]), int(by_unit["allocs/op"]))
            found[name.removeprefix("Benchmark").partition("-")[0]].append(speed)
    return found


def _go(arguments: list[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [build.find_go(), *arguments],
        cwd=build.SHIM,
        env=build.go_environment() | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"go {' '.join(arguments)} failed:\n{done.stdout}")
    return done.stdout


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
