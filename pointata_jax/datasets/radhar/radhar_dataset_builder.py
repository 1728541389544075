"""tfds builder of RadHAR, from the authors' text files, their archive, or one packed file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from pointata_jax.data import schema
from pointata_jax.data.video_builder import VideoBuilder
from pointata_jax.datasets import streaming
from pointata_jax.datasets.radhar import recordings as radhar
from pointata_jax.errors import InputError

REPOSITORY = "https://github.com/nesl/RadHAR"
COMMIT = "e09a066a2ff9bf121008c538c2d4fa3261c0a5a6"


class Builder(VideoBuilder, tfds.core.GeneratorBasedBuilder):
    """RadHAR (Singh et al., mmNets 2019): five activities, sparse radar points, 30 frames/s.

    Splits are the authors' folders: by recording, not by person, since persons are not
    published. The subject of a video is therefore the name of its recording.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = radhar.WHERE
    DESCRIPTION = "Millimeter-wave radar point clouds of five human activities."
    HOMEPAGE = REPOSITORY
    LICENSE = "BSD-3-Clause"
    CITATION = (
        "Singh, Sandha, Garcia, Srivastava: RadHAR: Human Activity Recognition from Point Clouds "
        "Generated through a Millimeter-wave Radar. mmNets 2019."
    )
    COLUMNS = radhar.COLUMNS
    LABEL_NAMES = radhar.CLASSES
    DISABLE_SHUFFLING = True

    def __init__(
        self,
        *,
        partial: bool = False,
        download: bool = False,
        base_url: str = REPOSITORY,
        **kwargs: Any,
    ):
        """Declares the data set.

        Args:
          partial: use a tree or file whose counts are not the published ones.
          download: fetch the public archive instead of reading the manual folder.
          base_url: where the repository is; the archive is `base_url/archive/<commit>.zip`.
          **kwargs: those of `VideoBuilder`.
        """
        self._partial = partial
        self._download = download
        self._base_url = base_url.rstrip("/")
        super().__init__(**kwargs)

    @staticmethod
    def source_files(data_dir: str | Path) -> list[Path]:
        """The files that would be read from a data folder."""
        return radhar.source_files(radhar.find_source(data_dir))

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
                f"{url} could not be fetched ({error}); download it by hand, unpack it into the "
                "data folder and leave out the flag for the download."
            ) from error
        try:
            # The server makes the archive on request, so the whole file has no fixed checksum.
            radhar.check_archive(archive)
        except InputError as error:
            # The next try must neither take it from the cache nor compare with tfds' record of it.
            archive.unlink()
            archive.with_name(f"{archive.name}.INFO").unlink(missing_ok=True)
            raise InputError(f"The file from {url} cannot be used: {error} Try again.") from None
        return archive

    def _check(self, names: list, where: str) -> None:
        if not self._partial:
            radhar.check_text_counts(names, where)

    def _generate_examples(
        self, recordings: Iterable[radhar.Recording]
    ) -> Iterator[tuple[str, streaming.Example]]:
        for recording in recordings:
            example = schema.make_example(
                recording.points,
                frame_sizes=recording.frame_sizes,
                video_id=recording.video_id,
                subject=recording.name,
                labels=recording.label,
                num_classes=len(radhar.CLASSES),
            )
            yield recording.video_id, example
