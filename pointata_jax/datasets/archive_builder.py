"""Base classes of the tfds builders of archives, of which a copy may be incomplete."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import tensorflow_datasets as tfds

from pointata_jax.data.video_builder import VideoBuilder
from pointata_jax.datasets import streaming


class ArchiveBuilder(VideoBuilder, tfds.core.ShardBasedBuilder, skip_registration=True):
    """A builder of an archive with published counts and a published protocol."""

    def __init__(
        self,
        *,
        partial: bool = False,
        protocol: streaming.Protocol = "corrected",
        **kwargs: Any,
    ):
        """Declares the data set.

        Args:
          partial: use a copy whose files or counts are not the published ones. Videos that lists
            name and the copy lacks are left out.
          protocol: "corrected" or "published", see the class.
          **kwargs: those of `VideoBuilder`.
        """
        self._partial = partial
        self._protocol = streaming.check_protocol(protocol)
        super().__init__(**kwargs)


Config = TypeVar("Config", bound=tfds.core.BuilderConfig)

_PARTIAL_SUFFIX = "_partial"


def with_partial(configs: Sequence[Config]) -> list[Config]:
    """The configurations, followed by one "<name>_partial" for incomplete copies of each.

    Args:
      configs: dataclasses with a field `partial`, which is False.
    """
    return [
        *configs,
        *(
            dataclasses.replace(
                config,
                name=f"{config.name}{_PARTIAL_SUFFIX}",
                description=f"{config.description}, or any part of the data set",
                partial=True,
            )
            for config in configs
        ),
    ]


class PartialConfigBuilder(VideoBuilder, skip_registration=True):
    """A builder whose configurations are those of `with_partial`.

    Comes before a tfds builder that writes files in the list of base classes.
    """

    def __init__(
        self,
        *,
        config: str | tfds.core.BuilderConfig | None = None,
        partial: bool = False,
        **kwargs: Any,
    ):
        """Declares the data set.

        Args:
          config: name of one of the `BUILDER_CONFIGS`, the first by default, or a configuration
            with a name of its own.
          partial: use a copy whose counts are not the published ones; chooses the configuration
            "<name>_partial".
          **kwargs: those of `VideoBuilder`.
        """
        if partial and not isinstance(config, tfds.core.BuilderConfig):
            name = config or self.BUILDER_CONFIGS[0].name
            config = f"{name.removesuffix(_PARTIAL_SUFFIX)}{_PARTIAL_SUFFIX}"
        super().__init__(config=config, **kwargs)
