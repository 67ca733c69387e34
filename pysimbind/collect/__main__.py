"""``python -m pysimbind.collect``: the command ``collect``. Nothing below ``cli`` imports it."""

from __future__ import annotations

import runpy
import sys

if __name__ == "__main__":
    sys.argv[1:1] = ["collect"]
    runpy.run_module("pysimbind", run_name="__main__", alter_sys=True)
