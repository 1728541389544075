r"""Point-MAE (Pang-Yatian/Point-MAE): pre-trained and fine-tuned files.

Pre-trained files hold 209 entries (29,006,432 parameters at size `small`):

| name in the file                               | shape           | becomes                   |
| ---------------------------------------------- | --------------- | ------------------------- |
| MAE_encoder.{encoder,pos_embed,blocks,norm}.*  | see `trunk`     | the standard name         |
| mask_token                                     | (1,1,D)         | dropped: decoder          |
| decoder_pos_embed.{0,2}.*                      | (128,3),(D,128) | dropped: decoder          |
| MAE_decoder.blocks.{0-3}.*, MAE_decoder.norm.* | as the trunk's  | dropped: decoder          |
| increase_dim.0.*                               | (3·32,D,1),…    | dropped; tells group size |

They have no class token. Fine-tuned files (174 entries, 22,099,752 parameters with 40 classes) have
the standard names and a trained class token:

| name in the file                  | shape       | becomes           |
| --------------------------------- | ----------- | ----------------- |
| cls_token, cls_pos                | (1,1,D)     | the standard name |
| {encoder,pos_embed,blocks,norm}.* | see `trunk` | the standard name |
| cls_head_finetune.{0,1,4,5,8}.*   | (256,2D) …  | dropped: head     |

Part segmentation files (key `model_state_dict`) have no class token and another head: label_conv,
propagation_0, convs{1-3}, bns{1,2}.
"""

import functools

from weights_convert.family import Format, Rules

TRUNK = r"((?:encoder|pos_embed|blocks|norm)\..+)"
TOKENS = r"(cls_token|cls_pos)"
DECODER: Rules = (
    (r"mask_token|(decoder_pos_embed|MAE_decoder|increase_dim)\..+", "decoder of pre-training"),
)
HEADS: Rules = (
    (r"cls_head_finetune\..+", "classification head"),
    (r"(label_conv|propagation_\d|convs\d|bns\d)\..+", "part segmentation head"),
)

_format = functools.partial(Format.of_standard_names, "point_mae", "Point-MAE")

FORMATS = (
    _format("pre-trained", prefix=r"MAE_encoder\.", parts=(TRUNK,), drops=DECODER),
    _format("fine-tuned", parts=(TRUNK, TOKENS), drops=HEADS),
)
