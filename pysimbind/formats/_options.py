"""Options for reading a measurement file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..config import ServerConfig, split_pool
from ..errors import ExperimentError, nearest
from ..vllm.settings import SETTINGS, Known, from_log, from_vllm_args, resolve
from ..workload import Workload
from ._asked import Asked
from ._fields import located
from ._source import Source

FOR_ALL: tuple[str, ...] = ("config", "settings", "server_log", "server_args")
"""The options that every format takes: they describe the server."""

_ASSUMED = (
    "vLLM's defaults are assumed, and where it has none for all servers: a KV pool and a context "
    "without limit, no asynchronous scheduling"
)


@dataclass(frozen=True)
class ReadOptions:
    """Options of reading, the same in Python and on the command line.

    ``settings`` override ``server_args``, these override ``server_log``, and that overrides the
    measurement file.
    """

    config: ServerConfig | None = None
    """All server settings; excludes the other options of the server."""
    settings: Mapping[str, Any] | None = None
    """Server settings {name: value}."""
    server_log: str | os.PathLike[str] | None = None
    """The log file of the server."""
    server_args: str | None = None
    """A ``vllm serve`` command line."""
    arrivals: str | None = None
    """``seed=S,rate=R[,burstiness=B][,generator=sequential|rescaled]``, for files without start
    times."""
    workload: str | os.PathLike[str] | Workload | Asked | None = None
    """A file, a bundled experiment or a ``Workload``, for files without token counts."""
    columns: str | Mapping[str, str] | None = None
    """``arrival=NAME,ttft=NAME:ms,...`` or a mapping, for tables."""
    run: int | None = None
    """Which run of a file with several runs, from 1."""
    drop_warmup: bool = False
    """Whether to leave out warm-up requests. Otherwise they stay, unmeasured."""

    @classmethod
    def of(cls, **options: Any) -> ReadOptions:
        """Make options from keywords. Raises ``ExperimentError`` for an unknown option."""
        names = [field.name for field in fields(cls)]
        for name in options:
            if name not in names:
                raise ExperimentError(
                    f"unknown option {name!r}{nearest(name, names)} (options: {', '.join(names)})"
                )
        return cls(**options)

    def given(self) -> list[str]:
        """Return the names of the options that were given."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return [name for name, value in values.items() if value is not None and value is not False]

    def refuse(self, where: str, names: Iterable[str], why: str) -> None:
        """Raise ``ExperimentError`` if one of the options ``names`` was given."""
        for name in self.given():
            if name in names:
                raise ExperimentError(f"{where}: {name} was given, but {why}")

    def asked(self, where: str) -> Asked:
        """Return the option ``workload``, read by ``read_experiment``. Raises if it is missing."""
        if not isinstance(self.workload, Asked):
            raise ExperimentError(
                f"{where}: does not tell the token counts of its requests: give workload=FILE"
            )
        return self.workload

    def server(self, where: str, told: Iterable[Known]) -> tuple[ServerConfig, dict[str, Any]]:
        """Merge the server settings in the measurement file (``told``) with those of the options.

        Returns the settings, and two values for the provenance: ``server`` (see ``resolve``), and
        ``config``, a sentence on the assumptions, if any.
        """
        if self.config is not None:
            self.refuse(where, FOR_ALL[1:], "config replaces all of the server's settings")
            sources = dict.fromkeys(SETTINGS, "given")
            return self.config, {"server": {"sources": sources, "assumed": {}}}
        with located(where):
            config, report = resolve([*told, *self._known()])
        notes = {} if not report["assumed"] else {"config": _assumed(report)}
        return config, {"server": report, **notes}

    def _known(self) -> list[Known]:
        known = []
        if self.server_log is not None:
            log = Source.open(self.server_log)
            known.append(from_log(log.text, log.where))
        if self.server_args is not None:
            known.append(from_vllm_args(self.server_args, "server_args"))
        if self.settings is not None:
            known.append(Known("settings", *split_pool(self.settings)))
        return known


def pick_run(options: ReadOptions, where: str, described: list[str]) -> int:
    """Return the index of the run to read. ``described`` has a few words on each run.

    Raises ``ExperimentError`` with the list of runs if there are several and none is chosen.
    """
    count, run = len(described), options.run
    if run is None and count == 1:
        return 0
    if isinstance(run, int) and not isinstance(run, bool) and 1 <= run <= count:
        return run - 1
    told = "; ".join(f"{i + 1}: {text}" for i, text in enumerate(described))
    wanted = f"run {run} was asked for" if run is not None else "say which, as in run=1"
    raise ExperimentError(f"{where}: holds {count} run{'s' * (count != 1)} ({told}): {wanted}")


def _assumed(report: Mapping[str, Any]) -> str:
    if not report["sources"]:
        return f"server settings are not in the file: {_ASSUMED}"
    values = ", ".join(f"{name}={value}" for name, value in report["assumed"].items())
    return f"server settings that nothing tells, and what is assumed: {values}"
