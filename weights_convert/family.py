"""File formats: how a format is recognized, and what becomes of each of its names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

Rules = tuple[tuple[str, str], ...]
"""Pairs of a regular expression for whole names and a replacement or a reason."""

COUNTERS: Rules = ((r".+\.num_batches_tracked", "BatchNorm's counters of batches"),)

Shapes = Mapping[str, Sequence[int]]

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
      group_size: points of a patch in the published configuration.
      fits: whether shapes, by name in the file, are of this kind. For files that have the names of
        another family.
      variants: from shapes by standard name to the settings in which the family differs from
        Point-MAE (`weights_convert.variants.VARIANTS`), and "channel_constants" and "num_heads"
        where they are known.
      settings: names of `num_heads`, `num_groups` and `group_size` in the settings that a file of
        PyTorch Lightning states.
      stated: settings of such a file, each with the only value that can be converted and what
        another value means.
      torch_names: (expression, replacement) from standard names to the names that are written for
        PyTorch; empty for standard names.
    """

    family: str
    title: str
    stage: str
    signature: tuple[str, ...]
    renames: Rules
    drops: Rules
    num_groups: int = 64
    group_size: int = 32
    fits: Callable[[Shapes], bool] = lambda shapes: True
    variants: Callable[[Shapes], Mapping[str, Any]] = lambda shapes: {}
    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    stated: Mapping[str, tuple[Any, str]] = dataclasses.field(default_factory=dict)
    torch_names: Rules = ()

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
        **others: Any,
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
          **others: further attributes of `Format`.
        """
        return cls(
            family,
            title,
            stage,
            signature=tuple(prefix + name for name in signature),
            renames=tuple((prefix + part, r"\1") for part in parts),
            drops=drops,
            **others,
        )

    def matches(self, names: Collection[str], shapes: Shapes) -> bool:
        """Whether a file with these names, and shapes of tensors by name, is of this kind."""
        named = all(any(re.fullmatch(part, name) for name in names) for part in self.signature)
        return named and self.fits(shapes)

    def standard_name(self, name: str) -> str | None:
        """The standard name of a tensor; None if it has none."""
        return _renamed(self.renames, name)

    def torch_name(self, standard: str) -> str | None:
        """The name that is written for PyTorch; None if the family has no such tensor."""
        return _renamed(self.torch_names, standard) if self.torch_names else standard

    def reason_to_drop(self, name: str) -> str | None:
        """The reason to leave a tensor out; None if there is none."""
        for pattern, reason in (*COUNTERS, *self.drops):
            if re.fullmatch(pattern, name):
                return reason
        return None


def _renamed(rules: Rules, name: str) -> str | None:
    for pattern, replacement in rules:
        if match := re.fullmatch(pattern, name):
            return match.expand(replacement)
    return None
