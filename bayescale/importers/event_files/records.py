"""Read the events of TensorBoard event files, and find damage.

TensorBoard's own reader silently drops all events after a damaged one. An event file is a sequence of records: the
length of the event in 8 bytes, a checksum of the length, the event, a checksum of the event. Checksums are the masked
CRC-32C; they are computed for many records at once, because a loop over bytes takes 40 times as long.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from jaxtyping import UInt

from bayescale.errors import MissingExtra
from bayescale.importers.run_folders import Unusable, open_plain

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

LENGTH = 8  # bytes
CHECKSUM = 4  # bytes
HEAD = LENGTH + CHECKSUM
BATCH = 4096  # records that are checked at once
LARGEST_EVENT = 2**16  # bytes; longer events hold images and the like, and are skipped
POLYNOMIAL = 0x82F63B78  # CRC-32C, bits reversed
MASK_DELTA = 0xA282EAD8


class CutShort(Unusable):
    """A file ends within a record; the events before that record were read."""


@dataclass(frozen=True)
class _Record:
    """One record; its event is empty where it is longer than `LARGEST_EVENT`."""

    position: int
    head: bytes
    event: bytes


def read_events(file: Path) -> "Iterator[Event]":
    """Yield the events of the file that are no longer than `LARGEST_EVENT`.

    Raises:
        Unusable: the file is damaged or is not an event file.
        CutShort: after the last event, the file ends within a record. The writer was killed, or the copy is incomplete.
        MissingExtra: tensorboard is not installed.
    """
    require_tensorboard()
    from tensorboard.compat.proto.event_pb2 import Event

    with open_plain(file) as stream:
        for records, cut in _batches(stream, os.fstat(stream.fileno()).st_size):
            damaged = _damaged(records)
            for record in records[:damaged]:
                try:
                    event = Event.FromString(record.event[:-CHECKSUM])
                except Exception:  # DecodeError of protobuf, which has no public base class in all versions
                    raise _damage(record.position) from None
                yield event
            if damaged < len(records):
                raise _damage(records[damaged].position)
            if cut:
                raise CutShort("it ends within a record; the events before that record are read.")


def require_tensorboard() -> None:
    """Raise MissingExtra unless tensorboard is installed."""
    try:
        import tensorboard.compat.proto.event_pb2  # noqa: F401 - the import is the test
    except ImportError:
        raise MissingExtra("tensorboard", "importers") from None


def _damage(position: int) -> Unusable:
    return Unusable(f"it is damaged at byte {position}. Copy it again, or cut it to its first {position} bytes.")


def _batches(stream: BinaryIO, size: int) -> Iterator[tuple[list[_Record], bool]]:
    """Yield the next records, up to `BATCH` and a few MiB, and True if the file ends within the record after them."""
    position = 0
    while position < size:
        records: list[_Record] = []
        cut = False
        while len(records) < BATCH and not cut:
            head = stream.read(HEAD)
            if not head:
                break
            length = int.from_bytes(head[:LENGTH], "little") + CHECKSUM
            end = position + HEAD + length
            cut = len(head) < HEAD or end > size
            if cut:
                if len(head) == HEAD:
                    records.append(_Record(position, head, b""))  # The length may be damaged.
                break
            if length > LARGEST_EVENT:
                stream.seek(end)
            event = stream.read(length) if length <= LARGEST_EVENT else b""
            records.append(_Record(position, head, event))
            position = end
        yield records, cut
        if cut or not records:
            return


def _damaged(records: Sequence[_Record]) -> int:
    """Return the number of the first record whose checksum is wrong, or the number of records."""
    heads = _wrong([record.head for record in records])
    events = _wrong([record.event for record in records])
    wrong = np.flatnonzero(heads | events)
    return int(wrong[0]) if len(wrong) else len(records)


def _wrong(blocks: Sequence[bytes]) -> np.ndarray:
    """Return True for each block whose last bytes are not the checksum of the bytes before; empty blocks are right."""
    lengths = np.array([len(block) for block in blocks], np.int64)
    wrong = np.zeros(len(blocks), bool)
    for length in np.unique(lengths[lengths > 0]):
        own = np.flatnonzero(lengths == length)
        table = np.frombuffer(b"".join(blocks[int(i)] for i in own), np.uint8).reshape(len(own), length)
        stored = np.ascontiguousarray(table[:, -CHECKSUM:]).view("<u4").ravel()
        wrong[own] = masked_checksums(table[:, :-CHECKSUM]) != stored
    return wrong


def masked_checksums(blocks: UInt[np.ndarray, "block byte"]) -> UInt[np.ndarray, " block"]:
    """Return the masked CRC-32C of each block of bytes."""
    crc = np.full(len(blocks), 0xFFFFFFFF, np.uint32)
    for byte in np.ascontiguousarray(blocks.T):
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> np.uint32(8))
    crc = ~crc
    return np.asarray(((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(MASK_DELTA))


def _table() -> UInt[np.ndarray, "256"]:
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, (crc >> np.uint32(1)) ^ np.uint32(POLYNOMIAL), crc >> np.uint32(1))
    return crc


TABLE = _table()
