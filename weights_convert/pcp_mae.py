r"""PCP-MAE (aHapBean/PCP-MAE): pre-trained and fine-tuned files.

Names and trunk are those of Point-MAE (`point_mae`), except that the position MLP reads sines and
cosines of the coordinates of a center (`pointata_jax.models.point_mae.sinusoidal_features`) and has
D hidden channels. A file is told from Point-MAE's by the square first matrix of that MLP. Names and
shapes are those of the public `models/PCP_MAE.py` and `models/pos.py`.

| name in the file                              | shape         | becomes                          |
| --------------------------------------------- | ------------- | -------------------------------- |
| MAE_encoder.{encoder,pos_embed,blocks,norm}.* | see `trunk`   | the standard name                |
| …pos_embed.{0,2}.*                            | (D,D),(D)     | position/dense_{0,1}             |
| MAE_encoder.mask_pos_token                    | (1,1,D)       | dropped: prediction of positions |
| pred_pos_proj.{0,1,3}.*, pred_pos_decoder.*   | (D,D),(D)     | dropped: prediction of positions |
| mask_token, MAE_decoder.*, increase_dim.0.*   | as Point-MAE  | dropped: decoder                 |
| cls_token, cls_pos (fine-tuned)               | (1,1,D)       | the standard name                |
| cls_head_finetune.{0,1,4,5,8}.* (fine-tuned)  | (256,2D) …    | dropped: head                    |

Published size: width 384, 12 blocks, 64 patches of 32 points.
"""

import functools
import re
from collections.abc import Mapping, Sequence

from weights_convert.family import FIRST_LAYER, Format, Rules
from weights_convert.point_mae import DECODER, HEADS, TOKENS, TRUNK

_POSITIONS: Rules = (
    (r"(MAE_encoder\.)?mask_pos_token|pred_pos_(proj|decoder)\..+", "prediction of positions"),
)


def _has_square_position(prefix: str, shapes: Mapping[str, Sequence[int]]) -> bool:
    found = (
        s for name, s in shapes.items() if re.fullmatch(prefix + r"pos_embed\.0\.weight", name)
    )
    return any(len(shape) == 2 and shape[0] == shape[1] != 3 for shape in found)


def _format(stage: str, prefix: str, parts: tuple[str, ...], drops: Rules) -> Format:
    return Format.of_standard_names(
        "pcp_mae",
        "PCP-MAE",
        stage,
        prefix=prefix,
        parts=parts,
        signature=(FIRST_LAYER, r"pos_embed\.0\.weight"),
        drops=drops,
        fits=functools.partial(_has_square_position, prefix),
        variants=lambda shapes: {"position_input": "sinusoidal"},
    )


FORMATS = (
    _format("pre-trained", r"MAE_encoder\.", (TRUNK,), DECODER + _POSITIONS),
    _format("fine-tuned", "", (TRUNK, TOKENS), HEADS),
)
