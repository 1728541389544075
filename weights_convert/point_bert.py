r"""Point-BERT (lulutang0608/Point-BERT): pre-trained and fine-tuned files.

Its patch embedder gives 256 channels, which `reduce_dim` brings to the width; both stages have a
trained class token. A pre-trained file holds two copies of the transformer, the trained one
(`transformer_q.`, which the official loader takes, and so do we) and its momentum average:

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
`cls_head_finetune.{0,3}`, (256,2D) and (classes,256). Segmentation files were not seen; the names
of their head can be given to --drop.
"""

from weights_convert.family import Format
from weights_convert.point_mae import HEADS, TOKENS, TRUNK

BRIDGE = r"(reduce_dim\..+)"

FORMATS = (
    Format(
        family="point_bert",
        title="Point-BERT",
        stage="pre-trained",
        signature=(r"transformer_q\.encoder\.first_conv\.0\.weight",),
        renames=tuple((rf"transformer_q\.{part}", r"\1") for part in (TRUNK, BRIDGE, TOKENS)),
        drops=(
            (r"transformer_k\..+", "momentum copy of the transformer"),
            (r"dvae\..+", "tokenizer of pre-training"),
            (r"queue|queue_ptr", "queue of contrastive pre-training"),
            (r"transformer_q\.(mask_token|(lm_head|cls_head)\..+)", "heads of pre-training"),
        ),
    ),
    Format(
        family="point_bert",
        title="Point-BERT",
        stage="fine-tuned",
        signature=(r"encoder\.first_conv\.0\.weight", r"reduce_dim\.weight"),
        renames=tuple((part, r"\1") for part in (TRUNK, BRIDGE, TOKENS)),
        drops=HEADS,
    ),
)
