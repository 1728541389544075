"""The report of a conversion, as a table and as JSON, and the error for an incomplete file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from weights_convert.recognize import Accounts
from weights_convert.state_dict import StateDict, num_values
from weights_convert.trunk import Architecture
from weights_convert.variants import VARIANTS, variants_of

_SHOWN = 12


@dataclasses.dataclass(frozen=True)
class Report:
    """Outcome of a conversion.

    Attributes:
      source: path of the checkpoint.
      source_sha256: hash of the checkpoint.
      container: "torch zip" or "safetensors".
      wrapping: keys and prefixes around the names.
      family: the family that the file was recognized as.
      stage: "pre-trained", "fine-tuned" …
      architecture: architecture of the trunk.
      used: names in the file that became part of the output.
      dropped: names that were left out on purpose, by reason.
      dropped_by_choice: names that the user dropped.
      missing: names that the trunk needs and the file lacks.
      unexpected: names that the format does not know.
      misshapen: what is wrong with a tensor, by name.
      besides: entries that hold tensors and were not read: the numbers of tensors and of values in
        them, and whether they are a copy of the weights.
      counts: numbers of tensors and of values, by group of tensors.
      parameters: number of trained values of the backbone.
      statistics: number of running means and variances of its BatchNorms.
      types: types of the used tensors in the file.
      to: "pointata" or "torch"; None if the file was refused.
      output: path of the output.
      output_sha256: hash of the output.
    """

    source: str
    source_sha256: str
    container: str
    wrapping: Sequence[str]
    family: str
    stage: str
    architecture: Architecture
    used: Sequence[str]
    dropped: Mapping[str, Sequence[str]]
    dropped_by_choice: Sequence[str]
    missing: Sequence[str]
    unexpected: Sequence[str]
    misshapen: Mapping[str, str]
    besides: Mapping[str, Mapping[str, int | bool]]
    counts: Mapping[str, tuple[int, int]]
    parameters: int
    statistics: int
    types: Sequence[str]
    to: str | None = None
    output: str | None = None
    output_sha256: str | None = None

    @classmethod
    def of(
        cls,
        accounts: Accounts,
        state: StateDict,
        *,
        source: tuple[str, str],
        output: tuple[str, str] | None = None,
        to: str | None = None,
    ) -> Report:
        """The report of a file; `source` and `output` are pairs of path and hash."""

        def count(names: Sequence[str]) -> tuple[int, int]:
            return len(names), num_values(state.tensors, names)

        used = list(accounts.used.values())
        statistics = [n for e, n in accounts.used.items() if e.path.startswith("batch_stats/")]
        counts = {"used": count(used)}
        counts |= {f"dropped: {why}": count(names) for why, names in accounts.dropped.items()}
        dropped = dict(accounts.dropped)
        if state.left_out:
            why = f"without the prefix {state.asked_prefix}"
            dropped[why] = tuple(state.left_out)
            counts[f"left out: {why}"] = (
                len(state.left_out),
                num_values(state.left_out, state.left_out),
            )
        if accounts.by_choice:
            counts["dropped by choice"] = count(accounts.by_choice)
        counts["missing"] = (len(accounts.missing), 0)
        counts["unexpected"] = count(accounts.unexpected)
        besides = {}
        for holding in state.besides:
            is_copy = state.is_copy(holding)
            besides[holding.key] = {
                "tensors": holding.tensors,
                "numbers": holding.numbers,
                "copy": is_copy,
            }
            what = f"a copy: --key={holding.key}" if is_copy else f"beside: {holding.key}"
            counts[f"not read, {what}"] = holding.tensors, holding.numbers
        return cls(
            source=source[0],
            source_sha256=source[1],
            container=state.container,
            wrapping=state.wrapping,
            family=accounts.format.title,
            stage=accounts.format.stage,
            architecture=accounts.architecture,
            used=used,
            dropped=dropped,
            dropped_by_choice=accounts.by_choice,
            missing=accounts.missing,
            unexpected=accounts.unexpected,
            misshapen=accounts.misshapen,
            besides=besides,
            counts=counts,
            parameters=num_values(state.tensors, used) - num_values(state.tensors, statistics),
            statistics=num_values(state.tensors, statistics),
            types=sorted({state.tensors[name].dtype.name for name in used}),
            to=to,
            output=output[0] if output else None,
            output_sha256=output[1] if output else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return values | {"architecture": self.architecture.to_dict()}

    def text(self) -> str:
        """The report as a table for a terminal."""
        arch = self.architecture
        tokens = [*(["class"] if arch.class_token else []), *arch.extra_tokens]
        bridge = f", patch embedder {arch.embedder_output}" if arch.embedder_output else ""
        under = f", names under {' '.join(self.wrapping)}" if self.wrapping else ""
        rounded = " (rounded to float32)" if "float64" in self.types else ""
        differing = [f"{k}={v}" for k, v in variants_of(arch).items() if v != VARIANTS[k]]
        if arch.channel_constants:
            differing.append(f"channel_constants={arch.channel_constants}")
        lines = [
            f"checkpoint    {self.source} ({self.container}{under})",
            f"recognized    {self.family}, {self.stage}",
            f"architecture  width {arch.width}, {arch.depth} blocks ({arch.block}), "
            f"heads {arch.num_heads}, MLP {round(arch.width * arch.mlp_ratio)}{bridge}",
            f"patches       {arch.num_groups} of {arch.group_size} points, "
            f"{arch.input_channels} numbers a point",
            f"tokens        {', '.join(tokens) or 'no class token'}",
            *([f"variants      {', '.join(differing)}"] if differing else []),
            f"parameters    {self.parameters:,}, and {self.statistics:,} statistics of BatchNorm",
            f"types         {', '.join(self.types)}{rounded}",
            "",
            f"{'tensors':<48}{'count':>7}{'numbers':>14}",
        ]
        lines += [f"{name:<48}{n:>7}{size:>14,}" for name, (n, size) in self.counts.items()]
        lines += ["", f"sha256 of the checkpoint  {self.source_sha256}"]
        if self.output is not None:
            lines += [
                f"sha256 of the output      {self.output_sha256}",
                f"{self.output}: {len(self.used)} tensors, compared with the checkpoint bit by bit",
            ]
        return "\n".join(lines)


def complaints(accounts: Accounts) -> str:
    """The error that names all missing, unexpected and misshapen tensors of a file."""
    parts = []
    for what, names in (
        ("missing", accounts.missing),
        ("unexpected", accounts.unexpected),
        ("misshapen", [f"{name} {why}" for name, why in accounts.misshapen.items()]),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            parts.append(f"{len(names)} tensors {what}: {', '.join(names[:_SHOWN])}{more}")
    return (
        f"recognized as {accounts.format.title} ({accounts.format.stage}), but {'; '.join(parts)}. "
        "Unexpected tensors that do not belong to the backbone can be left out by --drop=REGEX, or "
        "by --prefix=PREFIX for the names to keep; --report=FILE lists every name."
    )
