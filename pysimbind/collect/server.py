"""The server that is measured: one that is started here, or one that runs already."""

from __future__ import annotations

import contextlib
import errno
import http.client
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import CollectError, InputError
from .process import Process

_POLL_S = 0.2
_ANSWER_S = 10.0
_MOST_BYTES = 64 * 1024 * 1024
# Straight to the server: a proxy of the environment would be measured too, or not know the host.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Server:
    """A server that answers at ``url``; ``process``: None where somebody else started it."""

    url: str
    process: Process | None

    def check(self) -> None:
        """Raise ``CollectError`` if the process that was started here has ended."""
        if self.process is not None and self.process.exit_code() is not None:
            raise CollectError(f"the server ended: {self.process.ending()}")


def get(url: str) -> str | None:
    """Return what the server answers, or None if it doesn't answer with success."""
    try:
        with _OPENER.open(url, timeout=_ANSWER_S) as answer:
            return str(answer.read(_MOST_BYTES).decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException):
        return None


def checked_base_url(url: str) -> str:
    """Return the URL of a running server without a closing slash.

    Raises ``InputError`` for one that is no ``http://`` address.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment:
        raise InputError(f"--base-url {url}: must be like http://127.0.0.1:8000")
    return url.rstrip("/")


@contextlib.contextmanager
def started(
    command: Sequence[str], url: str, log: Path, timeout_s: float, check: Callable[[], None]
) -> Iterator[Server]:
    """Start a server, wait until it is healthy, and stop it when the context ends.

    ``check`` is called while waiting; what it raises stops the server too. Raises
    ``CollectError`` if the port is taken, the server ends, or isn't healthy after ``timeout_s``.
    """
    _check_free(url)
    with Process(command, log) as process:
        server = Server(url, process)
        _wait_healthy(server, timeout_s, check)
        yield server


def running(url: str) -> Server:
    """Return the server that runs at ``url``; raises ``CollectError`` unless it is healthy."""
    if get(f"{url}/health") is None:
        raise CollectError(f"no healthy server answers at {url}/health: start it, or mend the URL")
    return Server(url, None)


def _wait_healthy(server: Server, timeout_s: float, check: Callable[[], None]) -> None:
    end = time.monotonic() + timeout_s
    while get(f"{server.url}/health") is None:
        server.check()
        check()
        if time.monotonic() > end:
            raise CollectError(
                f"the server was not healthy after {timeout_s:g} s (--startup-timeout)"
            )
        time.sleep(_POLL_S)
    server.check()  # somebody else's server may have answered


def _check_free(url: str) -> None:
    """Refuse a port where another server would be measured in place of ours."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            taken = exc.errno == errno.EADDRINUSE
            why = "is in use" if taken else f"cannot be used ({exc.strerror or exc})"
            raise CollectError(
                f"port {port} of {host} {why}: set vllm.port, or measure the server that runs "
                f"there with --base-url {url}"
            ) from exc
