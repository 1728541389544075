"""Which file is this, and what is each of its tensors: used, left out, unexpected, missing."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping

from pointata_jax.errors import InputError
from weights_convert import point_bert, point_mae, recon, torch_pointcloud, ulip
from weights_convert.family import Format
from weights_convert.state_dict import StateDict
from weights_convert.torch_zip import Tensor
from weights_convert.trunk import Architecture, Entry, entries, infer_architecture

OURS = "pointata_jax.backbone/1"
"""`format` in the metadata of our own files; `pointata_jax.models.backbone_file.FORMAT`."""
CONFIG_KEY = "pointata_jax.config"
"""Where files that were written for PyTorch keep the architecture (`to_torch`)."""
OUR_FORMAT = Format("pointata", "PointATA-JAX", "backbone", (), (), ())
# The most telling first: a ReCon file also has all that a Point-MAE file has.
FORMATS: tuple[Format, ...] = (
    *torch_pointcloud.FORMATS,
    *ulip.FORMATS,
    *recon.FORMATS,
    *point_bert.FORMATS,
    *point_mae.FORMATS,
)
FAMILIES = ("point_mae", "point_bert", "recon", "ulip", "torch_pointcloud", "pointata")
_STRANGERS = (
    (r"GPT_Transformer\..+|.*\.?sos_pos", "PointGPT"),
    (r"(.+\.)?h_encoder\..+", "Point-M2AE"),
)


@dataclasses.dataclass(frozen=True)
class Options:
    """What a user may say about a file.

    Attributes:
      format: family (`FAMILIES`), or "auto".
      drop: expression; tensors whose whole name it matches are left out by choice.
      num_heads: attention heads; None for 64 channels each.
      num_groups: patches of a shape; None for the family's published number.
      group_size: points of a patch; None for what the file says, or 32.
      key: dotted name of the entry that holds the weights; None to look for it.
      prefix: what the names of the wanted tensors start with; None for all tensors.

    Raises:
      InputError: a number is below 1, or a text is empty.
    """

    format: str = "auto"
    drop: str | None = None
    num_heads: int | None = None
    num_groups: int | None = None
    group_size: int | None = None
    key: str | None = None
    prefix: str | None = None

    def __post_init__(self):
        for name in ("num_heads", "num_groups", "group_size"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or int(value) != value or value < 1):
                raise InputError(f"--{name}={value} must be a whole number of at least 1.")
        for name in ("drop", "key", "prefix"):
            if getattr(self, name) == "":
                raise InputError(f"--{name} is empty: give it a value or leave it out.")


@dataclasses.dataclass(frozen=True)
class Accounts:
    """Every tensor of a file, accounted for.

    Attributes:
      format: what the file was recognized as.
      architecture: of the trunk in it.
      used: entry of the trunk to the name in the file.
      dropped: reason to names in the file, left out on purpose.
      by_choice: names in the file that the user dropped.
      missing: standard names that the trunk needs and the file lacks.
      unexpected: names in the file that nobody knows.
      misshapen: name in the file to what is wrong with it.
    """

    format: Format
    architecture: Architecture
    used: Mapping[Entry, str]
    dropped: Mapping[str, tuple[str, ...]]
    by_choice: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: Mapping[str, str]

    @property
    def in_order(self) -> bool:
        return not (self.missing or self.unexpected or self.misshapen)


def recognize(state: StateDict, family: str = "auto") -> Format:
    """The format of a state dict.

    Raises:
      InputError: it is none of ours, or not of the family that was asked for.
    """
    if family != "auto" and family not in FAMILIES:
        raise InputError(f"unknown format {family!r}: choose auto or one of {', '.join(FAMILIES)}.")
    if state.metadata.get("format") == OURS and family in ("auto", "pointata"):
        return OUR_FORMAT
    # With what lies in the places of tensors, so that `account` can say what that is.
    names = (*state.tensors, *state.others)
    for candidate in FORMATS:
        if family in ("auto", candidate.family) and candidate.matches(names):
            return candidate
    first = ", ".join(sorted(state.tensors)[:6])
    for pattern, stranger in _STRANGERS:
        if any(re.fullmatch(pattern, name) for name in state.tensors):
            raise InputError(
                f"this is a checkpoint of {stranger}, whose transformer is not Point-MAE's: only "
                f"{', '.join(FAMILIES[:-1])} can be converted."
            )
    elsewhere = ", ".join(f"{h.key} ({h.tensors})" for h in state.besides[:6])
    beside = (
        f" Further tensors lie in {elsewhere}: if they are meant, say --key." if elsewhere else ""
    )
    wanted = "of a known family" if family == "auto" else f"of the family {family}"
    raise InputError(
        f"the checkpoint is not {wanted} (its names start with {first}): supported are "
        f"{', '.join(FAMILIES[:-1])}, see the tables in weights_convert; where the names have a "
        f"prefix of their own, give --prefix.{beside}"
    )


def account(state: StateDict, options: Options) -> Accounts:
    """Recognizes a file, infers its architecture and says what becomes of every tensor.

    Raises:
      InputError: the file is not recognized, its architecture cannot be told, or `options.drop`
        is no expression or matches nothing. What is missing or unexpected is only recorded.
    """
    tensors, by_choice = _drop_by_choice(state.tensors, options.drop)
    kept = dataclasses.replace(state, tensors=tensors)
    fmt = recognize(kept, options.format)
    if fmt is OUR_FORMAT:
        return _account_ours(kept, by_choice)
    _refuse_impostors(fmt, state)
    standard: dict[str, str] = {}
    dropped: dict[str, list[str]] = {}
    unexpected: list[str] = []
    for name in tensors:
        if (reason := fmt.reason_to_drop(name)) is not None:
            dropped.setdefault(reason, []).append(name)
        elif (bare := fmt.standard_name(name)) is None or bare in standard:
            unexpected.append(name)
        else:
            standard[bare] = name
    shapes = {name: tensors[source].shape for name, source in standard.items()}
    aside = {name: tensors[name].shape for names in dropped.values() for name in names}
    architecture = _architecture(aside | shapes, fmt, state.metadata, options)
    used: dict[Entry, str] = {}
    missing: list[str] = []
    misshapen: dict[str, str] = {}
    for entry in entries(architecture):
        source = standard.pop(entry.name, None)
        if source is None:
            missing.append(entry.name)
        else:
            used[entry] = source
            if not entry.fits(tensors[source].shape):
                misshapen[source] = f"{tensors[source].shape} instead of {entry.shape}"
            elif not _is_floating(tensors[source]):
                misshapen[source] = f"of type {tensors[source].dtype}"
    unexpected += standard.values()
    return Accounts(
        format=fmt,
        architecture=architecture,
        used=used,
        dropped={reason: tuple(names) for reason, names in dropped.items()},
        by_choice=by_choice,
        missing=tuple(missing),
        unexpected=tuple(unexpected),
        misshapen=misshapen,
    )


def _refuse_impostors(fmt: Format, state: StateDict) -> None:
    """What stands in the place of a tensor of the trunk must be one, or it is lost in silence."""
    odd = [
        f"{name} ({kind})"
        for name, kind in state.others.items()
        if name not in state.tensors and fmt.standard_name(name) is not None
    ]
    if odd:
        more = f" and {len(odd) - 6} more" if len(odd) > 6 else ""
        raise InputError(
            f"{len(odd)} values stand in the places of tensors and are none: "
            f"{', '.join(odd[:6])}{more}; make them tensors in PyTorch and save the file again."
        )


def _drop_by_choice(
    tensors: Mapping[str, Tensor], pattern: str | None
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    if pattern is None:
        return dict(tensors), ()
    try:
        chosen = tuple(name for name in tensors if re.fullmatch(pattern, name))
    except re.error as error:
        raise InputError(f"--drop={pattern} is no regular expression ({error}).") from error
    if not chosen:
        raise InputError(
            f"--drop={pattern} matches no tensor: it must match a whole name, for example "
            f"{next(iter(tensors), '')}."
        )
    return {name: t for name, t in tensors.items() if name not in set(chosen)}, chosen


def _architecture(
    shapes: Mapping[str, tuple[int, ...]],
    fmt: Format,
    metadata: Mapping[str, str],
    options: Options,
) -> Architecture:
    num_heads, num_groups, group_size = options.num_heads, options.num_groups, options.group_size
    known = _stated_architecture(metadata, CONFIG_KEY) if CONFIG_KEY in metadata else None
    if known is not None:
        num_heads = known.num_heads if num_heads is None else num_heads
        num_groups = known.num_groups if num_groups is None else num_groups
        group_size = known.group_size if group_size is None else group_size
    found = infer_architecture(
        shapes,
        num_heads=num_heads,
        num_groups=fmt.num_groups if num_groups is None else num_groups,
        group_size=group_size,
    )
    # The decoder stays behind on the way to PyTorch, but how deep it was is part of our settings.
    return found if known is None else dataclasses.replace(found, decoder_depth=known.decoder_depth)


def _stated_architecture(metadata: Mapping[str, str], key: str) -> Architecture:
    try:
        values = json.loads(metadata[key])
    except (KeyError, ValueError, RecursionError) as error:
        raise InputError(f"its metadata hold no readable architecture ({error}).") from error
    if not isinstance(values, dict):
        raise InputError("its metadata hold no readable architecture.")
    return Architecture.from_dict(values)


def _account_ours(state: StateDict, by_choice: tuple[str, ...]) -> Accounts:
    """A file of ours: its architecture is stated, its names are paths."""
    architecture = _stated_architecture(state.metadata, "config")
    expected = {entry.path: entry for entry in entries(architecture)}
    used = {entry: path for path, entry in expected.items() if path in state.tensors}
    misshapen: dict[str, str] = {}
    for entry, path in used.items():
        if state.tensors[path].shape != entry.our_shape:
            misshapen[path] = f"{state.tensors[path].shape} instead of {entry.our_shape}"
        elif not _is_floating(state.tensors[path]):
            misshapen[path] = f"of type {state.tensors[path].dtype}"
    return Accounts(
        format=OUR_FORMAT,
        architecture=architecture,
        used=used,
        dropped={},
        by_choice=by_choice,
        missing=tuple(path for path in expected if path not in state.tensors),
        unexpected=tuple(name for name in state.tensors if name not in expected),
        misshapen=misshapen,
    )


def _is_floating(tensor: Tensor) -> bool:
    return tensor.dtype.kind == "f" or tensor.dtype.name == "bfloat16"
