"""``python -m pysimbind``."""

from __future__ import annotations

import sys

from .cli import main
from .cli.common import leave

if __name__ == "__main__":
    sys.exit(leave(main()))
