"""A ladder of small temporal blocks beside a frozen backbone.

The ladder reads the tokens of the embedder and those after some blocks, and adds its own part to
what the head reads of the latter. It sends nothing back, so no gradient passes through the backbone
(Ladder Side-Tuning, Sung et al., 2022, for the idea; the blocks are those of `adapters`). The
embedder learns through the ladder alone. Where it does not learn, all tokens can be computed once
for many steps.
"""

from __future__ import annotations

from collections.abc import Sequence

from flax import linen as nn
from jaxtyping import Array, Float

from pointata_jax.models.adapters import PointVideoAdapter, temporal_correspondence
from pointata_jax.models.point_mae import NORM_EPSILON

# Distances in anchor frames, cycled over the levels: three levels reach seven anchor frames.
DILATIONS = (1, 2, 4)


class SideNetwork(nn.Module):
    """Adds to each level of tokens what a narrow stream beside the backbone made of them.

    Level by level the stream takes in the normalized, projected tokens and mixes them over time (a
    point-video adapter). Its projection back to the width of the tokens starts at zero, so at first
    the head reads the frozen tokens. Within a frame nothing is mixed, which the backbone's blocks
    do, and which would take three quarters of the time of a step on a CPU.

    Attributes:
      width: width of the stream.
      outputs: how many of the last levels the head reads.
      dropout: rate inside the adapters.
    """

    width: int = 64
    outputs: int = 3
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self,
        levels: Sequence[Float[Array, "b anchors m d"]],
        centers: Float[Array, "b anchors m 3"],
        train: bool = False,
    ) -> list[Float[Array, "b anchors m d"]]:
        """The levels that the head reads, with the ladder's part added.

        Args:
          levels: tokens after some blocks, in the order of the blocks.
          centers: places of the tokens.
          train: whether dropout is on.
        """
        batch, num_anchors, n, width = levels[0].shape
        zeros = nn.initializers.zeros
        stream = self.param("temporal_embedding", zeros, (num_anchors, self.width))[None, :, None]
        changed = []
        for index, tokens in enumerate(levels):
            rows = nn.LayerNorm(epsilon=NORM_EPSILON, name=f"norm_{index}")(tokens)
            rows = nn.Dense(self.width, name=f"down_{index}")(rows.reshape(-1, width))
            stream = stream + rows.reshape(batch, num_anchors, n, self.width)
            dilation = DILATIONS[index % len(DILATIONS)]
            table = temporal_correspondence(centers, dilation)
            adapter = PointVideoAdapter(
                self.width, dropout=self.dropout, dilation=dilation, name=f"pva_{index}"
            )
            stream = adapter(stream, table, train)
            if index < len(levels) - self.outputs:
                continue
            rows = nn.LayerNorm(epsilon=NORM_EPSILON, name=f"out_norm_{index}")(stream)
            up = nn.Dense(width, kernel_init=zeros, bias_init=zeros, name=f"up_{index}")
            changed.append(tokens + up(rows.reshape(-1, self.width)).reshape(tokens.shape))
        return changed
