"""The measurement formats that ``load_experiment`` reads, one module per format.

A format is an entry in ``FORMATS``. The first format whose ``detect`` returns true reads the file.
So a format stands before any format that would also accept its files. To add one, write a module
with ``detect(source)`` and ``read(source, options)``, and add it to ``_registry.py``.
"""

from __future__ import annotations

from ._load import experiment_names, load_experiment, read_experiment
from ._options import ReadOptions
from ._registry import FORMATS, Format, format_of, reconfigure
from ._source import Source
from ._start_times import GRAMMAR as ARRIVALS

__all__ = [
    "ARRIVALS",
    "FORMATS",
    "Format",
    "ReadOptions",
    "Source",
    "experiment_names",
    "format_of",
    "load_experiment",
    "read_experiment",
    "reconfigure",
]
