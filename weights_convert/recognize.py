"""Recognizes the format of a file and states what becomes of each of its tensors."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping

from pointata_jax.errors import InputError
from weights_convert import (
    pcp_mae,
    point_bert,
    point_jepa,
    point_mae,
    recon,
    torch_pointcloud,
    ulip,
    uni3d,
)
from weights_convert.family import Format
from weights_convert.state_dict import StateDict
from weights_convert.torch_zip import Tensor
from weights_convert.trunk import Architecture, Entry, entries, infer_architecture
from weights_convert.variants import variants_of

OURS = "pointata_jax.backbone/1"
"""`format` in the metadata of files of this library, as `models.backbone_file.FORMAT`."""
CONFIG_KEY = "pointata_jax.config"
"""Metadata key of the architecture in files that were written for PyTorch (`to_torch`)."""
OUR_FORMAT = Format("pointata", "PointATA-JAX", "backbone", (), (), ())
# The most specific first: a ReCon file also has every name of a Point-MAE file.
FORMATS: tuple[Format, ...] = (
    *torch_pointcloud.FORMATS,
    *uni3d.FORMATS,
    *ulip.FORMATS,
    *recon.FORMATS,
    *point_jepa.FORMATS,
    *point_bert.FORMATS,
    *pcp_mae.FORMATS,
    *point_mae.FORMATS,
)
FAMILIES = (*dict.fromkeys(fmt.family for fmt in reversed(FORMATS)), "pointata")
# Name of a tensor, family, reason.
_UNSUPPORTED = (
    (
        r"GPT_Transformer\..+|(.*\.)?sos_pos",
        "PointGPT",
        "its residuals start from the normalized input, and a patch attends to earlier ones only",
    ),
    (
        r"(.+\.)?h_encoder\..+",
        "Point-M2AE",
        "it merges patches between its blocks",
    ),
    (
        r"(.+\.)?blocks\.blocks\.\d+\.cls\.conv\d\.\d\.weight",
        "Point-FEMAE",
        "its blocks hold a convolution over neighboring patches, and its code has no license",
    ),
    (
        r"(.+\.)?global_blocks\.\d+\..+",
        "ReCon++",
        "its transformer has a second one for image and text queries",
    ),
    (
        r"(.+\.)?ppat\..+",
        "OpenShape",
        "its patch embedder is a PointNet++, and it has no position embedding",
    ),
    (
        r"(.+\.)?enc\.enc\d+\.block\d+\..+",
        "Point Transformer V3 (Sonata, Concerto, Utonia)",
        "it needs sparse convolutions, and these weights forbid commercial use",
    ),
)


@dataclasses.dataclass(frozen=True)
class Options:
    """What a user can state about a file.

    Attributes:
      format: family (`FAMILIES`), or "auto".
      drop: expression; tensors whose whole name it matches are left out.
      num_heads: attention heads; None for heads of 64 channels.
      num_groups: patches per shape; None for the published number of the family.
      group_size: points per patch; None for the number in the file, or 32.
      key: dotted name of the entry that holds the weights; None to search for it.
      prefix: start of the names of the wanted tensors; None for all tensors.

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
    """What becomes of every tensor of a file.

    Attributes:
      format: the format that the file was recognized as.
      architecture: architecture of its trunk.
      used: name in the file of each entry of the trunk.
      dropped: names in the file that are left out on purpose, by reason.
      by_choice: names in the file that the user dropped.
      missing: standard names that the trunk needs and the file lacks.
      unexpected: names in the file that the format does not know.
      misshapen: what is wrong with a tensor, by its name in the file.
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
        """Whether no tensor is missing, unexpected or misshapen."""
        return not (self.missing or self.unexpected or self.misshapen)


def recognize(state: StateDict, family: str = "auto") -> Format:
    """The format of a state dict.

    Raises:
      InputError: the format is unknown, or not of the family that was asked for.
    """
    if family != "auto" and family not in FAMILIES:
        raise InputError(f"unknown format {family!r}: choose auto or one of {', '.join(FAMILIES)}.")
    if state.metadata.get("format") == OURS and family in ("auto", "pointata"):
        return OUR_FORMAT
    # Before the formats, because some of these files have all names of a Point-MAE.
    for pattern, family_name, reason in _UNSUPPORTED:
        if any(re.fullmatch(pattern, name) for name in state.tensors):
            raise InputError(
                f"this is a checkpoint of {family_name}, which cannot be converted, because "
                f"{reason}: use a checkpoint of {', '.join(FAMILIES[:-1])}."
            )
    # Includes the names of other values, so that `account` can name those in place of tensors.
    names = (*state.tensors, *state.others)
    shapes = {name: tensor.shape for name, tensor in state.tensors.items()}
    for candidate in FORMATS:
        if family in ("auto", candidate.family) and candidate.matches(names, shapes):
            return candidate
    first = ", ".join(sorted(state.tensors)[:6])
    elsewhere = ", ".join(f"{h.key} ({h.tensors})" for h in state.besides[:6])
    beside = f" Other tensors are in {elsewhere}: choose them by --key." if elsewhere else ""
    wanted = "of a known family" if family == "auto" else f"of the family {family}"
    raise InputError(
        f"the checkpoint is not {wanted} (its first names are {first}): supported are "
        f"{', '.join(FAMILIES[:-1])}, see the tables in weights_convert; if the names have another "
        f"prefix, give --prefix.{beside}"
    )


def account(state: StateDict, options: Options) -> Accounts:
    """Recognizes a file, infers its architecture and states what becomes of every tensor.

    Missing and unexpected tensors are recorded and raise no error.

    Raises:
      InputError: the file is not recognized, its architecture cannot be inferred, or `options.drop`
        is not a regular expression or matches nothing.
    """
    tensors, by_choice = _drop_by_choice(state.tensors, options.drop)
    kept = dataclasses.replace(state, tensors=tensors)
    fmt = recognize(kept, options.format)
    if fmt is OUR_FORMAT:
        return _account_ours(kept, by_choice)
    _check_that_trunk_values_are_tensors(fmt, state)
    _check_settings(fmt, state)
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
    architecture = _architecture(aside | shapes, fmt, kept, options)
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


def _check_that_trunk_values_are_tensors(fmt: Format, state: StateDict) -> None:
    """Raises InputError if a value with the name of a trunk tensor is not a tensor."""
    odd = [
        f"{name} ({kind})"
        for name, kind in state.others.items()
        if name not in state.tensors and fmt.standard_name(name) is not None
    ]
    if odd:
        more = f" and {len(odd) - 6} more" if len(odd) > 6 else ""
        raise InputError(
            f"{len(odd)} values have names of tensors but are not tensors: "
            f"{', '.join(odd[:6])}{more}; make them tensors in PyTorch and save the file again."
        )


def _check_settings(fmt: Format, state: StateDict) -> None:
    """Raises InputError if the settings that the file states are not those of the format."""
    for name, (expected, meaning) in fmt.stated.items():
        value = state.settings.get(name, expected)
        if value != expected:
            raise InputError(
                f"it is a checkpoint of {fmt.title} with {name}={value}, which means {meaning} and "
                "does not show in the shapes: use one that was trained with "
                f"{name}={expected}."
            )


def _drop_by_choice(
    tensors: Mapping[str, Tensor], pattern: str | None
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    if pattern is None:
        return dict(tensors), ()
    try:
        chosen = tuple(name for name in tensors if re.fullmatch(pattern, name))
    except re.error as error:
        raise InputError(
            f"--drop={pattern} is not a regular expression ({error}): correct it."
        ) from error
    if not chosen:
        raise InputError(
            f"--drop={pattern} matches no tensor: it must match a whole name, for example "
            f"{next(iter(tensors), '')}."
        )
    return {name: t for name, t in tensors.items() if name not in set(chosen)}, chosen


def _architecture(
    shapes: Mapping[str, tuple[int, ...]], fmt: Format, state: StateDict, options: Options
) -> Architecture:
    """The architecture, from the options, then what the file states, then the format's."""
    known = None
    if CONFIG_KEY in state.metadata:
        known = _stated_architecture(state.metadata, CONFIG_KEY)
    variants = dict(fmt.variants(shapes))
    usual = {"num_heads": variants.pop("num_heads", None), "num_groups": fmt.num_groups}
    if known is not None:
        variants = variants_of(known) | {"channel_constants": known.channel_constants}

    def chosen(name: str) -> int | None:
        if (value := getattr(options, name)) is not None:
            return value
        if known is not None:
            return getattr(known, name)
        stated = state.settings.get(fmt.settings.get(name))
        return stated if type(stated) is int and stated > 0 else usual.get(name)

    found = infer_architecture(
        shapes,
        num_heads=chosen("num_heads"),
        num_groups=chosen("num_groups") or fmt.num_groups,
        group_size=chosen("group_size"),
        usual_group_size=fmt.group_size,
        variants=variants,
    )
    # Files for PyTorch have no decoder, but its depth is part of the backbone's configuration.
    return found if known is None else dataclasses.replace(found, decoder_depth=known.decoder_depth)


def _stated_architecture(metadata: Mapping[str, str], key: str) -> Architecture:
    try:
        values = json.loads(metadata[key])
    except (KeyError, ValueError, RecursionError) as error:
        raise InputError(
            f"its metadata hold no readable architecture ({error}): write the file again."
        ) from error
    if not isinstance(values, dict):
        raise InputError("its metadata hold no readable architecture: write the file again.")
    return Architecture.from_dict(values)


def _account_ours(state: StateDict, by_choice: tuple[str, ...]) -> Accounts:
    """Accounts of a file of this library, which states its architecture and has paths as names."""
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
