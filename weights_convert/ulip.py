r"""ULIP and ULIP-2 (salesforce/ULIP) with a Point-BERT encoder.

The 3D encoder is a Point-BERT without a head under `point_encoder.`. `pc_projection` maps its
output (class token and maximum, 2D channels) to the space of an image-text model. That model may be
in the file:

| name in the file                                       | shape            | becomes           |
| ------------------------------------------------------ | ---------------- | ----------------- |
| point_encoder.{encoder,pos_embed,blocks,norm}.*        | see `trunk`      | the standard name |
| point_encoder.encoder.first_conv.0.weight              | (128,3 or 6,1)   | 6 with colors    |
| point_encoder.reduce_dim.*                             | (D,256),(D)      | reduce_dim        |
| point_encoder.cls_token, point_encoder.cls_pos         | (1,1,D)          | the standard name |
| pc_projection, logit_scale                             | (2D,512 or 1280) | dropped           |
| visual.*, transformer.*, token_embedding.*, ln_final.* | –                | dropped           |
| positional_embedding, {image,text}_projection          | –                | dropped           |
| open_clip_model.* (ULIP-2)                             | –                | dropped           |

Published configurations: 512 patches of 32 points; ULIP 12 blocks, 8,192 points; ULIP-2 18 blocks,
10,000 colored points (x, y, z, red, green, blue).
"""

from weights_convert.family import Format
from weights_convert.point_bert import PARTS, SIGNATURE

FORMATS = (
    Format.of_standard_names(
        "ulip",
        "ULIP (Point-BERT encoder)",
        "pre-trained",
        prefix=r"point_encoder\.",
        parts=PARTS,
        signature=SIGNATURE,
        drops=(
            (
                r"pc_projection|logit_scale|positional_embedding|image_projection|text_projection"
                r"|(visual|transformer|token_embedding|ln_final|open_clip_model)\..+",
                "image-text model and projections",
            ),
        ),
        num_groups=512,
    ),
)
