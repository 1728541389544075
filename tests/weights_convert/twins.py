"""PyTorch twins of the published models, with the official attribute names, for comparison only.

Their state dicts have exactly the official keys, so loading a synthetic checkpoint strictly also
checks the key tables of `checkpoints`.
"""

from typing import Any

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
    def __init__(self, widths, output, channels, bias=True):
        super().__init__()
        w0, w1, w2 = widths
        first = nn.Conv1d(channels, w0, 1, bias=bias)
        second = nn.Conv1d(2 * w1, w2, 1, bias=bias)
        self.first_conv = nn.Sequential(first, nn.BatchNorm1d(w0), nn.ReLU(), nn.Conv1d(w0, w1, 1))
        self.second_conv = nn.Sequential(
            second, nn.BatchNorm1d(w2), nn.ReLU(), nn.Conv1d(w2, output, 1)
        )

    def forward(self, patches):
        batch, groups = patches.shape[:2]
        local = self.first_conv(patches.flatten(0, 1).mT)
        whole = local.amax(2, keepdim=True).expand_as(local)
        out = self.second_conv(torch.cat([whole, local], 1)).amax(2)
        return out.unflatten(0, (batch, groups))


class Attention(nn.Module):
    def __init__(self, width, heads, bias=False):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
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
    def __init__(self, width, heads, bias=False):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = Attention(width, heads, bias), Mlp(width)

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

    def places(self, centers):
        """What the position MLP reads."""
        return centers

    def forward(self, points):
        patches, centers = self.group(points)
        x = self.encoder(patches)
        if hasattr(self, "reduce_dim"):
            x = self.reduce_dim(x)
        position = self.pos_embed(self.places(centers))
        expand = (len(points), -1, -1)
        first = [getattr(self, f"{name}_token").expand(*expand) for name in self.tokens]
        places = [getattr(self, f"{name}_pos").expand(*expand) for name in self.tokens]
        x, position = torch.cat([*first, x], 1), torch.cat([*places, position], 1)
        return self.norm(self.blocks(x, position))


class PcpTransformer(PointTransformer):
    """PCP-MAE: the position MLP reads sines and cosines of the centers."""

    def __init__(self, width, **others):
        super().__init__(width=width, **others)
        self.pos_embed = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def places(self, centers):
        count = len(self.norm.weight) // 6
        waves = [
            wave(centers[..., axis] / 10000 ** (i / count))
            for axis in range(3)
            for wave in (torch.sin, torch.cos)
            for i in range(count)
        ]
        return torch.stack(waves, -1)


class _Holder(nn.Module):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


class PointJepa(nn.Module):
    """Point-JEPA (`nested`) and point2vec; `encoder` is the name of the transformer."""

    def __init__(
        self, width, depth, widths, heads, groups, size, encoder="student", nested=True, token=False
    ):
        super().__init__()
        self.group, self.place = Group(groups, size), encoder
        embedding = Encoder(widths, width, 3, bias=False)
        self.tokenizer = _Holder(embedding=_Holder(encoder=embedding) if nested else embedding)
        self.nested = nested
        self.positional_encoding = nn.Sequential(
            nn.Linear(3, 128), nn.GELU(), nn.Linear(128, width)
        )
        blocks = nn.ModuleList([Block(width, heads, bias=True) for _ in range(depth)])
        setattr(self, encoder, _Holder(blocks=blocks, norm=nn.LayerNorm(width)))
        if token:
            self.cls_token = nn.Parameter(torch.zeros(width))
            self.cls_pos = nn.Parameter(torch.zeros(width))

    def forward(self, points):
        patches, centers = self.group(points)
        embedding: Any = self.tokenizer.embedding
        x = (embedding.encoder if self.nested else embedding)(patches)
        position = self.positional_encoding(centers)
        if hasattr(self, "cls_token"):
            x = torch.cat([self.cls_token.expand(len(x), 1, -1), x], 1)
            position = torch.cat([self.cls_pos.expand(len(x), 1, -1), position], 1)
        encoder = getattr(self, self.place)
        for block in encoder.blocks:
            x = block(x + position)
        return encoder.norm(x)


class EvaAttention(nn.Module):
    def __init__(self, width, heads, fused):
        super().__init__()
        self.heads, self.fused = heads, fused
        if fused:
            self.qkv = nn.Linear(width, 3 * width, bias=False)
            self.q_bias = nn.Parameter(torch.zeros(width))
            self.v_bias = nn.Parameter(torch.zeros(width))
        else:
            self.q_proj, self.v_proj = nn.Linear(width, width), nn.Linear(width, width)
            self.k_proj = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        if self.fused:
            query, key, value = self.qkv(x).chunk(3, -1)
            query, value = query + self.q_bias, value + self.v_bias
        else:
            query, key, value = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        query, key, value = (_heads(part, self.heads) for part in (query, key, value))
        weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
        return self.proj((weights @ value).transpose(1, 2).flatten(2))


class EvaMlp(nn.Module):
    def __init__(self, width, kind):
        super().__init__()
        self.kind = kind
        hidden = 4 * width if kind == "giant" else 8 * width // 3
        if kind == "separate":
            self.fc1_g, self.fc1_x = nn.Linear(width, hidden), nn.Linear(width, hidden)
            self.norm = nn.LayerNorm(hidden, eps=1e-6)
        else:
            self.fc1 = nn.Linear(width, hidden if kind == "giant" else 2 * hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x):
        if self.kind == "giant":
            return self.fc2(nn.functional.gelu(self.fc1(x)))
        if self.kind == "separate":
            return self.fc2(self.norm(nn.functional.silu(self.fc1_g(x)) * self.fc1_x(x)))
        gate, value = self.fc1(x).chunk(2, -1)
        return self.fc2(nn.functional.silu(gate) * value)


class EvaBlock(nn.Module):
    def __init__(self, width, heads, kind):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = EvaAttention(width, heads, kind != "separate"), EvaMlp(width, kind)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Uni3D(nn.Module):
    """Uni3D; the result has the normalized class token first, then the patch tokens as they are."""

    def __init__(self, width, depth, widths, heads, groups, size, kind, output):
        super().__init__()
        self.group = Group(groups, size)
        blocks = nn.ModuleList([EvaBlock(width, heads, kind) for _ in range(depth)])
        self.point_encoder = _Holder(
            encoder=Encoder(widths, output, 6),
            encoder2trans=nn.Linear(output, width),
            pos_embed=nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, width)),
            cls_token=nn.Parameter(torch.zeros(1, 1, width)),
            cls_pos=nn.Parameter(torch.zeros(1, 1, width)),
            visual=_Holder(blocks=blocks, fc_norm=nn.LayerNorm(width, eps=1e-6)),
        )

    def forward(self, points):
        own: Any = self.point_encoder
        patches, centers = self.group(points)
        x = own.encoder2trans(own.encoder(patches)) + own.pos_embed(centers)
        first = (own.cls_token + own.cls_pos).expand(len(x), -1, -1)
        x = torch.cat([first, x], 1)
        for block in own.visual.blocks:
            x = block(x)
        return torch.cat([own.visual.fc_norm(x[:, :1]), x[:, 1:]], 1)
