"""The trunk that all families share, with its names in PyTorch and in this library.

The names of each format are first mapped to those of a fine-tuned Point-MAE ("standard names"; the
mapping is in the module of the family). This table maps standard names to those of this library.
Shapes are for width D, patch embedder widths (w0, w1, w2) and output C, I input channels and MLP
width H:

| standard PyTorch name              | shape           | in this library                     |
| ---------------------------------- | --------------- | ----------------------------------- |
| encoder.first_conv.0.{weight,bias} | (w0,I,1),(w0)   | embedder/first_conv_0               |
| encoder.first_conv.1.*             | (w0)            | embedder/first_norm (BatchNorm)     |
| encoder.first_conv.3.*             | (w1,w0,1),(w1)  | embedder/first_conv_1               |
| encoder.second_conv.0.*            | (w2,2w1,1),…    | embedder/second_conv_0              |
| encoder.second_conv.1.*            | (w2)            | embedder/second_norm (BatchNorm)    |
| encoder.second_conv.3.*            | (C,w2,1),(C)    | embedder/second_conv_1              |
| reduce_dim.* (Point-BERT, ULIP)    | (D,C),(D)       | reduce_dim                          |
| pos_embed.{0,2}.*                  | (128,3),(D,128) | position/dense_{0,1}                |
| cls_token, cls_pos                 | (1,1,D)         | class_token, class_position         |
| img_token, img_pos, text_… (ReCon) | (1,1,D)         | image_token, image_position, text_… |
| blocks.blocks.i.norm{1,2}.*        | (D)             | blocks_i/norm_{1,2}                 |
| blocks.blocks.i.attn.qkv.weight    | (3D,D)          | blocks_i/attention/qkv              |
| blocks.blocks.i.attn.qkv.bias      | (3D)            | blocks_i/attention/qkv (Point-JEPA) |
| blocks.blocks.i.attn.proj.*        | (D,D),(D)       | blocks_i/attention/proj             |
| blocks.blocks.i.mlp.fc{1,2}.*      | (H,D),(D,H)     | blocks_i/mlp_{0,1}                  |
| norm.* or fc_norm.* (Uni3D)        | (D)             | norm or class_norm                  |

The second stream of ReCon's blocks is in `recon`, the names of a gated MLP and of separate
projections are in `uni3d`. Convolutions of width 1 are matrices with trailing axes of length 1.
Matrices are transposed and vectors are kept. BatchNorm's running mean and (unbiased) variance are
in `batch_stats`. Rows of qkv are ordered q, k, v, then head, then channel, as in this library.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pointata_jax.errors import InputError
from weights_convert.recon import GLOBAL_TOKENS, SECOND_STREAM
from weights_convert.variants import check_variants

POSITION_WIDTH = 128
"""Hidden width of the position MLP, in every published model."""
HEAD_WIDTH = 64
"""Channels of an attention head in every published size (192/3, 256/4, 384/6, 768/12)."""

_MAX_SIZE = 2**20
_MAX_DEPTH = 1000
_MAX_RATIO = 2**10

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The same fields as `pointata_jax.BackboneConfig`, which cannot be used without JAX.

    Raises:
      InputError: values that describe no backbone.
    """

    width: int
    depth: int
    num_heads: int
    mlp_ratio: float
    embedder_widths: tuple[int, int, int]
    num_groups: int = 64
    group_size: int = 32
    decoder_depth: int = 0
    input_channels: int = 3
    class_token: bool = False
    extra_tokens: tuple[str, ...] = ()
    embedder_output: int | None = None
    block: str = "point_mae"
    position_input: str = "xyz"
    position_every_block: bool = True
    norm_epsilon: float = 1e-5
    final_norm: str = "all"
    qkv_bias: str = "none"
    qkv_fused: bool = True
    mlp: str = "gelu"
    mlp_fused: bool = True
    mlp_norm: bool = False
    gate_first: bool = True
    embedder_bias: bool = True
    channel_constants: tuple[float, ...] = ()

    def __post_init__(self):
        counts = (self.width, self.num_heads, *self.embedder_widths, self.input_channels)
        counts += (self.num_groups, self.group_size)
        counts += () if self.embedder_output is None else (self.embedder_output,)
        if not all(type(n) is int and 0 < n < _MAX_SIZE for n in counts):
            raise InputError(
                f"the sizes of its architecture are impossible ({counts}): use another file."
            )
        depths = (self.depth, self.decoder_depth)
        if not all(type(n) is int and 0 <= n < _MAX_DEPTH for n in depths):
            raise InputError(f"its depth is impossible ({depths}): use another file.")
        ratio_is_number = (
            isinstance(self.mlp_ratio, (int, float)) and 0 < self.mlp_ratio < _MAX_RATIO
        )
        if not ratio_is_number or len(self.embedder_widths) != 3 or self.width % self.num_heads:
            raise InputError(f"its architecture is impossible ({self}): use another file.")
        check_variants(self)

    @property
    def hidden_width(self) -> int:
        """Hidden width of a block's MLP."""
        return round(self.width * self.mlp_ratio)

    def to_dict(self) -> dict[str, Any]:
        """JSON values, the same as those of `BackboneConfig.to_dict`."""
        values = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """Inverse of `to_dict`; raises InputError for values that describe no backbone."""
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        try:
            return cls(**fields)
        except TypeError as error:
            raise InputError(
                f"its metadata describe no backbone of this version ({error}): use the version of "
                "pointata_jax that wrote it."
            ) from error


