"""File formats: how a format is recognized, and what becomes of each of its names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection

Rules = tuple[tuple[str, str], ...]
"""Pairs of a regular expression for whole names and a replacement or a reason."""

COUNTERS: Rules = ((r".+\.num_batches_tracked", "BatchNorm's counters of batches"),)

FIRST_LAYER = r"encoder\.first_conv\.0\.weight"
"""A tensor that every trunk has, by its standard name."""


@dataclasses.dataclass(frozen=True)
class Format:
    """One kind of file of one family.

    Attributes:
      family: name on the command line.
      title: name in reports and errors.
      stage: "pre-trained", "fine-tuned" …
      signature: expressions; a file of this kind has at least one name for each of them.
      renames: (expression, replacement) to standard names (`trunk`); the first match is used.
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

    @classmethod
    def of_standard_names(
        cls,
        family: str,
        title: str,
        stage: str,
        *,
        prefix: str = "",
        parts: tuple[str, ...],
        drops: Rules,
        signature: tuple[str, ...] = (FIRST_LAYER,),
        num_groups: int = 64,
    ) -> Format:
        """A format with standard names behind a prefix.

        Args:
          family: see `Format`.
          title: see `Format`.
          stage: see `Format`.
          prefix: expression for the start of the trunk's names.
          parts: expressions of standard names, each with one group around the whole name.
          drops: see `Format`.
          signature: see `Format`, without the prefix.
          num_groups: see `Format`.
        """
        return cls(
            family,
            title,
            stage,
            signature=tuple(prefix + name for name in signature),
            renames=tuple((prefix + part, r"\1") for part in parts),
            drops=drops,
            num_groups=num_groups,
        )

    def matches(self, names: Collection[str]) -> bool:
        """Whether a file with these names is of this kind."""
        return all(any(re.fullmatch(part, name) for name in names) for part in self.signature)

    def standard_name(self, name: str) -> str | None:
        """The standard name of a tensor; None if it has none."""
        for pattern, replacement in self.renames:
            if match := re.fullmatch(pattern, name):
                return match.expand(replacement)
        return None

    def reason_to_drop(self, name: str) -> str | None:
        """The reason to leave a tensor out; None if there is none."""
        for pattern, reason in (*COUNTERS, *self.drops):
            if re.fullmatch(pattern, name):
                return reason
        return None
