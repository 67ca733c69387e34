"""The output folder: finished runs, each put there in one step, and what each was made with."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .._io.files import read_json, write_json
from ..errors import ConfigError, OutputError
from .plan import Run

EXPERIMENT, COMMANDS, RAW = "experiment.json.gz", "commands.json", "raw.json"
SERVER_LOG, BENCH_LOG = "server.log", "bench.log"
METRICS_BEFORE, METRICS_AFTER = "metrics_before.txt", "metrics_after.txt"

_SCHEMA, _VERSION = "pysimbind-collect", 1
_TEMPORARY = ".unfinished-"
_FAILED = ".failed"


class Store:
    """The folder ``root`` with a folder ``block/name`` for each finished run, and no other.

    ``.failed/block/name`` keeps the logs of a run whose last attempt failed.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, keep others from writing there, and clear what a killed one left.

        Raises ``OutputError`` if it cannot be written to, or another collect is at work there.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.root, os.O_RDONLY)
        except OSError as exc:
            raise OutputError(f"{self.root}: {exc.strerror or exc}: name a folder") from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in self.root.glob(f"{_TEMPORARY}*"):
                shutil.rmtree(left)
            with self.temporary():  # it must be possible to write here
                pass
            yield
        except BlockingIOError as exc:
            raise OutputError(f"{self.root}: another collect is writing there") from exc
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """Give a folder that is gone when the context ends, unless ``finish`` has moved it."""
        try:
            folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self.root))
        except OSError as exc:
            raise OutputError(f"{self.root}: cannot be written: {exc.strerror or exc}") from exc
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def folder(self, run: Run) -> Path:
        """Return where a finished run lies."""
        return self.root / run.path

    def pending(self, runs: Sequence[Run], redo: Sequence[Run]) -> tuple[Run, ...]:
        """Return the runs that are to be measured: those not finished, and those of ``redo``.

        Raises ``ConfigError`` naming a finished run that was measured with other settings.
        """
        for run in runs:
            if run not in redo and self.folder(run).exists():
                self._check_same(run)
        return tuple(run for run in runs if run in redo or not self.folder(run).exists())

    def _check_same(self, run: Run) -> None:
        path = self.folder(run) / COMMANDS
        mend = f"--redo {run.path} measures it again"
        if not path.is_file() or not (self.folder(run) / EXPERIMENT).is_file():
            raise ConfigError(f"{self.folder(run)}: exists, but holds no finished run; {mend}")
        record = read_json(path, ConfigError)
        known = isinstance(record, dict) and record.get("schema") == _SCHEMA
        if not known or record.get("version") != _VERSION:
            raise ConfigError(f"{path}: not a record that this release reads; {mend}")
        changed = _difference(record.get("settings"), dict(run.settings))
        if changed:
            raise ConfigError(f"{run.path}: measured with {changed}; {mend}")

    def write_record(self, folder: Path, run: Run, **more: Any) -> None:
        """Write what the run was made with: its settings, and all of ``more``."""
        head = {"schema": _SCHEMA, "version": _VERSION, "run": run.path}
        write_json(folder / COMMANDS, head | {"settings": dict(run.settings)} | more)

    def finish(self, run: Run, folder: Path) -> None:
        """Put the complete ``folder`` in its place, in place of an earlier result."""
        target = self.folder(run)
        try:
            target.parent.mkdir(exist_ok=True)
            folder.chmod(0o777 & ~_umask())  # mkdtemp's is private
            with self.temporary() as bin_:
                if target.exists():
                    target.rename(bin_ / "old")
                folder.rename(target)
        except OSError as exc:
            raise OutputError(f"{target}: cannot be written: {exc.strerror or exc}") from exc
        self._forget_failure(run)

    def keep_logs(self, run: Run, folder: Path) -> Path | None:
        """Keep the logs of a failed run for whoever looks into it; returns where, if any."""
        self._forget_failure(run)
        logs = [folder / name for name in (SERVER_LOG, BENCH_LOG) if (folder / name).exists()]
        if not logs:
            return None
        target = self.root / _FAILED / run.path
        with contextlib.suppress(OSError):  # it failed already; that is what is to be told
            target.mkdir(parents=True)
            for log in logs:
                shutil.copyfile(log, target / log.name)
        return target

    def _forget_failure(self, run: Run) -> None:
        shutil.rmtree(self.root / _FAILED / run.path, ignore_errors=True)
        for empty in (self.root / _FAILED / run.block, self.root / _FAILED):
            with contextlib.suppress(OSError):  # others' logs are there, or nothing
                empty.rmdir()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _difference(old: Any, new: dict[str, Any]) -> str:
    """Name the settings that differ, with both values; ``""`` if none does."""
    if not isinstance(old, dict):
        return "unknown settings"
    changed = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
    said = [
        f"{key} {old.get(key, 'unset')!s:.60}, the file says {new.get(key, 'unset')!s:.60}"
        for key in changed[:3]
    ]
    more = [f"and {len(changed) - 3} more settings"] if len(changed) > 3 else []
    return "; ".join([*said, *more])
