r"""Uni3D (baaivision/Uni3D), sizes Ti, S, B, L and g.

The transformer is an EVA-02 (Fang et al., 2023) of timm behind a mini-PointNet that reads colored
points. Files are dictionaries of DeepSpeed with the weights under `module`. Names and shapes are
those of the public `models/uni3d.py` and `models/point_encoder.py`, and of `models/eva.py` of timm:

| name in the file                                 | shape        | becomes                 |
| ------------------------------------------------ | ------------ | ----------------------- |
| point_encoder.encoder.{first_conv,second_conv}.* | see `trunk`  | standard, 6 inputs      |
| point_encoder.encoder2trans.*                    | (D,512),(D)  | reduce_dim.*            |
| point_encoder.pos_embed.{0,2}.*                  | see `trunk`  | standard name           |
| point_encoder.{cls_token,cls_pos}                | (1,1,D)      | standard name           |
| point_encoder.visual.blocks.i.*                  | second table | blocks.blocks.i.*       |
| point_encoder.visual.fc_norm.*                   | (D)          | class_norm              |
| point_encoder.trans2embed.*, logit_scale         | (1024,D)     | dropped: image and text |
| point_encoder.visual.{cls_token,pos_embed}       | –            | dropped: unused         |
| point_encoder.visual.{patch_embed,head,rope}.*   | –            | dropped: unused         |

| name in a block                | shape        | sizes      | becomes                           |
| ------------------------------ | ------------ | ---------- | --------------------------------- |
| norm{1,2}.*, attn.proj.*       | see `trunk`  | all        | see `trunk`                       |
| attn.qkv.weight                | (3D,D)       | Ti, S, g   | attention/qkv                     |
| attn.{q_bias,v_bias}           | (D)          | Ti, S, g   | attention/{query,value}_bias      |
| attn.{q_proj,v_proj}.*         | (D,D),(D)    | B, L       | attention/{query,value}           |
| attn.k_proj.weight             | (D,D)        | B, L       | attention/key                     |
| mlp.fc1.*                      | (2H,D),(2H)  | Ti, S      | mlp_0, gate first                 |
| mlp.{fc1_g,fc1_x}.*            | (H,D),(H)    | B, L       | mlp_gate, mlp_value               |
| mlp.norm.*                     | (H)          | B, L       | mlp_norm                          |
| mlp.fc1.*                      | (H,D),(H)    | g          | mlp_0, exact GELU                 |
| mlp.fc2.*                      | (D,H),(D)    | all        | mlp_1                             |

The position is added once, in front of the first block. LayerNorms have the epsilon 1e-6. After the
last block, `fc_norm` acts on the class token alone. Published configurations: 512 patches of 64
points, 10,000 points (x, y, z, red, green, blue from 0 to 1; 0.4 where there is no color) in the
unit sphere; heads of 64 channels, in size g (width 1,408) of 88.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from weights_convert.family import Format

# Channels of a point that has no color.
GRAY = (0.4, 0.4, 0.4)
_HEADS_OF_WIDTH = {1408: 16}

_NAMES = r"""
((?:encoder|pos_embed)\..+)  \1
(cls_token|cls_pos)          \1
encoder2trans\.(.+)          reduce_dim.\1
visual\.blocks\.(\d+\..+)    blocks.blocks.\1
visual\.fc_norm\.(.+)        fc_norm.\1
"""


def _variants(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    block = "blocks.blocks.0."
    found: dict[str, Any] = {
        "position_every_block": False,
        "norm_epsilon": 1e-6,
        "final_norm": "class",
        "qkv_bias": "query_value",
        "qkv_fused": f"{block}attn.q_proj.weight" not in shapes,
        "channel_constants": GRAY,
    }
    first, second = (tuple(shapes.get(f"{block}mlp.{n}.weight", ())) for n in ("fc1", "fc2"))
    if f"{block}mlp.fc1_g.weight" in shapes:
        found |= {
            "mlp": "swiglu",
            "mlp_fused": False,
            "mlp_norm": f"{block}mlp.norm.weight" in shapes,
        }
    elif len(first) == len(second) == 2 and first[0] == 2 * second[1]:
        found["mlp"] = "swiglu"
    width = tuple(shapes.get(f"{block}norm1.weight", (0,)))[0]
    if width in _HEADS_OF_WIDTH:
        found["num_heads"] = _HEADS_OF_WIDTH[width]
    return found


_PREFIX = r"(?:point_encoder\.)?"

FORMATS = (
    Format(
        family="uni3d",
        title="Uni3D",
        stage="pre-trained",
        signature=(
            _PREFIX + r"encoder\.first_conv\.0\.weight",
            _PREFIX + r"encoder2trans\.weight",
            _PREFIX + r"visual\.blocks\.0\..+",
        ),
        renames=tuple(
            (_PREFIX + name, standard)
            for name, standard in (row.split() for row in _NAMES.strip().splitlines())
        ),
        drops=(
            (_PREFIX + r"trans2embed\..+|logit_scale", "image-text space"),
            (
                _PREFIX + r"visual\.(cls_token|pos_embed|(patch_embed|head|rope)\..+)",
                "parts of the image model that Uni3D does not use",
            ),
        ),
        num_groups=512,
        group_size=64,
        variants=_variants,
        torch_names=(
            (r"((?:encoder|pos_embed)\..+|cls_token|cls_pos)", r"point_encoder.\1"),
            (r"reduce_dim\.(.+)", r"point_encoder.encoder2trans.\1"),
            (r"blocks\.blocks\.(.+)", r"point_encoder.visual.blocks.\1"),
            (r"fc_norm\.(.+)", r"point_encoder.visual.fc_norm.\1"),
        ),
    ),
)
