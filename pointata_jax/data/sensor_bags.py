"""Reads the point clouds of ROS bags: ROS 1 (.bag), ROS 2 (.mcap, .db3, or a folder of these)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pointata_jax.data.file_faults import DAMAGED, one_line, unreadable
from pointata_jax.data.sensor_files import (
    Frame,
    frame_from_fields,
    sensor_library,
    unpacked_colors,
)
from pointata_jax.errors import InputError

SUFFIXES = (".bag", ".mcap", ".db3")
"""Endings of bags that are files, in lower case."""

METADATA = "metadata.yaml"
"""The file that makes a folder a bag of ROS 2."""

_MESSAGE = "sensor_msgs/msg/PointCloud2"
# By the constants of sensor_msgs/PointField.
_DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}


def is_bag(path: str | Path) -> bool:
    """Whether a path has the form of a bag."""
    path = Path(path)
    return path.suffix.lower() in SUFFIXES if path.is_file() else (path / METADATA).is_file()


def find_topic(path: str | Path, topic: str | None = None) -> tuple[str, int]:
    """The topic to read from a bag, and the number of its messages.

    Args:
      path: the bag.
      topic: name of the topic; None for the only one with point clouds.

    Raises:
      InputError: the bag cannot be read, or has no such topic, or `topic` is None and several
        topics have point clouds.
    """
    path = Path(path)
    reader = _open_bag(path)
    try:
        with reader:
            topics = {
                name: (info.msgtype, int(info.msgcount)) for name, info in reader.topics.items()
            }
    except Exception as error:
        raise _fault(path, error) from None
    clouds = sorted(name for name, (kind, _) in topics.items() if kind == _MESSAGE)
    if topic is not None and topic in clouds:
        return topic, topics[topic][1]
    if topic is None and len(clouds) == 1:
        return clouds[0], topics[clouds[0]][1]
    if topic is not None:
        raise InputError(
            f"{path} has no PointCloud2 topic {topic!r}; such topics are "
            f"{', '.join(clouds) or 'none'}."
        )
    if clouds:
        raise InputError(
            f"{path} has {len(clouds)} topics with point clouds; choose one: {', '.join(clouds)}."
        )
    others = ", ".join(f"{name} ({kind})" for name, (kind, _) in sorted(topics.items()))
    raise InputError(f"{path} has no PointCloud2 topic; its topics are {others or 'none'}.")


def read_clouds(
    path: str | Path, topic: str, start: int = 0, stop: int | None = None
) -> Iterator[Frame]:
    """Reads the messages `start` to `stop - 1` of a topic, one at a time.

    The time of a frame is that of its header, or that of its recording where the header has none.

    Raises:
      InputError: the bag or a message is damaged.
    """
    path = Path(path)
    reader = _open_bag(path)
    stores = sensor_library("rosbags.typesys", "ROS bags")
    ros1 = path.suffix.lower() == ".bag"
    # The message is the same in all versions of ROS 2, so definitions in the bag are not needed.
    store = stores.get_typestore(stores.Stores.ROS1_NOETIC if ros1 else stores.Stores.LATEST)
    deserialize = store.deserialize_ros1 if ros1 else store.deserialize_cdr
    try:
        with reader:
            connections = [
                connection
                for connection in reader.connections
                if connection.topic == topic and connection.msgtype == _MESSAGE
            ]
            messages = reader.messages(connections=connections)
            for index, (_, recorded, raw) in enumerate(itertools.islice(messages, stop)):
                if index < start:
                    continue
                cloud = deserialize(raw, _MESSAGE)
                stamp = cloud.header.stamp
                time = stamp.sec + stamp.nanosec * 1e-9 or recorded * 1e-9
                yield cloud_frame(cloud, f"{path}, message {index} of {topic}", time)
    except InputError:
        raise
    except Exception as error:
        raise _fault(path, error) from None


def cloud_frame(cloud: Any, where: str, time: float | None = None) -> Frame:
    """The points of a message sensor_msgs/PointCloud2.

    Args:
      cloud: the message, or any object with its attributes.
      where: what the message is, for errors.
      time: in seconds.

    Raises:
      InputError: fields outside of a point, unknown types, fewer data than the message announces,
        or no coordinates.
    """
    order = ">" if cloud.is_bigendian else "<"
    data = np.ascontiguousarray(cloud.data).view(np.uint8)
    width, height, step, row = (
        int(n) for n in (cloud.width, cloud.height, cloud.point_step, cloud.row_step)
    )
    if not width * height:
        return Frame(np.empty((0, 3), np.float32), ("x", "y", "z"), time, 0)
    if height == 1:
        row = width * step  # Some drivers leave it out where there is one row.
    if row < width * step or (height - 1) * row + width * step > data.size or not step:
        raise InputError(
            f"{where} announces {height} rows of {width} points of {step} bytes, and has "
            f"{data.size} bytes; it is damaged."
        )
    fields = []
    for field in cloud.fields:
        name, offset = str(field.name), int(field.offset)
        count = max(int(field.count), 1)  # Some drivers write 0 for a single number.
        dtype = np.dtype(order + _DATATYPES.get(field.datatype, "V1"))
        if dtype.kind == "V" or offset + count * dtype.itemsize > step:
            raise InputError(
                f"{where}: the field {name!r} of type {field.datatype} at byte {offset} does not "
                f"fit into points of {step} bytes; it is damaged."
            )
        values = np.ndarray(
            (height, width, count), dtype, data.data, offset, (row, step, dtype.itemsize)
        ).reshape(height * width, count)
        fields.append((name, values[:, 0] if count == 1 else values))
    return frame_from_fields(unpacked_colors(fields), where, time)


def _open_bag(path: Path) -> Any:
    """The reader of the library for a bag, not yet opened."""
    suffix = path.suffix.lower() if path.is_file() else "ROS bags"
    version = "rosbag1" if suffix == ".bag" else "rosbag2"
    library = sensor_library(f"rosbags.{version}", suffix)
    try:
        return library.Reader(path)
    except Exception as error:
        raise _fault(path, error) from None


def _fault(path: Path, error: Exception) -> InputError:
    """The error to raise where reading a bag failed; a bag may be a folder."""
    if path.is_dir():
        return InputError(DAMAGED.format(path=path, why=one_line(error), advice="copy it again"))
    return unreadable(path, error)