class Entry(NamedTuple):
    """One tensor of the trunk.

    Attributes:
      name: standard PyTorch name.
      path: path in the variables of this library.
      shape: shape in PyTorch.
    """

    name: str
    path: str
    shape: Shape

    def to_ours(self, value: np.ndarray) -> np.ndarray:
        """From PyTorch's layout to that of this library, as a view if possible."""
        if self.path.endswith("/kernel"):
            return value.reshape(value.shape[:2]).T
        return value.reshape(-1)

    def to_torch(self, value: np.ndarray) -> np.ndarray:
        """From the layout of this library to PyTorch's."""
        return (value.T if self.path.endswith("/kernel") else value).reshape(self.shape)

    @property
    def our_shape(self) -> Shape:
        """The shape in the layout of this library."""
        return self.shape[1::-1] if self.path.endswith("/kernel") else (self.shape[-1],)

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether a tensor of a file fits.

        Matrices may have trailing axes of length 1, and tokens may be without their leading ones.
        """
        shape = tuple(shape)
        if not self.path.endswith("/kernel"):
            return shape in (self.shape, self.shape[-1:])
        return shape[:2] == self.shape[:2] and len(shape) <= 4 and set(shape[2:]) <= {1}


def _layer(name: str, path: str, *shape: int, bias: bool = True) -> Iterator[Entry]:
    yield Entry(f"{name}.weight", f"params/{path}/{'kernel' if len(shape) > 1 else 'scale'}", shape)
    if bias:
        yield Entry(f"{name}.bias", f"params/{path}/bias", shape[:1])


def _batch_norm(name: str, path: str, size: int) -> Iterator[Entry]:
    yield from _layer(name, path, size)
    yield Entry(f"{name}.running_mean", f"batch_stats/{path}/mean", (size,))
    yield Entry(f"{name}.running_var", f"batch_stats/{path}/var", (size,))


def _block(arch: Architecture, name: str, path: str) -> Iterator[Entry]:
    width, hidden = arch.width, arch.hidden_width
    yield from _layer(f"{name}.norm1", f"{path}/norm_1", width)
    yield from _projections(arch, f"{name}.attn", f"{path}/attention")
    yield from _layer(f"{name}.attn.proj", f"{path}/attention/proj", width, width)
    yield from _layer(f"{name}.norm2", f"{path}/norm_2", width)
    if arch.mlp_fused:
        rows = 2 * hidden if arch.mlp == "swiglu" else hidden
        yield from _layer(f"{name}.mlp.fc1", f"{path}/mlp_0", rows, width)
    else:
        yield from _layer(f"{name}.mlp.fc1_g", f"{path}/mlp_gate", hidden, width)
        yield from _layer(f"{name}.mlp.fc1_x", f"{path}/mlp_value", hidden, width)
    if arch.mlp_norm:
        yield from _layer(f"{name}.mlp.norm", f"{path}/mlp_norm", hidden)
    yield from _layer(f"{name}.mlp.fc2", f"{path}/mlp_1", width, hidden)


def _projections(arch: Architecture, name: str, path: str) -> Iterator[Entry]:
    width = arch.width
    biased = {"none": (), "all": ("q", "k", "v"), "query_value": ("q", "v")}[arch.qkv_bias]
    parts = (("q", "query"), ("k", "key"), ("v", "value"))
    if not arch.qkv_fused:
        for part, ours in parts:
            layer = f"{name}.{part}_proj", f"{path}/{ours}"
            yield from _layer(*layer, width, width, bias=part in biased)
        return
    yield from _layer(f"{name}.qkv", f"{path}/qkv", 3 * width, width, bias=arch.qkv_bias == "all")
    if arch.qkv_bias == "query_value":
        for part, ours in (parts[0], parts[2]):
            yield Entry(f"{name}.{part}_bias", f"params/{path}/{ours}_bias", (width,))


def _position(
    name: str, path: str, width: int, hidden: int = POSITION_WIDTH, inputs: int = 3
) -> Iterator[Entry]:
    yield from _layer(f"{name}.0", f"{path}/dense_0", hidden, inputs)
    yield from _layer(f"{name}.2", f"{path}/dense_1", width, hidden)


def entries(arch: Architecture) -> list[Entry]:
    """Every tensor of a `Backbone` of this architecture, in the order of a PyTorch file."""
    width, (w0, w1, w2) = arch.width, arch.embedder_widths
    output = width if arch.embedder_output is None else arch.embedder_output
    out: list[Entry] = []
    tokens = [("cls", "class")] if arch.class_token else []
    tokens += [(name, ours) for name, ours in GLOBAL_TOKENS if ours in arch.extra_tokens]
    for name, ours in tokens:
        out.append(Entry(f"{name}_token", f"params/{ours}_token", (1, 1, width)))
        out.append(Entry(f"{name}_pos", f"params/{ours}_position", (1, 1, width)))
    first, second = "encoder.first_conv", "encoder.second_conv"
    inputs, bias = arch.input_channels, arch.embedder_bias
    out += _layer(f"{first}.0", "embedder/first_conv_0", w0, inputs, 1, bias=bias)
    out += _batch_norm(f"{first}.1", "embedder/first_norm", w0)
    out += _layer(f"{first}.3", "embedder/first_conv_1", w1, w0, 1)
    out += _layer(f"{second}.0", "embedder/second_conv_0", w2, 2 * w1, 1, bias=bias)
    out += _batch_norm(f"{second}.1", "embedder/second_norm", w2)
    out += _layer(f"{second}.3", "embedder/second_conv_1", output, w2, 1)
    if arch.embedder_output is not None:
        out += _layer("reduce_dim", "reduce_dim", width, output)
    sizes = (width, width) if arch.position_input == "sinusoidal" else (POSITION_WIDTH, 3)
    out += _position("pos_embed", "position", width, *sizes)
    for i in range(arch.depth):
        name, path = f"blocks.blocks.{i}", f"blocks_{i}"
        out += _block(arch, name, path)
        if arch.block == "recon":
            for theirs, ours, rows, columns, bias in SECOND_STREAM:
                sizes = {"D": width, "2D": 2 * width, "H": arch.hidden_width}
                shape = [sizes[size] for size in (rows, columns) if size]
                out += _layer(f"{name}.{theirs}", f"{path}/{ours}", *shape, bias=bias)
    if arch.final_norm != "none":
        last = {"all": ("norm", "norm"), "class": ("fc_norm", "class_norm")}[arch.final_norm]
        out += _layer(*last, width)
    return out


def decoder_entries(arch: Architecture) -> list[Entry]:
    """The decoder of a Point-MAE pre-training file; paths are those of `MaskedAutoencoder`."""
    out = [Entry("mask_token", "params/mask_token", (1, 1, arch.width))]
    out += _position("decoder_pos_embed", "decoder_position", arch.width)
    for i in range(arch.decoder_depth):
        out += _block(arch, f"MAE_decoder.blocks.{i}", f"decoder_blocks_{i}")
    out += _layer("MAE_decoder.norm", "decoder_norm", arch.width)
    out += _layer("increase_dim.0", "increase_dim", 3 * arch.group_size, arch.width, 1)
    return out


def infer_architecture(
    shapes: Mapping[str, Sequence[int]],
    *,
    num_heads: int | None = None,
    num_groups: int = 64,
    group_size: int | None = None,
    usual_group_size: int = 32,
    variants: Mapping[str, Any] | None = None,
) -> Architecture:
    """The architecture of a trunk from the shapes of its tensors.

    Args:
      shapes: shapes by standard name; names of a decoder may be among them.
      num_heads: attention heads, which the shapes do not show; None for heads of `HEAD_WIDTH`
        channels, as in every published size.
      num_groups: patches per shape, which the shapes do not show either.
      group_size: points per patch; None for the number in the decoder's shape, or the usual one.
      usual_group_size: points per patch in the published configuration of the family.
      variants: settings in which the family differs from Point-MAE, and `channel_constants`.

    Raises:
      InputError: a tensor that is needed for the answer is missing or has an impossible shape, or
        an argument does not fit the shapes.
    """

    def dimension(name: str, axis: int) -> int:
        if name not in shapes:
            raise InputError(
                f"the checkpoint lacks {name}, which is needed to infer its architecture: it is "
                "incomplete, or of another family (--format)."
            )
        if len(shapes[name]) <= axis or shapes[name][axis] < 1:
            raise InputError(
                f"{name} has the impossible shape {tuple(shapes[name])}: use another file."
            )
        return shapes[name][axis]

    output = dimension("encoder.second_conv.3.weight", 0)
    reduced = "reduce_dim.weight" in shapes
    width = dimension("reduce_dim.weight", 0) if reduced else output
    if num_heads is None:
        if width % HEAD_WIDTH:
            raise InputError(
                f"the number of attention heads cannot be inferred from a width of {width} "
                f"(published models have {HEAD_WIDTH} channels per head): give --num_heads."
            )
        num_heads = width // HEAD_WIDTH
    if num_heads < 1 or width % num_heads:
        raise InputError(
            f"a width of {width} cannot be split into {num_heads} heads: choose a --num_heads that "
            "divides it."
        )
    last_layer = [s for n, s in shapes.items() if re.fullmatch(_DECODER_OUTPUT, n) and len(s) > 1]
    decoded = last_layer[0][0] // 3 if last_layer else 0
    if decoded and group_size not in (None, decoded):
        raise InputError(
            f"the decoder of this file reconstructs patches of {decoded} points, not the "
            f"{group_size} of --group_size: leave the flag out."
        )
    if num_groups < 1 or (group_size is not None and group_size < 1):
        raise InputError("--num_groups and --group_size must be positive.")
    depth = _count(shapes, r"blocks\.blocks\.(\d{1,3})\..+")
    variants = dict(variants or {})
    gated = variants.get("mlp") == "swiglu"
    if gated and not variants.get("mlp_fused", True):
        hidden = dimension("blocks.blocks.0.mlp.fc1_g.weight", 0)
    else:
        hidden = dimension("blocks.blocks.0.mlp.fc1.weight", 0) / (2 if gated else 1)
    return Architecture(
        width=width,
        depth=depth,
        num_heads=num_heads,
        mlp_ratio=hidden / width,
        embedder_widths=(
            dimension("encoder.first_conv.0.weight", 0),
            dimension("encoder.first_conv.3.weight", 0),
            dimension("encoder.second_conv.0.weight", 0),
        ),
        num_groups=num_groups,
        group_size=decoded or (usual_group_size if group_size is None else group_size),
        decoder_depth=_count(shapes, r"MAE_decoder\.blocks\.(\d{1,3})\..+"),
        input_channels=dimension("encoder.first_conv.0.weight", 1),
        class_token="cls_token" in shapes or variants.get("final_norm") == "class",
        extra_tokens=tuple(ours for name, ours in GLOBAL_TOKENS if f"{name}_token" in shapes),
        embedder_output=output if reduced else None,
        block="recon" if any(map(_SECOND_STREAM_NAME.fullmatch, shapes)) else "point_mae",
        **variants,
    )


_DECODER_OUTPUT = r"increase_dim\.(lins\.)?0\.weight"
_SECOND_STREAM_NAME = re.compile(r"blocks\.blocks\.\d{1,3}\.attn_contrast\..+")


def _count(names: Iterable[str], pattern: str) -> int:
    """The number of blocks, which must be numbered from 0 without a gap."""
    found = {int(match[1]) for name in names if (match := re.fullmatch(pattern, name))}
    if found and max(found) != len(found) - 1:
        gap = min(set(range(max(found))) - found)
        raise InputError(
            f"the checkpoint has {len(found)} blocks up to number {max(found)}, but not number "
            f"{gap}: it is incomplete; use another file."
        )
    return len(found)
