"""Write run files of Weights & Biases record by record, with the classes of its own library."""

import json
import struct
import zlib

from bayescale.importers.kinds.wandb.run_files import BLOCK


def record(**fields: object) -> bytes:
    """Return a record in W&B's format, made with its own classes."""
    from wandb.proto import wandb_internal_pb2 as pb

    one = pb.Record()
    if "id" in fields:
        one.run.run_id = str(fields["id"])
        one.run.start_time.seconds = int(str(fields["start"]))
        for key, value in dict(fields["config"]).items():  # type: ignore[call-overload]
            one.run.config.update.add(key=key, value_json=json.dumps(value))
    else:
        for key, value in fields.items():
            one.history.item.add(key=key, value_json=value if isinstance(value, str) else json.dumps(value))
    return bytes(one.SerializeToString())


def chunks(records: list[bytes], *, chunk: int = 10**6) -> bytes:
    """Return a run file with each record in chunks of at most `chunk` bytes, and as few as the blocks allow."""
    content = bytearray(b":W&B" + struct.pack("<HB", 0xBEE1, 0))
    for one in records:
        begin, data = True, one
        while True:
            room = BLOCK - len(content) % BLOCK
            if room < 7:
                content += b"\0" * room
                continue
            part, data = data[: min(room - 7, chunk)], data[min(room - 7, chunk) :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[begin, not data]
            content += struct.pack("<IHB", zlib.crc32(part, zlib.crc32(bytes([kind]))), len(part), kind) + part
            begin = False
            if not data:
                break
    return content
