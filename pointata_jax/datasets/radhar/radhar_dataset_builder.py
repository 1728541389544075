"""tfds builder of RadHAR, from the authors' text files, their archive, or one packed file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.datasets import streaming
from pointata_jax.datasets.radhar import recordings as radhar
from pointata_jax.errors import InputError

REPOSITORY = "https://github.com/nesl/RadHAR"
COMMIT = "e09a066a2ff9bf121008c538c2d4fa3261c0a5a6"
CITATION = (
    "Singh, Sandha, Garcia, Srivastava: RadHAR: Human Activity Recognition from Point Clouds "
    "Generated through a Millimeter-wave Radar. mmNets 2019."
)


class Builder(tfds.core.GeneratorBasedBuilder):
    """RadHAR (Singh et al., mmNets 2019): five activities, sparse radar points, 30 frames/s.

    Splits are the authors' folders: by recording, not by person, since persons are not
    published. The subject of a video is therefore the name of its recording.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = radhar.WHERE
    COLUMNS = radhar.COLUMNS
    LABEL_NAMES = radhar.CLASSES

    def __init__(
        self,
        *,
        partial: bool = False,
        download: bool = False,
        base_url: str = REPOSITORY,
        file_format: str = "array_record",
        **kwargs: Any,
    ):
        """Declares the data set.

        Args:
          partial: use a tree or file whose counts are not the published ones.
          download: fetch the public archive instead of reading the manual folder.
          base_url: where the repository is; the archive is `base_url/archive/<commit>.zip`.
          file_format: of the prepared records; the default needs no TensorFlow.
          **kwargs: `data_dir` and others of tfds.
        """
        self._partial = partial
        self._download = download
        self._base_url = base_url.rstrip("/")
        super().__init__(file_format=file_format, **kwargs)

    @staticmethod
    def source_files(data_dir: str | Path) -> list[Path]:
        """The files that would be read from a data folder."""
        return radhar.source_files(radhar.find_source(data_dir))

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Millimeter-wave radar point clouds of five human activities.",
            homepage=REPOSITORY,
            license="BSD-3-Clause",
            features=schema.video_features(self.COLUMNS, self.LABEL_NAMES),
            disable_shuffling=True,
            citation=CITATION,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        if self._download:
            archive = self._fetch(dl_manager)
            self._check(radhar.archive_names(archive), "The archive")
            return {
                split: self._generate_examples(radhar.read_archive(archive, split))
                for split in radhar.SPLIT_FOLDERS
            }
        source = radhar.find_source(streaming.manual_folder(dl_manager, radhar.WHERE))
        if source.is_dir():
            self._check(radhar.tree_names(source), f"The folder {source}")
            return {
                split: self._generate_examples(radhar.read_tree(source, split))
                for split in radhar.SPLIT_FOLDERS
            }
        packed = radhar.read_packed(source, partial=self._partial)
        return {
            split: self._generate_examples([r for r in packed if r.split == split])
            for split in radhar.SPLIT_FOLDERS
        }

    def _fetch(self, dl_manager: tfds.download.DownloadManager) -> Path:
        url = f"{self._base_url}/archive/{COMMIT}.zip"
        try:
            archive = Path(dl_manager.download(url))
        except Exception as error:
            raise InputError(
                f"{url} could not be fetched ({error}); fetch it by hand, unpack it into the data "
                "folder and leave out the download."
            ) from error
        try:
            # Made anew by the server on request, so there is no checksum of the whole to compare.
            radhar.check_archive(archive)
        except InputError as error:
            # Else the next try would take it from the cache, or compare with tfds' note about it.
            archive.unlink()
            archive.with_name(f"{archive.name}.INFO").unlink(missing_ok=True)
            raise InputError(f"What came from {url} cannot be used: {error} Try again.") from None
        return archive

    def _check(self, names: list, where: str) -> None:
        if not self._partial:
            radhar.check_text_counts(names, where)

    def _generate_examples(
        self, recordings: Iterable[radhar.Recording]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for recording in recordings:
            yield (
                recording.video_id,
                schema.make_example(
                    recording.points,
                    frame_sizes=recording.frame_sizes,
                    video_id=recording.video_id,
                    subject=recording.name,
                    labels=recording.label,
                    num_classes=len(radhar.CLASSES),
                ),
            )
