"""The measurement formats that ``load_experiment`` reads, one module each.

A format is a line in ``FORMATS``: the first whose ``detect`` says yes reads the file, so a format
stands before those that would take its files for theirs. To add one, write a module with
``detect(source)`` and ``read(source, options)`` and name it in ``_registry.py``.
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
