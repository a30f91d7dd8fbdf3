"""Damage the files of an artefact at random: change bytes, cut, repeat, and put hostile pieces into them."""

import os
import struct
from pathlib import Path

import numpy as np

from bayescale.importers.event_files.records import masked_checksums

PIECES = [
    b"\0", b"\n", b",", b"nan", b"inf", b"-1", b"1e999", b"9" * 400, b"1e-400", b"NA", b"\xff\xfe", "é".encode(),
    b"[" * 2000, b"{" * 2000, b'{"a":' * 1500, b"!!python/object/apply:os.mkdir [executed]", b"&a [*a]", b"*a",
    b"cos\nmkdir\n(S'executed'\ntR.", b"<script>alert(1)</script>", b"../../x", b"\r\n", b'"', b"#{", b"\t", b"= [",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff", b"NaN", b"true", b"null", b"__class__", b"\xef\xbb\xbf", b"%s%n", b" " * 300,
]  # fmt: skip


def damage(folder: Path, rng: np.random.Generator) -> str:
    """Damage one file of the folder, and return what was done."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    file = files[rng.integers(len(files))]
    kind = str(rng.choice(["bytes"] * 6 + ["cut", "empty", "fifo", "folder", "loop", "zeros"]))
    content = bytearray(file.read_bytes())
    if kind == "bytes":
        events = "tfevents" in file.name and rng.random() < 0.8
        file.write_bytes(_changed_events(content, rng) if events else _changed(content, rng))
    elif kind == "cut":
        file.write_bytes(content[: rng.integers(len(content) + 1)])
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "zeros":
        file.write_bytes(bytes(len(content)))
    else:
        file.unlink()
        if kind == "fifo":
            os.mkfifo(file)
        elif kind == "folder":
            file.mkdir()
        else:
            file.symlink_to(file.name)
    return f"{kind} of {file.name}"


def _changed(content: bytearray, rng: np.random.Generator) -> bytes:
    for _ in range(rng.integers(1, 6)):
        place = int(rng.integers(len(content) + 1))
        kind = rng.integers(5)
        if kind == 0 and place < len(content):
            content[place] = int(rng.integers(256))
        elif kind == 1:
            del content[place : place + int(rng.integers(1, 30))]
        elif kind == 2:
            content[place:place] = content[place : place + int(rng.integers(1, 200))]
        else:
            piece = PIECES[rng.integers(len(PIECES))]
            content[place : place + (len(piece) if kind == 3 else 0)] = piece
    return bytes(content)


def _changed_events(content: bytearray, rng: np.random.Generator) -> bytes:
    """Change one event and give it the right checksums, so that the change is not found by them."""
    records, position = [], 0
    while position + 12 <= len(content):
        (length,) = struct.unpack("<Q", content[position : position + 8])
        records.append(content[position + 12 : position + 12 + length])
        position += 16 + length
    if not records:  # an earlier damage has emptied the file
        return _changed(content, rng)
    chosen = int(rng.integers(len(records)))
    records[chosen] = bytearray(_changed(records[chosen], rng))
    return b"".join(_with_checksum(struct.pack("<Q", len(r))) + _with_checksum(bytes(r)) for r in records)


def _with_checksum(part: bytes) -> bytes:
    return part + struct.pack("<I", int(masked_checksums(np.frombuffer(part, np.uint8)[None])[0]))
