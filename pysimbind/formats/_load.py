"""``load_experiment``: make an experiment from a name or a file.

The option ``workload`` may name another measurement, so reading one file may read a second one.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import ServerConfig
from ..errors import ExperimentError, nearest
from ..experiment import Experiment
from ..workload import Workload
from ..workloads.tokenised import from_tokenised
from . import canonical
from ._asked import Asked
from ._columns import COUNTS, Columns
from ._options import ReadOptions
from ._registry import FORMATS, check_options, format_of, reconfigure
from ._source import Source
from ._table import Table

if TYPE_CHECKING:
    if sys.version_info >= (3, 11):
        from importlib.resources.abc import Traversable
    else:
        from importlib.abc import Traversable

_CSV_HINT = ": column names in the first line, commas between them, and as many values below"


def experiment_names() -> tuple[str, ...]:
    """Return the names of the bundled experiments, sorted."""
    return tuple(sorted(_bundled()))


def load_experiment(
    name_or_path: str | os.PathLike[str], config: ServerConfig | None = None, **options: Any
) -> Experiment:
    """Return a bundled experiment by name, or read one from a measurement file.

    The content of the file shows its format (see ``pysimbind.formats``). ``config`` replaces the
    server settings of the experiment, or supplies them if the format has none. ``options`` give
    what the file lacks: ``settings``, ``server_log``, ``server_args``, ``arrivals``, ``workload``,
    ``columns``, ``run``, ``drop_warmup`` (``help(pysimbind.formats.ReadOptions)``). Raises
    ``ExperimentError`` for an unknown name, a file that cannot be read as an experiment, and an
    option without effect on it.
    """
    reading = ReadOptions.of(config=config, **options)
    bundled = _bundled()
    if isinstance(name_or_path, str) and name_or_path in bundled:
        return reconfigure(_load_bundled(name_or_path), reading, name_or_path)
    path = Path(name_or_path)
    if not path.exists() and isinstance(name_or_path, str) and _is_name(name_or_path):
        raise ExperimentError(
            f"unknown experiment {name_or_path!r}{nearest(name_or_path, bundled)} "
            f"(bundled: {', '.join(experiment_names())}; or give a file)"
        )
    return read_experiment(Source.open(path), reading)


def read_experiment(source: Source, options: ReadOptions) -> Experiment:
    """Read a file of any known format.

    Raises ``ExperimentError`` for a file of no known format and for an option without effect.
    """
    found = format_of(source)
    if found is None:
        if not source.data.strip():
            raise ExperimentError(f"{source.where}: the file is empty")
        if source.head.lstrip().startswith(("{", "[")) or not source.text.strip():
            source.document()  # to say what is wrong with it as JSON
        known = ", ".join(each.name for each in FORMATS)
        raise ExperimentError(
            f"{source.where}: not a measurement file of a known format ({known}{_hint(source)})"
        )
    check_options(found, source.where, options)
    if options.workload is not None:
        options = dataclasses.replace(options, workload=_asked(options.workload))
    return found.read(source, options)


def _is_name(text: str) -> bool:
    return Path(text).name == text and not text.endswith((".json.gz", ".json"))


def _bundled() -> dict[str, Traversable]:
    found = {}
    for file in resources.files("pysimbind").joinpath("data").iterdir():
        if file.name.endswith(".json"):
            found[file.name.removesuffix(".json")] = file
    return found


@functools.cache
def _load_bundled(name: str) -> Experiment:
    return read_experiment(Source(_bundled()[name].read_bytes(), name), ReadOptions())


def _hint(source: Source) -> str:
    """Describe a CSV file, if the source looks like one."""
    named = source.where.removesuffix(".gz").endswith((".csv", ".tsv"))
    return _CSV_HINT if named else ""


def _asked(given: str | os.PathLike[str] | Workload | Asked) -> Asked:
    """Read the option ``workload``: an object, a bundled experiment, or a file.

    A file may be one of four things: a measurement of any format; a JSON object of ``arrival_s``,
    ``input_tokens`` and so on, as in the canonical file; the original experiment's tokenised
    conversations; or a CSV or Parquet table, whose arrivals may be missing. Raises ``InputError``
    for anything else.
    """
    if isinstance(given, Asked):
        return given
    if isinstance(given, Workload):
        return Asked.of(given, "given")
    if given not in experiment_names() and os.path.exists(given):
        source = Source.open(given)
        told = _of_file(source)
        if told is not None:
            return told
    experiment = load_experiment(given)
    return dataclasses.replace(
        Asked.of(experiment.workload, str(given)),
        input_source=experiment.input_source,
        output_source=experiment.output_source,
    )


def _of_file(source: Source) -> Asked | None:
    """Read a file that holds only a workload; None if it is a measurement."""
    if _is_tokenised(source.first):
        return Asked.of(from_tokenised(source.where), source.where)
    if isinstance(source.first, dict) and "arrival_s" in source.first:
        workload = canonical.read_workload(source.document(), source.where)
        return Asked.of(workload, source.where)
    found = format_of(source)
    if found is not None and found.table is not None:
        return _of_table(found.table(source))
    return None


def _is_tokenised(document: Any) -> bool:
    """Tell whether this is the original experiment's workload: conversations of token ids."""
    if not isinstance(document, list) or not document:
        return False
    return isinstance(document[0], dict) and "conversations" in document[0]


def _of_table(table: Table) -> Asked:
    columns = Columns(table, None)
    arrival_s = columns.seconds("arrival") if "arrival" in columns else None
    counts = (table.counts(COUNTS["input"]), table.counts(COUNTS["output"]))
    return Asked(table.where, arrival_s, *counts)
