"""Event files that are broken, odd or not of TensorBoard are left out with a reason."""

import os
import struct
from pathlib import Path

import numpy as np

from bayescale.importers import read_tensorboard
from bayescale.importers.event_files.records import LARGEST_EVENT, masked_checksums
from bayescale.importers.kinds.tensorboard import log_tensorboard
from bayescale.importers.run_logs import ColumnMapping
from tests.scaffolding.event_files import constants, event_file, write_series


def with_checksum(part: bytes) -> bytes:
    return part + struct.pack("<I", int(masked_checksums(np.frombuffer(part, np.uint8)[None])[0]))


def head(length: int) -> bytes:
    """Return the head of a record of an event file."""
    return with_checksum(struct.pack("<Q", length))


def record(event: bytes) -> bytes:
    """Return an event as a record of an event file."""
    return head(len(event)) + with_checksum(event)


def test_checksums_agree_with_those_of_tensorboard() -> None:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    rng = np.random.default_rng(0)
    for length in (0, 1, 8, 60, 300):
        blocks = rng.integers(0, 256, (5, length), np.uint8)
        assert masked_checksums(blocks).tolist() == [int(masked_crc32c(block.tobytes())) for block in blocks]


def test_odd_tensors_and_long_events_are_no_points(tmp_path: Path) -> None:
    """Every odd value has its checksum right, so that only its type or its shape is wrong."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

    def shaped(*sizes: int) -> TensorShapeProto:
        return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])

    odd = [
        TensorProto(dtype=1, tensor_shape=shaped(-1, -1), float_val=[1.0]),
        TensorProto(dtype=1, tensor_shape=shaped(2**62), float_val=[1.0]),
        TensorProto(dtype=1, tensor_content=b"123"),
        TensorProto(dtype=77, float_val=[1.0]),
        TensorProto(dtype=7, string_val=[b"\xff"]),
        TensorProto(dtype=1),
        TensorProto(dtype=1, float_val=[1.0, 2.0]),
    ]
    events = [Event(step=i, summary=Summary(value=[Summary.Value(tag="eval/r", tensor=t)])) for i, t in enumerate(odd)]
    events += [Event(step=50, summary=Summary(value=[Summary.Value(tag="eval/r", simple_value=2.0)]))]
    events += [Event(step=60, graph_def=b"x" * (LARGEST_EVENT + 1))]
    hparams = Summary.Value(tag="_hparams_/session_start_info")
    hparams.metadata.plugin_data.plugin_name = "hparams"
    hparams.metadata.plugin_data.content = b"\xff\xff no proto"
    events += [Event(summary=Summary(value=[hparams]))]
    events += [Event(step=70, summary=Summary(value=[Summary.Value(tag="eval/r", simple_value=3.0)]))]
    (tmp_path / "events.out.tfevents.1.host").write_bytes(b"".join(record(e.SerializeToString()) for e in events))
    assert [len(run.history) for run in log_tensorboard(tmp_path).runs] == [2]
    mapping = ColumnMapping(**{**vars(constants()), "episode_return": "eval/r"})
    assert read_tensorboard(tmp_path, mapping=mapping)["env_steps"].tolist() == [50, 70]


def test_broken_event_files_are_left_out_with_a_reason(tmp_path: Path) -> None:
    good = write_series(tmp_path / "good", eval__return=[(100, 1.0), (200, 2.0)])
    whole = event_file(good).read_bytes()
    names = ("cut", "flipped", "text", "fifo", "folder", "loop", "proto", "huge")
    files = {name: tmp_path / name / "events.out.tfevents.1" for name in names}
    for file in files.values():
        file.parent.mkdir()
    files["cut"].write_bytes(whole[:-5])
    files["flipped"].write_bytes(whole[:20] + bytes([whole[20] ^ 1]) + whole[21:])
    files["text"].write_text("this is no event file")
    os.mkfifo(files["fifo"])
    files["folder"].mkdir()
    files["loop"].symlink_to(files["loop"])
    files["proto"].write_bytes(record(b"\xff\xff\xff"))
    files["huge"].write_bytes(head(2**60) + b"few bytes")
    (tmp_path / "self").symlink_to(tmp_path)
    logs = log_tensorboard(tmp_path)
    assert [Path(run.name).name for run in logs.runs] == ["cut", "good"]
    reasons = {Path(one.name).parent.name: one.reason for one in logs.skipped}
    for name, said in {
        "cut": "ends within a record", "flipped": "damaged at byte", "text": "damaged at byte 0",
        "fifo": "no plain file", "folder": "no plain file", "loop": "cannot be read", "proto": "damaged at byte 0",
        "huge": "ends within a record",
    }.items():  # fmt: skip
        assert said in reasons[name], name
    assert set(reasons) == set(names)
