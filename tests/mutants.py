"""Plant faults in the Go simulator, one at a time, and see which of them its tests catch.

``python -m tests.mutants`` runs the quick Go tests on each fault of ``mutant_list.py``, in copies
of the sources, and prints a table. It fails if a fault survives.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import build

from .mutant_list import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parent.parent
SOURCES = Path("go_shim/sim")
PAGE = ROOT / "docs" / "development.md"
HEAD = ["| fault | in | caught by |", "|---|---|---|"]

# A fault may make the simulator run for ever: the whole run takes ten seconds without one.
TIMEOUT_S = 120

# Counts what the process allocates, which the load of the machine can change.
NOISY = "TestBatchLeavesNoGarbage"


class MutantError(Exception):
    """A fault cannot be planted, or its sources do not compile."""


class Verdict(NamedTuple):
    """Where a fault was planted, and which test caught it, if any."""

    mutant: Mutant
    file: str
    line: int
    caught_by: str  # empty: it survived


def locate(mutant: Mutant, root: Path = ROOT) -> tuple[Path, int]:
    """Return the file and line of a fault's text, which must stand there exactly once."""
    found = []
    for path in sorted((root / SOURCES).glob("*.go")):
        if path.name.endswith("_test.go") or mutant.file not in ("", path.name):
            continue
        text = path.read_text("utf-8")
        found += [(path, m.start(), text) for m in re.finditer(re.escape(mutant.old), text)]
    if len(found) != 1:
        raise MutantError(f"{mutant.name}: its text occurs {len(found)} times: {mutant.old!r}")
    path, at, text = found[0]
    return path, text.count("\n", 0, at) + 1


def copy_sources(folder: Path) -> None:
    """Copy what the Go tests need: the sources, and the recorded vectors."""
    shutil.copytree(ROOT / "go_shim", folder / "go_shim")
    shutil.copytree(ROOT / "tests" / "data" / "golden", folder / "tests" / "data" / "golden")


def run_tests(folder: Path) -> tuple[int, str]:
    """Run the quick Go tests of a copy, up to the first that fails."""
    command = [build.find_go(), "test", "-failfast", f"-timeout={TIMEOUT_S}s", f"-skip={NOISY}"]
    done = subprocess.run(
        [*command, "./sim"],
        cwd=folder / "go_shim",
        env=build.go_environment() | {"CC": build.find_cc(), "GOMEMLIMIT": "2GiB"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def failing_test(output: str) -> str:
    """Name the test that a run of the Go tests stopped at."""
    if "[build failed]" in output:
        raise MutantError(f"does not compile:\n{output}")
    for pattern in (r"running tests:\s+(\w+)", r"--- FAIL: (\w+)"):
        if found := re.search(pattern, output):
            return found[1]
    if found := re.search(r"sim\.(Test\w+)\(", output):  # in the stack of a panic
        return found[1]
    raise MutantError(f"failed without a test:\n{output}")


def try_out(mutant: Mutant, folder: Path) -> Verdict:
    """Plant a fault in a copy, run the tests there, and take it out again."""
    path, line = locate(mutant, folder)
    text = path.read_text("utf-8")
    path.write_text(text.replace(mutant.old, mutant.new), "utf-8")
    try:
        code, output = run_tests(folder)
    finally:
        path.write_text(text, "utf-8")
    try:
        return Verdict(mutant, path.name, line, failing_test(output) if code else "")
    except MutantError as error:
        raise MutantError(f"{mutant.name}: {error}") from None


def try_all(mutants: Iterable[Mutant], jobs: int) -> list[Verdict]:
    """Try out faults, some at a time, each in a copy of its own."""
    with tempfile.TemporaryDirectory() as name:
        idle: SimpleQueue[Path] = SimpleQueue()
        for job in range(jobs):
            folder = Path(name) / str(job)
            copy_sources(folder)
            idle.put(folder)
        if run_tests(folder)[0]:
            raise MutantError("the tests fail without a fault: run go test ./sim")

        def one(mutant: Mutant) -> Verdict:
            folder = idle.get()
            try:
                verdict = try_out(mutant, folder)
            finally:
                idle.put(folder)
            print(f"{verdict.caught_by or 'SURVIVED'}: {mutant.name}", file=sys.stderr, flush=True)
            return verdict

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(one, mutants))


def table(verdicts: Iterable[Verdict], lines: bool) -> list[str]:
    """Return the rows of a Markdown table, with or without line numbers, which change often."""
    return HEAD + [
        f"| {v.mutant.name} | `{v.file}{f':{v.line}' if lines else ''}` "
        f"| {f'`{v.caught_by}`' if v.caught_by else '**survived**'} |"
        for v in verdicts
    ]


def update_page(rows: list[str]) -> None:
    """Replace the table of the page."""
    text = PAGE.read_text("utf-8")
    start = text.index(HEAD[0])
    end = text.index("\n\n", start)
    PAGE.write_text(text[:start] + "\n".join(rows) + text[end:], "utf-8")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("name", nargs="?", default="", help="only faults whose names contain this")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--update-page", action="store_true", help="put all into development.md")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Try out all faults, or those whose names contain a text."""
    args = parse(arguments)
    chosen = [mutant for mutant in MUTANTS if args.name in mutant.name]
    verdicts = try_all(chosen, args.jobs)
    print("\n".join(table(verdicts, lines=True)))
    survivors = [v for v in verdicts if not v.caught_by]
    print(f"{len(survivors)} of {len(verdicts)} survived")
    if args.update_page and len(chosen) == len(MUTANTS):
        update_page(table(verdicts, lines=False))
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
