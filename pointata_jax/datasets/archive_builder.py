"""Base classes of the tfds builders: the description of a data set, and incomplete copies."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.datasets import streaming


class VideoBuilder(tfds.core.DatasetBuilder, skip_registration=True):
    """A builder of records of the schema, described by class attributes.

    Comes before a tfds builder that writes files, such as `tfds.core.ShardBasedBuilder`, in the
    list of base classes.

    Attributes:
      DESCRIPTION: what the videos show, one sentence.
      CITATION: the publication of the data set.
      HOMEPAGE: address of the data set, if it has one.
      LICENSE: license of the data, if there is a short name for it.
      COLUMNS: names of the values of a point, x, y, z first.
      LABEL_NAMES: class names in label order; override `label_names` where a configuration decides.
      KIND: what carries a label.
      DISABLE_SHUFFLING: whether records keep the order in which they are made. Only a builder that
        sorts examples by key needs it.
    """

    DESCRIPTION: ClassVar[str]
    CITATION: ClassVar[str]
    HOMEPAGE: ClassVar[str | None] = None
    LICENSE: ClassVar[str | None] = None
    COLUMNS: ClassVar[tuple[str, ...]] = schema.COORDINATES
    LABEL_NAMES: ClassVar[tuple[str, ...]]
    KIND: ClassVar[schema.Kind] = "clip"
    DISABLE_SHUFFLING: ClassVar[bool] = False

    def __init__(self, *, file_format: str = "array_record", **kwargs: Any):
        """Declares the data set.

        Args:
          file_format: of the prepared records; the default needs no TensorFlow.
          **kwargs: `config` (where there are several), `data_dir` and others of tfds.
        """
        # The builder that writes files, behind this one, takes the format.
        super().__init__(file_format=file_format, **kwargs)  # pyright: ignore[reportCallIssue]

    @property
    def label_names(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.LABEL_NAMES

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.DESCRIPTION,
            homepage=self.HOMEPAGE,
            license=self.LICENSE,
            features=schema.video_features(self.COLUMNS, self.label_names, self.KIND),
            disable_shuffling=self.DISABLE_SHUFFLING,
            citation=self.CITATION,
        )


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
