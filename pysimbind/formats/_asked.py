"""The requests sent to the server, for files that lack them: the option ``workload``, once read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ExperimentError
from ..workload import Workload, token_lists

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Asked:
    """The requests that were sent, R of them, in order."""

    where: str
    """Name of the source, for errors."""
    arrival_s: npt.NDArray[np.float64] | None
    """Arrivals [R] in seconds, if known."""
    input_tokens: IntArray
    """Prompt lengths [R]."""
    output_tokens: IntArray
    """Output lengths [R]."""
    more: dict[str, Any] = field(default_factory=dict)
    """Other arguments of ``Workload``."""
    input_source: tuple[str, ...] | str = "exact"
    """Origin of the prompt lengths, as in ``Experiment``."""
    output_source: tuple[str, ...] | str = "exact"
    """Origin of the output lengths, as in ``Experiment``."""

    @classmethod
    def of(cls, workload: Workload, where: str) -> Asked:
        """Take everything from a workload. ``where`` names it in errors."""
        more: dict[str, Any] = {
            "max_concurrency": workload.max_concurrency,
            "strict": workload.strict,
        }
        if workload.prompt_ids is not None:
            more["prompt_token_ids"] = token_lists(workload.prompt_ids)
        if workload.output_ids is not None:
            more["output_token_ids"] = token_lists(workload.output_ids)
        arrays = (workload.arrival_s, workload.input_tokens, workload.output_tokens)
        return cls(where, *arrays, more)

    def __len__(self) -> int:
        return int(self.input_tokens.size)

    def workload(self, arrival_s: npt.NDArray[np.float64]) -> Workload:
        """Return the requests, sent at the given times."""
        return Workload(arrival_s, self.input_tokens, self.output_tokens, **self.more)

    def require(self, count: int, where: str) -> None:
        """Raise ``ExperimentError`` unless there are ``count`` requests, the number in a file."""
        if len(self) != count:
            raise ExperimentError(
                f"{where}: measured {count} requests, but the workload {self.where} has "
                f"{len(self)} (failed ones may be left out there)"
            )
