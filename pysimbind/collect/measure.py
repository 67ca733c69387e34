"""One run: a server, a benchmark on it, and an experiment of what came of it."""

from __future__ import annotations

import dataclasses
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CollectError, InputError
from ..experiment import Experiment
from ..formats import ReadOptions, load_experiment
from ..vllm import flags
from ..vllm.settings import Known
from .observed import growth, observe, read_version
from .plan import Run
from .process import Process
from .server import Server, get, running, started
from .store import BENCH_LOG, EXPERIMENT, METRICS_AFTER, METRICS_BEFORE, RAW, SERVER_LOG, Store

_POLL_S = 0.2
_SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD")


@dataclass(frozen=True)
class Tools:
    """How to measure: the words that call vLLM, a running server or None, and limits in seconds.

    ``check`` is called several times a second; what it raises ends the run, and the server that
    was started for it.
    """

    vllm: tuple[str, ...] = ("vllm",)
    base_url: str | None = None
    startup_timeout_s: float = 1800.0
    run_timeout_s: float | None = None
    check: Callable[[], None] = lambda: None

    def commands(self, run: Run, folder: str) -> dict[str, list[str]]:
        """Return the commands of a run by what they do, its result going to ``folder``."""
        serve = {} if self.base_url else {"serve": run.serve_command(self.vllm)}
        url = self.base_url or run.base_url
        return serve | {"bench": run.bench_command(self.vllm, url, folder)}


def measure(run: Run, store: Store, tools: Tools) -> Experiment:
    """Measure a run and put its folder into the store; returns the experiment.

    Raises ``CollectError`` if the server, the benchmark or its result fails; the message says
    where their logs are kept. Nothing else is left then, nor after what ``tools.check`` raises.
    """
    with store.temporary() as folder:
        try:
            experiment = _measured(run, store, tools, folder)
        except (CollectError, InputError) as exc:
            logs = store.keep_logs(run, folder)
            raise CollectError(f"{exc}{f'; logs: {logs}' if logs else ''}") from exc
        store.finish(run, folder)
    return experiment


def _measured(run: Run, store: Store, tools: Tools, folder: Path) -> Experiment:
    began = time.time()
    with _serving(run, tools, folder) as server:
        version = read_version(get(f"{server.url}/version"))
        ready_s = time.time() - began
        before = _save_metrics(server, folder / METRICS_BEFORE)
        _bench(run, tools, server, folder)
        after = _save_metrics(server, folder / METRICS_AFTER)
        log = _read_log(folder / SERVER_LOG)
    known, problem = observe(Known("flags", flags.parse(run.serve)), log, after, version)
    experiment = _load(folder / RAW)
    config, notes = ReadOptions().server(run.path, known)
    told = {
        **{key: value for key, value in experiment.provenance.items() if key != "config"},
        **notes,
        "commands": tools.commands(run, str(store.folder(run))),
        "counters": growth(before, after),
        "server_use": "started for this run alone" if server.process else _SHARED,
        **({"server_log": problem} if problem else {}),
    }
    experiment = dataclasses.replace(experiment, name=run.path, config=config, provenance=told)
    experiment.save(folder / EXPERIMENT)
    store.write_record(
        folder,
        run,
        commands=told["commands"],
        vllm_version=version,
        server_ready_s=round(ready_s, 3),
        wall_s=round(time.time() - began, 3),
        host={"system": platform.platform(), "cpus": os.cpu_count()},
        environment=_environment(),
    )
    return experiment


_SHARED = "ran before: what its prefix cache held, and what else it served, is not known"


@contextmanager
def _serving(run: Run, tools: Tools, folder: Path) -> Iterator[Server]:
    if tools.base_url is not None:
        yield running(tools.base_url)
        return
    command = run.serve_command(tools.vllm)
    log = folder / SERVER_LOG
    with started(command, run.base_url, log, tools.startup_timeout_s, tools.check) as server:
        yield server


def _save_metrics(server: Server, path: Path) -> str | None:
    text = get(f"{server.url}/metrics")
    if text is not None:
        path.write_text(text, "utf-8")
    return text


def _bench(run: Run, tools: Tools, server: Server, folder: Path) -> None:
    """Run the benchmark to its end; raises ``CollectError`` if it fails or the server ends."""
    command = run.bench_command(tools.vllm, server.url, str(folder))
    began = time.monotonic()
    with Process(command, folder / BENCH_LOG, _bench_environment()) as bench:
        while bench.wait(_POLL_S) is None:
            tools.check()
            server.check()
            if tools.run_timeout_s is not None and time.monotonic() - began > tools.run_timeout_s:
                raise CollectError(
                    f"the benchmark ran for more than {tools.run_timeout_s:g} s (--run-timeout)"
                )
        server.check()  # where both ended, the server is the cause
        if bench.exit_code() != 0:
            raise CollectError(f"the benchmark failed: {bench.ending()}")


def _bench_environment() -> dict[str, str]:
    """Give the client the key that the server asks for, under the name that it looks for."""
    key = os.environ.get("VLLM_API_KEY")
    return dict(os.environ) | ({"OPENAI_API_KEY": key} if key else {})


def _load(path: Path) -> Experiment:
    if not path.is_file():
        raise CollectError(f"the benchmark wrote no {path.name}")
    try:
        experiment = load_experiment(path)
    except InputError as exc:
        what = str(exc).removeprefix(f"{path}: ")
        raise CollectError(f"the benchmark's {path.name} is of no use: {what}") from exc
    if not np.isfinite(experiment.e2e).any():
        raise CollectError(f"all {experiment.num_requests} requests failed")
    return experiment


def _read_log(path: Path) -> str | None:
    return path.read_text("utf-8", "replace") if path.exists() else None


def _environment() -> Mapping[str, Any]:
    """Return vLLM's environment variables, which change what it does, without any secrets."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith("VLLM_") and not any(word in name for word in _SECRET)
    }
