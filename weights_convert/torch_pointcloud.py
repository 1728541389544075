r"""Exports of torch-pointcloud 0.0.18: Point-MAE and Point-BERT under names of that library.

Its layers are MLPs of PyTorch Geometric. Convolutions are therefore linear layers, (out,in), and
BatchNorm is one level deeper. E. stands for the prefix of the second table:

| name in the file                         | standard name (`trunk`)              |
| ---------------------------------------- | ------------------------------------ |
| E.encoder.local_mlp.lins.{0,1}.*         | encoder.first_conv.{0,3}.*           |
| E.encoder.local_mlp.norms.0.module.*     | encoder.first_conv.1.*               |
| E.encoder.global_mlp.lins.{0,1}.*        | encoder.second_conv.{0,3}.*          |
| E.encoder.global_mlp.norms.0.module.*    | encoder.second_conv.1.*              |
| E.reduce_dim.* (Point-BERT)              | reduce_dim.*                         |
| E.pos_embed.lins.{0,1}.*                 | pos_embed.{0,2}.*                    |
| E.blocks[.blocks].i.{norm1,norm2,attn}.* | blocks.blocks.i.{norm1,norm2,attn}.* |
| E.blocks[.blocks].i.mlp.lins.{0,1}.*     | blocks.blocks.i.mlp.fc{1,2}.*        |
| E.norm.* or E.norm_f.*                   | norm.*                               |
| E.cls_token, E.cls_pos                   | cls_token, cls_pos                   |

| model                        | E.           | dropped                               |
| ---------------------------- | ------------ | ------------------------------------- |
| Point-MAE, classification    | –            | head.*                                |
| Point-MAE, part segmentation | –            | head.*, label_conv.*, propagation_0.* |
| Point-MAE, pre-training      | MAE_encoder. | mask_token and the decoder            |
| Point-BERT, classification   | encoder.     | head.*                                |
| Point-BERT, pre-training     | –            | mask_token, lm_head.*, cls_head.*     |

ReCon and PCP-MAE are in torch-pointcloud since 0.0.20. Their names were not available for these
tables, so their files are not converted. Under the names above, ReCon's global tokens and second
stream are unexpected, and PCP-MAE's position MLP is misshapen. The originals can be converted
(`recon`, `pcp_mae`).
"""

from weights_convert.family import Format, Rules
from weights_convert.point_mae import DECODER, TOKENS

_NAMES = r"""
encoder\.local_mlp\.lins\.0\.(.+)                       encoder.first_conv.0.\1
encoder\.local_mlp\.lins\.1\.(.+)                       encoder.first_conv.3.\1
encoder\.local_mlp\.norms\.0\.module\.(.+)              encoder.first_conv.1.\1
encoder\.global_mlp\.lins\.0\.(.+)                      encoder.second_conv.0.\1
encoder\.global_mlp\.lins\.1\.(.+)                      encoder.second_conv.3.\1
encoder\.global_mlp\.norms\.0\.module\.(.+)             encoder.second_conv.1.\1
(reduce_dim\..+)                                        \1
pos_embed\.lins\.0\.(.+)                                pos_embed.0.\1
pos_embed\.lins\.1\.(.+)                                pos_embed.2.\1
blocks\.(?:blocks\.)?(\d+)\.((?:norm1|norm2|attn)\..+)  blocks.blocks.\1.\2
blocks\.(?:blocks\.)?(\d+)\.mlp\.lins\.0\.(.+)          blocks.blocks.\1.mlp.fc1.\2
blocks\.(?:blocks\.)?(\d+)\.mlp\.lins\.1\.(.+)          blocks.blocks.\1.mlp.fc2.\2
norm(?:_f)?\.(.+)                                       norm.\1
"""
"""Expressions for the names behind the prefix E. and their standard names."""


def _renames(prefix: str) -> Rules:
    rows = [row.split() for row in _NAMES.strip().splitlines()]
    return tuple((prefix + name, standard) for name, standard in [*rows, (TOKENS, r"\1")])


def _format(
    model: str, stage: str, prefix: str, drops: Rules, *, has_reduce_dim: bool = False
) -> Format:
    signature = (r"encoder\.local_mlp\.lins\.0\.weight",)
    if has_reduce_dim:
        signature += (r"reduce_dim\.weight",)
    return Format(
        family="torch_pointcloud",
        title=f"{model} (torch-pointcloud)",
        stage=stage,
        signature=tuple(prefix + name for name in signature),
        renames=_renames(prefix),
        drops=drops,
    )


_HEAD: Rules = ((r"head\..+", "classification head"),)
_PARTS: Rules = ((r"(label_conv|propagation_\d)\..+", "part segmentation head"),)
_HEADS: Rules = ((r"mask_token|(lm_head|cls_head)\..+", "heads of pre-training"),)

FORMATS = (
    _format("Point-BERT", "fine-tuned", r"encoder\.", _HEAD, has_reduce_dim=True),
    _format("Point-BERT", "pre-trained", "", _HEADS, has_reduce_dim=True),
    _format("Point-MAE", "pre-trained", r"MAE_encoder\.", DECODER),
    _format("Point-MAE", "fine-tuned", "", _HEAD + _PARTS),
)
