r"""Clean re-exports through torch-pointcloud 0.0.18: Point-MAE and Point-BERT in its own names.

Its layers are PyTorch Geometric's MLPs, so convolutions became linear layers, (out,in), and
BatchNorm sits one level deeper. With E. for the prefix of the second table:

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
"""

from weights_convert.family import Format, Rules
from weights_convert.point_mae import DECODER, TOKENS


def _renames(prefix: str) -> Rules:
    return tuple(
        (prefix + pattern, replacement)
        for pattern, replacement in (
            (r"encoder\.local_mlp\.lins\.0\.(.+)", r"encoder.first_conv.0.\1"),
            (r"encoder\.local_mlp\.lins\.1\.(.+)", r"encoder.first_conv.3.\1"),
            (r"encoder\.local_mlp\.norms\.0\.module\.(.+)", r"encoder.first_conv.1.\1"),
            (r"encoder\.global_mlp\.lins\.0\.(.+)", r"encoder.second_conv.0.\1"),
            (r"encoder\.global_mlp\.lins\.1\.(.+)", r"encoder.second_conv.3.\1"),
            (r"encoder\.global_mlp\.norms\.0\.module\.(.+)", r"encoder.second_conv.1.\1"),
            (r"(reduce_dim\..+)", r"\1"),
            (r"pos_embed\.lins\.0\.(.+)", r"pos_embed.0.\1"),
            (r"pos_embed\.lins\.1\.(.+)", r"pos_embed.2.\1"),
            (r"blocks\.(?:blocks\.)?(\d+)\.((?:norm1|norm2|attn)\..+)", r"blocks.blocks.\1.\2"),
            (r"blocks\.(?:blocks\.)?(\d+)\.mlp\.lins\.0\.(.+)", r"blocks.blocks.\1.mlp.fc1.\2"),
            (r"blocks\.(?:blocks\.)?(\d+)\.mlp\.lins\.1\.(.+)", r"blocks.blocks.\1.mlp.fc2.\2"),
            (r"norm(?:_f)?\.(.+)", r"norm.\1"),
            (TOKENS, r"\1"),
        )
    )


_LOCAL = r"encoder\.local_mlp\.lins\.0\.weight"
_HEAD: Rules = ((r"head\..+", "classification head"),)

FORMATS = (
    Format(
        family="torch_pointcloud",
        title="Point-BERT (torch-pointcloud)",
        stage="fine-tuned",
        signature=(rf"encoder\.{_LOCAL}", r"encoder\.reduce_dim\.weight"),
        renames=_renames(r"encoder\."),
        drops=_HEAD,
    ),
    Format(
        family="torch_pointcloud",
        title="Point-BERT (torch-pointcloud)",
        stage="pre-trained",
        signature=(_LOCAL, r"reduce_dim\.weight"),
        renames=_renames(""),
        drops=((r"mask_token|(lm_head|cls_head)\..+", "heads of pre-training"),),
    ),
    Format(
        family="torch_pointcloud",
        title="Point-MAE (torch-pointcloud)",
        stage="pre-trained",
        signature=(rf"MAE_encoder\.{_LOCAL}",),
        renames=_renames(r"MAE_encoder\."),
        drops=DECODER,
    ),
    Format(
        family="torch_pointcloud",
        title="Point-MAE (torch-pointcloud)",
        stage="fine-tuned",
        signature=(_LOCAL,),
        renames=_renames(""),
        drops=(
            *_HEAD,
            (r"(label_conv|propagation_\d)\..+", "part segmentation head"),
        ),
    ),
)
