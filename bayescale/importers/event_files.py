"""The events of TensorBoard's files, of which TensorBoard leaves out without a word all that follow a damaged one."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bayescale.errors import InputError

HEAD = 12  # bytes before a record: its length in 8, their checksum
CHECKSUM = 4


def read_events(file: Path) -> Iterator[Any]:
    """The file's events, of TensorBoard's type; a last one that is cut short, as by a kill, is left out with a warning.

    Raises:
        InputError: a damaged file, or none of events.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    def damaged(data: bytes) -> bool:
        return bool(masked_crc32c(data[:-CHECKSUM]) != int.from_bytes(data[-CHECKSUM:], "little"))

    at = 0
    with file.open("rb") as stream:
        while head := stream.read(HEAD):
            broken = len(head) == HEAD and damaged(head)
            length = CHECKSUM + (0 if broken else int.from_bytes(head[:8], "little"))
            record = stream.read(length)
            if not broken and len(record) < length:
                warnings.warn(f"{file} ends within a record, as after a kill or in a part of a copy.", stacklevel=2)
                return
            if broken or damaged(record):
                raise InputError(f"{file} is damaged at byte {at}. Copy it again, or cut it to its first {at} bytes.")
            yield Event.FromString(record[:-CHECKSUM])
            at += HEAD + length
