"""Settings that older versions wrote under other names, so that their run folders still open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RENAMED: Mapping[str, Mapping[str, str]] = {
    "clip": {
        "merge": "frame_merge",
        "hop": "stride",
        "eval_hop": "eval_stride",
        "centre": "center",
        "clip_radius": "radius_limit",
        "short": "short_clip_policy",
        "scale_low": "scale_min",
        "scale_high": "scale_max",
        "yaw": "yaw_max",
        "yaw_low": "yaw_min",
        "up": "up_axis",
        "turn": "rotation_std",
        "jitter": "jitter_std",
        "mirror": "mirror_axis",
        "drop": "point_dropout",
    },
    "model": {"num_centres": "num_centers"},
    "embedder": {"num_centres": "num_centers"},
    "adapt": {"embedder_rate": "embedder_lr_multiplier"},
}
"""By the group that a setting stands in, its former name and its present one."""


def with_present_names(settings: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    """Nested settings with every former name of `RENAMED` replaced by the present one.

    Args:
      settings: JSON values.
      group: the name that `settings` itself stands under.
    """
    names = RENAMED.get(group, {})
    return {
        names.get(name, name): with_present_names(value, name)
        if isinstance(value, Mapping)
        else value
        for name, value in settings.items()
    }
