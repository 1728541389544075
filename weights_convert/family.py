"""What a file format is: how it is recognized, and what each of its names stands for."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection

Rules = tuple[tuple[str, str], ...]

COUNTERS: Rules = ((r".+\.num_batches_tracked", "BatchNorm's counters of batches"),)


@dataclasses.dataclass(frozen=True)
class Format:
    """One kind of file of one family.

    Attributes:
      family: name on the command line.
      title: name for people.
      stage: "pre-trained", "fine-tuned" …
      signature: expressions of which each must match a whole name in a file of this kind.
      renames: (expression, replacement) to standard names (`trunk`); the first that matches a
        whole name counts.
      drops: (expression, reason) of names that are left out on purpose.
      num_groups: patches of a shape in the published configuration.
    """

    family: str
    title: str
    stage: str
    signature: tuple[str, ...]
    renames: Rules
    drops: Rules
    num_groups: int = 64

    def matches(self, names: Collection[str]) -> bool:
        """Whether a file with these names is of this kind."""
        return all(any(re.fullmatch(part, name) for name in names) for part in self.signature)

    def standard_name(self, name: str) -> str | None:
        """The standard name of a tensor of this file; None where there is none."""
        for pattern, replacement in self.renames:
            if match := re.fullmatch(pattern, name):
                return match.expand(replacement)
        return None

    def reason_to_drop(self, name: str) -> str | None:
        """Why a tensor is left out on purpose; None where it is not."""
        for pattern, reason in (*COUNTERS, *self.drops):
            if re.fullmatch(pattern, name):
                return reason
        return None
