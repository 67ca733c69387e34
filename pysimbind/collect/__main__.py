"""``python -m pysimbind.collect``."""

from __future__ import annotations

import sys

from .._cli import leave
from .cli import main

if __name__ == "__main__":
    sys.exit(leave(main()))
