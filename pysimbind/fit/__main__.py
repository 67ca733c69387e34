"""``python -m pysimbind.fit``: the command ``fit``. Nothing below ``cli`` imports it."""

from __future__ import annotations

import runpy
import sys

if __name__ == "__main__":
    sys.argv[1:1] = ["fit"]
    runpy.run_module("pysimbind", run_name="__main__", alter_sys=True)
