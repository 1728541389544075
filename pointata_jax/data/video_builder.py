"""The base class of all tfds builders: the description of a data set by class attributes."""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow_datasets as tfds

from pointata_jax.data import schema


class VideoBuilder(tfds.core.DatasetBuilder, skip_registration=True):
    """A builder of records of the schema, described by class attributes.

    Comes before a tfds builder that writes files, such as `tfds.core.ShardBasedBuilder`, in the
    list of base classes.

    Attributes:
      DESCRIPTION: what the videos show, one sentence.
      CITATION: the publication of the data set, if there is one.
      HOMEPAGE: address of the data set, if it has one.
      LICENSE: license of the data, if there is a short name for it.
      COLUMNS: names of the values of a point, x, y, z first.
      LABEL_NAMES: class names in label order; override `label_names` where a configuration decides.
      KIND: what carries a label.
      DISABLE_SHUFFLING: whether records keep the order in which they are made. Only a builder that
        sorts examples by key needs it.
    """

    DESCRIPTION: ClassVar[str]
    CITATION: ClassVar[str | None] = None
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
