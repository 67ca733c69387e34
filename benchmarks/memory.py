"""The memory that a run needs besides its inputs, in a separate process (Linux).

    python -m benchmarks.memory REQUESTS

prints the peak resident size minus the size before the simulator was opened, in bytes.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

from pysimbind import Simulator

from .workloads import SERVER, plain

_ROOT = Path(__file__).resolve().parent.parent
_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")  # writing 5 resets the peak to the current size

available = _STATUS.exists() and _CLEAR_REFS.exists()


def bytes_beside_inputs(requests: int) -> int:
    """Measure one run of the plain workload in a new process."""
    command = [sys.executable, "-m", "benchmarks.memory", str(requests)]
    return int(subprocess.run(command, cwd=_ROOT, capture_output=True, check=True).stdout)


def _field(name: str) -> int:
    """Return a size that Linux counts for this process, in bytes."""
    for line in _STATUS.read_text("ascii").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return 1024 * int(value.split()[0])
    raise RuntimeError(f"{_STATUS} has no {name}")


def main() -> None:
    """Open and run a simulator, and compare the peak with the size before."""
    with Simulator(*plain(100)) as small:
        small.run(SERVER)  # load the library first: its size does not count
    workload, config = plain(int(sys.argv[1]))
    gc.collect()
    _CLEAR_REFS.write_text("5", "ascii")
    before = _field("VmRSS")
    with Simulator(workload, config) as simulator:
        result = simulator.run(SERVER)
        print(_field("VmHWM") - before)
    if result.engine != "leap":
        raise RuntimeError(f"the {result.engine} engine did the run")


if __name__ == "__main__":
    main()
