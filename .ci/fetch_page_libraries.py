"""Fetch the plotting libraries of the report from npm and put them, with their licences, into the package.

The libraries are tracked files: run this script only to change a version. `libraries.json` in the folder of the
libraries names each package with its version, the checksum that npm publishes for it (`npm view NAME@VERSION
dist.integrity`) and the SHA-256 of the one file that the report embeds. Edit these four, then run

    python .ci/fetch_page_libraries.py

It needs npm, and it exits with a message if a checksum differs.
"""

import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "bayescale" / "reporting" / "page" / "vendor"


def fetch(library: dict[str, str], folder: Path) -> None:
    """Write the file and the licence of one library into `FOLDER`."""
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder), library["package"]]
    packed = folder / subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
    if integrity != library["integrity"]:
        sys.exit(f"{library['package']}: npm sent {integrity}; libraries.json has {library['integrity']}.")
    with tarfile.open(packed) as archive:
        for member, name in ((library["member"], library["file"]), ("package/LICENSE", library["licence"])):
            part = archive.extractfile(member)
            if part is None:
                sys.exit(f"{library['package']}: {member} is no file. Correct `member` in libraries.json.")
            (FOLDER / name).write_bytes(part.read())
    came = hashlib.sha256((FOLDER / library["file"]).read_bytes()).hexdigest()
    if came != library["sha256"]:
        sys.exit(f"{library['file']}: its SHA-256 is {came}; libraries.json has {library['sha256']}. Correct one.")
    print(f"{library['package']}: {library['file']}, {library['licence']}")


def main() -> None:
    """Fetch every library that `libraries.json` names."""
    libraries = json.loads((FOLDER / "libraries.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        for library in libraries:
            fetch(library, Path(folder))


main()
