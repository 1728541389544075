r"""Point-JEPA (Ayumu-J-S/Point-JEPA) and point2vec (kabouzeid/point2vec).

Files are those of PyTorch Lightning. The blocks are Point-MAE's with biases of query, key and
value. The first layer of both halves of the mini-PointNet has no bias. A pre-trained file has a
student and its momentum average, the teacher. The official loaders use the student, and so does
this package. E. stands for `student.` in pre-trained and `encoder.` in fine-tuned files, T. for
`tokenizer.embedding.encoder.` in Point-JEPA and `tokenizer.embedding.` in point2vec:

| name in the file                               | shape       | becomes                        |
| ---------------------------------------------- | ----------- | ------------------------------ |
| T.{first_conv,second_conv}.0.weight            | see `trunk` | encoder.….0.weight, no bias    |
| T.{first_conv,second_conv}.{1,3}.*             | see `trunk` | encoder.….{1,3}.*              |
| positional_encoding.{0,2}.*                    | see `trunk` | pos_embed.{0,2}.*              |
| E.blocks.i.{norm1,attn.proj,norm2,mlp.fc1,…}.* | see `trunk` | blocks.blocks.i.…              |
| E.blocks.i.attn.qkv.{weight,bias}              | (3D,D),(3D) | blocks_i/attention/qkv         |
| E.norm.*                                       | (D)         | norm.*                         |
| cls_token, cls_pos (fine-tuned, optional)      | (D)         | the standard name              |
| teacher.*                                      | –           | dropped: average of the blocks |
| predictor.*, decoder.*, regressor.*            | –           | dropped: prediction            |
| mask_token                                     | (D)         | dropped: prediction            |
| cls_head.*, label_embedding.*, upsampling.*, … | –           | dropped: heads                 |

Published size: width 384, 12 blocks, 64 patches of 32 points (128 for part segmentation). The
settings that shapes do not show are under `hyper_parameters` in the file. Two are checked: the
published models have no radius around patches and add the position before every block.

BatchNorm statistics of some published files are not finite. The official loader of Point-JEPA
replaces NaN means by 0 and NaN variances by 1, which hides that the model was trained with others;
this package names such tensors and stops.
"""

from collections.abc import Mapping
from typing import Any

from weights_convert.family import Format, Rules

_TRUNK_NAMES = r"""
tokenizer\.embedding\.(?:encoder\.)?((?:first_conv|second_conv)\..+)  encoder.\1
positional_encoding\.(.+)                                             pos_embed.\1
ENCODER\.blocks\.(\d+\..+)                                            blocks.blocks.\1
ENCODER\.norm\.(.+)                                                   norm.\1
(cls_token|cls_pos)                                                   \1
"""
_HEADS: Rules = (
    (r"cls_head\..+", "classification head"),
    (r"(label_embedding|upsampling|seg_head)\..+", "part segmentation head"),
)
_PREDICTION: Rules = (
    (r"teacher\..+", "momentum copy of the transformer"),
    (r"mask_token|(predictor|decoder|regressor)\..+", "prediction in pre-training"),
)
_STATED: Mapping[str, tuple[Any, str]] = {
    "tokenizer_group_radius": (None, "patches within a radius, divided by it"),
    "encoder_add_pos_at_every_layer": (True, "a position that is added once"),
}


def _torch_names(encoder: str) -> Rules:
    return (
        (r"encoder\.(.+)", r"tokenizer.embedding.encoder.\1"),
        (r"pos_embed\.(.+)", r"positional_encoding.\1"),
        (r"blocks\.blocks\.(.+)", encoder + r".blocks.\1"),
        (r"norm\.(.+)", encoder + r".norm.\1"),
        (r"(cls_token|cls_pos)", r"\1"),
    )


def _format(stage: str, encoder: str, drops: Rules) -> Format:
    rows = [row.split() for row in _TRUNK_NAMES.strip().splitlines()]
    return Format(
        family="point_jepa",
        title="Point-JEPA or point2vec",
        stage=stage,
        signature=(
            r"tokenizer\.embedding\.(encoder\.)?first_conv\.0\.weight",
            encoder + r"\.blocks\.0\..+",
        ),
        renames=tuple((name.replace("ENCODER", encoder), standard) for name, standard in rows),
        drops=drops,
        variants=lambda shapes: {"qkv_bias": "all", "embedder_bias": False},
        settings={"num_groups": "tokenizer_num_groups", "num_heads": "encoder_heads"}
        | {"group_size": "tokenizer_group_size"},
        stated=_STATED,
        torch_names=_torch_names(encoder),
    )


FORMATS = (
    _format("pre-trained", "student", _PREDICTION),
    _format("fine-tuned", "encoder", _HEADS),
)
