"""Exit with a message unless the wheel and the sdist hold each file of the package exactly once.

Arguments: the folder of the sources, the folder of the two distributions.
"""

import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

# Suffixes of the files that a distribution must hold; the last is that of the report's libraries.
SHIPPED = (".py", ".pyi", ".typed", ".jinja", ".css", ".js", ".json", ".LICENSE")


def shipped_files(source: Path, models: str, runners: str) -> set[str]:
    """Return the paths of the package's files in a distribution that keeps two folders at `models` and `runners`.

    Folders behind symbolic links are left out: their files are found where they lie.
    """
    homes = {"bayescale": "bayescale", "models": models, "runners": runners}
    return {
        f"{home}/{path.relative_to(source / folder).as_posix()}"
        for folder, home in homes.items()
        for path in (source / folder).rglob("*")
        if path.name.endswith(SHIPPED) and path.resolve().is_relative_to((source / folder).resolve())
    }


def check(name: str, came: list[str], wanted: set[str]) -> None:
    """Exit with a message if a wanted file is missing, an unwanted file came, or a file came twice."""
    files = Counter(path for path in came if path.endswith(SHIPPED))
    problems = [
        *(f"missing {path}" for path in sorted(wanted - files.keys())),
        *(f"unexpected {path}" for path in sorted(files.keys() - wanted)),
        *(f"{path} twice" for path, count in sorted(files.items()) if count > 1),
    ]
    if problems:
        sys.exit(f"{name}: " + "; ".join(problems))
    print(f"{name}: {len(wanted)} files of the package, each once")


def main(source: Path, distributions: Path) -> None:
    """Check the one wheel and the one sdist in `distributions`."""
    (wheel,) = distributions.glob("*.whl")
    (sdist,) = distributions.glob("*.tar.gz")
    modules = shipped_files(source, "bayescale/models", "bayescale/runners")
    installed = [path for path in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in path]
    check(wheel.name, installed, modules)
    with tarfile.open(sdist) as archive:
        paths = [name.split("/", 1)[1] for name in archive.getnames() if "/" in name]
    package = [path for path in paths if path.startswith(("bayescale/", "models/", "runners/"))]
    check(sdist.name, package, shipped_files(source, "models", "runners"))


main(Path(sys.argv[1]), Path(sys.argv[2]))
