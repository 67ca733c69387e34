"""The measurement formats that ``load_experiment`` reads, one module each.

A format is a line in ``FORMATS``: the first whose ``detect`` says yes reads the file. To add one,
write a module with ``detect(obj)`` and ``read(obj, where, config)`` and name it here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..config import ServerConfig
from ..experiment import Experiment
from . import canonical, vllm_bench


@dataclass(frozen=True)
class Format:
    """One measurement format.

    ``detect(obj)`` tells whether parsed JSON is of this format; ``read(obj, where, config)``
    makes the experiment of it, ``where`` naming the file in errors (``ExperimentError``), and
    ``config`` replacing the server settings in the file, if any.
    """

    name: str
    detect: Callable[[object], bool]
    read: Callable[[object, str, ServerConfig | None], Experiment]


FORMATS: tuple[Format, ...] = (
    Format("pysimbind experiment", canonical.detect, canonical.read),
    Format("vllm bench serve --save-detailed", vllm_bench.detect, vllm_bench.read),
)

__all__ = ["FORMATS", "Format"]
