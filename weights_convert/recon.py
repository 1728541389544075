r"""ReCon (qizekun/ReCon): pre-trained and fine-tuned files.

The trunk's names are Point-MAE's, below `MAE_encoder.` in pre-trained files and bare in fine-tuned
ones, but its blocks compute something else (`pointata_jax.models.blocks.ReconBlock`): a second
stream of three global tokens, and residuals from the normalized input. The names and shapes here
are those of the public `models/ReCon.py` and `models/transformer.py`.

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

Published sizes (12 blocks): 192 wide with 3 heads, 256 with 4, 384 with 6. `Dis_encoder.` of the
two-tower variant is not used here: such a file has a plain Point-MAE trunk.
"""

from weights_convert.family import Format, Rules
from weights_convert.point_mae import DECODER, HEADS, TRUNK

GLOBAL_TOKENS = (("img", "image"), ("text", "text"))
"""Tokens besides the class token, in their order: name in the file, name here."""

# Name in the file, name here, rows and columns of the weight, whether there is a bias.
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

FORMATS = (
    Format(
        family="recon",
        title="ReCon",
        stage="pre-trained",
        signature=(r"MAE_encoder\.blocks\.blocks\.0\.attn_contrast\.q\.weight",),
        renames=((rf"MAE_encoder\.{TRUNK}", r"\1"), (rf"MAE_encoder\.{_TOKENS}", r"\1")),
        drops=DECODER + _TEACHERS,
    ),
    Format(
        family="recon",
        title="ReCon",
        stage="fine-tuned",
        signature=(r"blocks\.blocks\.0\.attn_contrast\.q\.weight",),
        renames=((TRUNK, r"\1"), (_TOKENS, r"\1")),
        drops=HEADS + _TEACHERS,
    ),
)
