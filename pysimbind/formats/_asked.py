"""What was asked of the server, for files that do not say: the option ``workload``, once read."""

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
    """Token counts [R] in request order, arrivals where known, and all else of a ``Workload``."""

    where: str
    arrival_s: npt.NDArray[np.float64] | None
    input_tokens: IntArray
    output_tokens: IntArray
    more: dict[str, Any] = field(default_factory=dict)
    input_source: tuple[str, ...] | str = "exact"
    output_source: tuple[str, ...] | str = "exact"

    @classmethod
    def of(cls, workload: Workload, where: str) -> Asked:
        """Take all of a workload; ``where`` names it in errors."""
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
        """Return the requests, sent at other times."""
        return Workload(arrival_s, self.input_tokens, self.output_tokens, **self.more)

    def require(self, count: int, where: str) -> None:
        """Raise ``ExperimentError`` unless there are ``count`` requests, as there are in a file."""
        if len(self) != count:
            raise ExperimentError(
                f"{where}: measured {count} requests, but the workload {self.where} has "
                f"{len(self)} (failed ones may be left out there)"
            )
