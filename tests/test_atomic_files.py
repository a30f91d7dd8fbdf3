from pathlib import Path

from bayescale.atomic_files import PARTIAL, remove_partial_files, whole_file


def test_unfinished_files_of_killed_writers_are_recognised_and_removed(tmp_path: Path) -> None:
    for folder, name in ((tmp_path, "plan.json"), (tmp_path / "groups", "00000.parquet"), (tmp_path, "without")):
        folder.mkdir(exist_ok=True)
        (folder / f".{name}").write_text("a user's hidden file")
        with whole_file(folder / name) as partial:
            partial.write_text("new")
        assert PARTIAL.fullmatch(partial.name)
        partial.write_text("left by a killed writer")
    remove_partial_files(tmp_path)
    files = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert files == [".00000.parquet", ".plan.json", ".without", "00000.parquet", "plan.json", "without"]
