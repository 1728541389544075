r"""ReCon (qizekun/ReCon): pre-trained and fine-tuned files.

The names of the trunk are those of Point-MAE, behind `MAE_encoder.` in pre-trained files and with
no prefix in fine-tuned ones. The blocks differ (`pointata_jax.models.blocks.ReconBlock`). They have
a second stream of three global tokens, and residuals start from the normalized input. Names and
shapes are those of the public `models/ReCon.py` and `models/transformer.py`.

| name in the file                              | shape       | becomes                          |
| --------------------------------------------- | ----------- | -------------------------------- |
| {cls,img,text}_{token,pos}                    | (1,1,D)     | {class,image,text}_{token,…}     |
| blocks.blocks.i.norm{1,2}_contrast.*          | (D)         | blocks_i/global_norm_{1,2}       |
| blocks.blocks.i.attn_contrast.q.weight        | (D,D)       | blocks_i/global_attention/query  |
| blocks.blocks.i.attn_contrast.kv.weight       | (2D,D)      | …/key_value, rows k, v           |
| blocks.blocks.i.attn_contrast.proj.*          | (D,D),(D)   | …/proj                           |
| blocks.blocks.i.mlp_contrast.fc{1,2}.*        | (H,D),(D,H) | blocks_i/global_mlp_{0,1}        |
| mask_token, decoder… (see `point_mae`)        | –           | dropped: decoder                 |
| img_proj.*, text_proj.*, cls_proj.{0,1,3,4}.* | (·,D)       | dropped: contrast heads          |
| img_encoder.*, text_encoder.*                 | –           | dropped: image and text teachers |
| cls_head_finetune.{0,1,4,5,8}.*               | (256,4D) …  | dropped: head                    |

Published sizes (12 blocks): width 192 with 3 heads, 256 with 4, 384 with 6. `Dis_encoder.` of the
two-tower variant is not used, because such a file has the trunk of a Point-MAE.
"""

import functools

from weights_convert.family import Format, Rules
from weights_convert.point_mae import DECODER, HEADS, TRUNK

GLOBAL_TOKENS = (("img", "image"), ("text", "text"))
"""Tokens after the class token, in this order: name in the file, name in this library."""

# Name in the file, name in this library, rows and columns of the weight, whether it has a bias.
SECOND_STREAM = (
    ("norm1_contrast", "global_norm_1", "D", "", True),
    ("norm2_contrast", "global_norm_2", "D", "", True),
    ("mlp_contrast.fc1", "global_mlp_0", "H", "D", True),
    ("mlp_contrast.fc2", "global_mlp_1", "D", "H", True),
    ("attn_contrast.q", "global_attention/query", "D", "D", False),
    ("attn_contrast.kv", "global_attention/key_value", "2D", "D", False),
    ("attn_contrast.proj", "global_attention/proj", "D", "D", True),
)

_TOKENS = r"((?:cls|img|text)_(?:token|pos))"
_TEACHERS: Rules = (
    (r"(img_proj|text_proj|cls_proj)\..+", "heads of contrastive pre-training"),
    (r"(img_encoder|text_encoder)\..+", "image and text teachers"),
)

_format = functools.partial(
    Format.of_standard_names,
    "recon",
    "ReCon",
    parts=(TRUNK, _TOKENS),
    signature=(r"blocks\.blocks\.0\.attn_contrast\.q\.weight",),
)

FORMATS = (
    _format("pre-trained", prefix=r"MAE_encoder\.", drops=DECODER + _TEACHERS),
    _format("fine-tuned", drops=HEADS + _TEACHERS),
)
