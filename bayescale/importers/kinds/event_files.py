"""Read the events of TensorBoard event files, and refuse damaged files.

TensorBoard's own reader silently drops all events after a damaged one. An event file is a sequence of records: the
length of the event in 8 bytes, a checksum of the length, the event, a checksum of the event.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bayescale.errors import InputError

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

LENGTH = 8  # bytes
CHECKSUM = 4  # bytes
HEAD = LENGTH + CHECKSUM


def read_events(file: Path) -> "Iterator[Event]":
    """Yield the events of the file.

    A last record that is cut short, because the writer was killed or the copy is incomplete, is left out with a
    warning.

    Raises:
        InputError: the file is damaged or is not an event file.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    def damaged(data: bytes) -> bool:
        return bool(masked_crc32c(data[:-CHECKSUM]) != int.from_bytes(data[-CHECKSUM:], "little"))

    position = 0
    with file.open("rb") as stream:
        while head := stream.read(HEAD):
            broken = len(head) == HEAD and damaged(head)
            length = CHECKSUM + (0 if broken else int.from_bytes(head[:LENGTH], "little"))
            record = stream.read(length)
            if not broken and len(record) < length:
                warnings.warn(
                    f"{file} ends within a record: its writer was killed, or the copy is incomplete. The events "
                    "before that record are read.",
                    stacklevel=2,
                )
                return
            if broken or damaged(record):
                raise InputError(
                    f"{file} is damaged at byte {position}. Copy it again, or cut it to its first {position} bytes."
                )
            yield Event.FromString(record[:-CHECKSUM])
            position += HEAD + length
