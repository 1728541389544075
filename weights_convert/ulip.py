r"""ULIP and ULIP-2 (salesforce/ULIP) with a Point-BERT encoder.

The 3D encoder is a headless Point-BERT under `point_encoder.`; its 2D-wide output (class token and
maximum) goes through `pc_projection` to the space of an image-text model, which may be in the file:

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
from weights_convert.point_bert import BRIDGE
from weights_convert.point_mae import TOKENS, TRUNK

FORMATS = (
    Format(
        family="ulip",
        title="ULIP (Point-BERT encoder)",
        stage="pre-trained",
        signature=(
            r"point_encoder\.encoder\.first_conv\.0\.weight",
            r"point_encoder\.reduce_dim\.weight",
        ),
        renames=tuple((rf"point_encoder\.{part}", r"\1") for part in (TRUNK, BRIDGE, TOKENS)),
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
