"""PyTorch twins of the published models, with the official attribute names, for comparison only.

Their state dicts have exactly the official keys, so loading a synthetic checkpoint strictly also
checks the key tables of `checkpoints`.
"""

import torch
from torch import nn


class Group(nn.Module):
    def __init__(self, num_groups, group_size):
        super().__init__()
        self.num_groups, self.group_size = num_groups, group_size

    def forward(self, points):
        xyz = points[..., :3]
        rows = torch.arange(len(xyz))
        chosen = torch.zeros(len(xyz), self.num_groups, dtype=torch.long)
        nearest = torch.full(xyz.shape[:2], torch.inf, dtype=xyz.dtype)
        for i in range(1, self.num_groups):
            last = xyz[rows, chosen[:, i - 1]][:, None]
            nearest = torch.minimum(nearest, (xyz - last).square().sum(-1))
            chosen[:, i] = nearest.argmax(-1)
        centers = xyz[rows[:, None], chosen]
        index = torch.cdist(centers, xyz).topk(self.group_size, largest=False).indices
        patches = points[rows[:, None, None], index]
        local = patches[..., :3] - centers[:, :, None]
        return torch.cat([local, patches[..., 3:]], -1), centers


class Encoder(nn.Module):
    def __init__(self, widths, output, channels):
        super().__init__()
        w0, w1, w2 = widths
        self.first_conv = nn.Sequential(
            nn.Conv1d(channels, w0, 1), nn.BatchNorm1d(w0), nn.ReLU(), nn.Conv1d(w0, w1, 1)
        )
        self.second_conv = nn.Sequential(
            nn.Conv1d(2 * w1, w2, 1), nn.BatchNorm1d(w2), nn.ReLU(), nn.Conv1d(w2, output, 1)
        )

    def forward(self, patches):
        batch, groups = patches.shape[:2]
        local = self.first_conv(patches.flatten(0, 1).mT)
        whole = local.amax(2, keepdim=True).expand_as(local)
        out = self.second_conv(torch.cat([whole, local], 1)).amax(2)
        return out.unflatten(0, (batch, groups))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        query, key, value = (_heads(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x, source):
        key, value = (_heads(part, self.heads) for part in self.kv(source).chunk(2, -1))
        query = _heads(self.q(x), self.heads)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))


def _heads(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class Mlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = Attention(width, heads), Mlp(width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ReconBlock(Block):
    def __init__(self, width, heads):
        super().__init__(width, heads)
        self.norm1_contrast, self.norm2_contrast = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn_contrast, self.mlp_contrast = CrossAttention(width, heads), Mlp(width)

    def forward(self, x):
        tokens, patches = self.norm1_contrast(x[:, :3]), self.norm1(x[:, 3:])
        tokens = tokens + self.attn_contrast(tokens, patches)
        patches = patches + self.attn(patches)
        tokens, patches = self.norm2_contrast(tokens), self.norm2(patches)
        return torch.cat([tokens + self.mlp_contrast(tokens), patches + self.mlp(patches)], 1)


class Blocks(nn.Module):
    def __init__(self, kind, depth, width, heads):
        super().__init__()
        self.blocks = nn.ModuleList([kind(width, heads) for _ in range(depth)])

    def forward(self, x, position):
        for block in self.blocks:
            x = block(x + position)
        return x


class PointTransformer(nn.Module):
    """The trunk of every family; `tokens` are names of global tokens, "cls" first."""

    def __init__(
        self, width, depth, widths, heads, groups, size, tokens=(), output=None, channels=3
    ):
        super().__init__()
        self.group, self.tokens = Group(groups, size), tokens
        self.encoder = Encoder(widths, output or width, channels)
        if output:
            self.reduce_dim = nn.Linear(output, width)
        for name in tokens:
            setattr(self, f"{name}_token", nn.Parameter(torch.zeros(1, 1, width)))
            setattr(self, f"{name}_pos", nn.Parameter(torch.zeros(1, 1, width)))
        self.pos_embed = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, width))
        kind = ReconBlock if "img" in tokens else Block
        self.blocks = Blocks(kind, depth, width, heads)
        self.norm = nn.LayerNorm(width)

    def forward(self, points):
        patches, centers = self.group(points)
        x = self.encoder(patches)
        if hasattr(self, "reduce_dim"):
            x = self.reduce_dim(x)
        position = self.pos_embed(centers)
        expand = (len(points), -1, -1)
        first = [getattr(self, f"{name}_token").expand(*expand) for name in self.tokens]
        places = [getattr(self, f"{name}_pos").expand(*expand) for name in self.tokens]
        x, position = torch.cat([*first, x], 1), torch.cat([*places, position], 1)
        return self.norm(self.blocks(x, position))
