r"""Point-BERT (lulutang0608/Point-BERT): pre-trained and fine-tuned files.

The patch embedder outputs 256 channels, and `reduce_dim` maps them to the width. Both stages have a
trained class token. A pre-trained file holds two copies of the transformer: the trained one
(`transformer_q.`) and its momentum average (`transformer_k.`). The official loader uses the trained
one, and so does this package:

| name in the file                                        | shape            | becomes           |
| ------------------------------------------------------- | ---------------- | ----------------- |
| transformer_q.{encoder,pos_embed,blocks,norm}.*         | see `trunk`      | the standard name |
| transformer_q.reduce_dim.*                              | (D,256),(D)      | reduce_dim        |
| transformer_q.{cls_token,cls_pos}                       | (1,1,D)          | the standard name |
| transformer_q.mask_token                                | (1,1,D)          | dropped: heads    |
| transformer_q.lm_head.*, transformer_q.cls_head.{0,2}.* | (8192,D),(512,D) | dropped: heads    |
| transformer_k.*                                         | as transformer_q | dropped: average  |
| dvae.*                                                  | –                | dropped: tokens   |
| queue, queue_ptr                                        | (512,16384),(1)  | dropped: queue    |

Fine-tuned files (164 entries, 22,065,960 parameters with 40 classes) have the standard names and
`cls_head_finetune.{0,3}`, (256,2D) and (classes,256). Segmentation files were not available for
these tables. The names of their heads can be given to --drop.
"""

import functools

from weights_convert.family import FIRST_LAYER, Format
from weights_convert.point_mae import HEADS, TOKENS, TRUNK

PARTS = (TRUNK, r"(reduce_dim\..+)", TOKENS)
SIGNATURE = (FIRST_LAYER, r"reduce_dim\.weight")

_format = functools.partial(Format.of_standard_names, "point_bert", "Point-BERT", parts=PARTS)

FORMATS = (
    _format(
        "pre-trained",
        prefix=r"transformer_q\.",
        drops=(
            (r"transformer_k\..+", "momentum copy of the transformer"),
            (r"dvae\..+", "tokenizer of pre-training"),
            (r"queue|queue_ptr", "queue of contrastive pre-training"),
            (r"transformer_q\.(mask_token|(lm_head|cls_head)\..+)", "heads of pre-training"),
        ),
    ),
    _format("fine-tuned", signature=SIGNATURE, drops=HEADS),
)
