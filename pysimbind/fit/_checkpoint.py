"""A file from which an interrupted fit goes on to the same bits as one that was not.

All methods are deterministic functions of the losses that they have seen. So the file keeps these
losses, and a resumed fit runs its method from the beginning, on recorded losses until there are no
more. A checksum of each batch of candidates tells whether the method proposes what it did before.
"""

from __future__ import annotations

import os
import time
import zlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .._io.files import check_writable, read_json, write_json
from ..errors import FitError
from ..objective import Objective

FloatArray = npt.NDArray[np.float64]

SCHEMA = "pysimbind-checkpoint"
VERSION = 1

# Saving takes at most about a twentieth of the time.
_LEAST_S = 5.0
_PAUSE = 20.0


class Checkpoint:
    """The losses of a search, replayed from a file first and kept in one from then on.

    ``settings``: whatever the losses depend on. ``path``: where to save, if anywhere. ``resume``:
    the file to go on from. Raises ``FitError`` where that is no checkpoint, or of another fit.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        path: str | os.PathLike[str] | None,
        resume: str | os.PathLike[str] | None,
    ) -> None:
        self.time_s = 0.0
        self._settings = dict(settings)
        self._path = path
        self._losses: list[float] = []
        self._batches: list[tuple[int, int]] = []  # size, checksum
        self._infeasible: Counter[str] = Counter()
        self._batch = self._at = 0  # replayed so far
        self._where = "" if resume is None else os.fspath(resume)
        if path is not None:
            check_writable(path)
        if resume is not None:
            self._read(read_json(resume, FitError))
        self._saved_s, self._pause_s = time.monotonic(), _LEAST_S

    @property
    def replaying(self) -> bool:
        """Whether recorded losses are left."""
        return self._at < len(self._losses)

    def losses(self, candidates: FloatArray, objective: Objective) -> FloatArray:
        """Return the losses [N] of ``candidates`` [N, names], recorded or new.

        Raises ``FitError`` where those recorded are of other candidates.
        """
        if not self.replaying:
            return self._simulate(candidates, objective)
        size, checksum = self._batches[self._batch]
        if size > len(candidates) or _checksum(candidates[:size]) != checksum:
            raise FitError(
                f"{self._where}: batch {self._batch + 1} holds other candidates than this fit "
                "proposes: it was saved by another version or on another kind of machine"
            )
        loss = np.array(self._losses[self._at : self._at + size])
        self._at += size
        self._batch += 1
        if self.replaying:
            return loss
        objective.infeasible = Counter(self._infeasible)
        if size == len(candidates):
            return loss
        # the fit before was cut short by its number of evaluations, within this batch
        rest = self._simulate(candidates[size:], objective)
        return np.concatenate([loss, rest])

    def save_now_and_then(self, time_s: float) -> None:
        """Save, if the last time is long enough ago."""
        if self._path is not None and time.monotonic() - self._saved_s >= self._pause_s:
            self.save(time_s)

    def save(self, time_s: float) -> None:
        """Write the file, if one is wanted, in one piece."""
        if self._path is None:
            return
        begun_s = time.monotonic()
        write_json(self._path, self._as_dict(time_s))
        self._saved_s = time.monotonic()
        self._pause_s = max(_LEAST_S, _PAUSE * (self._saved_s - begun_s))

    def _simulate(self, candidates: FloatArray, objective: Objective) -> FloatArray:
        loss = objective.batch(candidates)
        if self._path is not None:
            self._batches.append((len(candidates), _checksum(candidates)))
            self._losses.extend(loss.tolist())
            self._at, self._batch = len(self._losses), len(self._batches)
            self._infeasible = Counter(objective.infeasible)
        return loss

    def _as_dict(self, time_s: float) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "settings": self._settings,
            "infeasible": dict(self._infeasible),
            "time_s": time_s,
            "batches": [list(batch) for batch in self._batches],
            "losses": [loss if np.isfinite(loss) else None for loss in self._losses],
        }

    def _read(self, obj: Any) -> None:
        if not isinstance(obj, dict) or obj.get("schema") != SCHEMA:
            raise FitError(f"{self._where}: not a checkpoint of a fit (no {SCHEMA!r} schema)")
        if obj.get("version") != VERSION:
            raise FitError(
                f"{self._where}: version {obj.get('version')!r} of a checkpoint; this pysimbind "
                f"reads version {VERSION}"
            )
        try:
            settings = dict(obj["settings"])
            self._infeasible = Counter(obj["infeasible"])
            self.time_s = float(obj["time_s"])
            self._batches = [(int(size), int(checksum)) for size, checksum in obj["batches"]]
            self._losses = [np.inf if loss is None else float(loss) for loss in obj["losses"]]
        except (KeyError, TypeError, ValueError) as exc:
            raise FitError(f"{self._where}: not what a checkpoint holds: {exc}") from exc
        if sum(size for size, _ in self._batches) != len(self._losses):
            raise FitError(f"{self._where}: its batches and losses do not agree in number")
        for key, value in self._settings.items():
            if settings.get(key) != value:
                raise FitError(
                    f"{self._where}: saved by a fit {_difference(key, settings.get(key), value)}: "
                    "resume with the same arguments"
                )


def _difference(key: str, saved: object, value: object) -> str:
    """Say how a setting differs, without spelling out arrays, boxes and hashes."""
    if isinstance(value, (dict, list)):
        return f"with other {key}"
    return f"with {key} = {saved!r:.80}, this one has {value!r}"


def _checksum(candidates: FloatArray) -> int:
    return zlib.crc32(np.ascontiguousarray(candidates).tobytes())
