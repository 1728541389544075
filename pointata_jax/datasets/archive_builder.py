"""What the builders of public archives share: an incomplete copy, a protocol, the record format."""

from __future__ import annotations

from typing import Any

import tensorflow_datasets as tfds

from pointata_jax.datasets import streaming


class ArchiveBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
    """A builder of an archive with published counts and a published protocol."""

    def __init__(
        self,
        *,
        partial: bool = False,
        protocol: streaming.Protocol = "corrected",
        file_format: str = "array_record",
        **kwargs: Any,
    ):
        """Declares the data set.

        Args:
          partial: use a copy whose files or counts are not the published ones; what lists name and
            the copy lacks is left out.
          protocol: "corrected" or "published", see the class.
          file_format: of the prepared records; the default needs no TensorFlow.
          **kwargs: `config` (where there are several), `data_dir` and others of tfds.
        """
        self._partial = partial
        self._protocol = streaming.check_protocol(protocol)
        super().__init__(file_format=file_format, **kwargs)
