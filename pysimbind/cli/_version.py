"""What ``--version`` prints: the versions that a report of a fault needs."""

from __future__ import annotations

import platform
import sys

from .. import __version__
from .._native import library_info


def versions() -> str:
    """Return the versions of package, engine, Go and Python, and where the library lies.

    Raises ``LibraryError`` where there is no library that can be used.
    """
    library = library_info()
    return (
        f"pysimbind {__version__} (engine ABI {library.abi_version}, {library.go_version}, "
        f"Python {platform.python_version()}, {sys.platform} {platform.machine()})\n"
        f"library: {library.path}"
    )
