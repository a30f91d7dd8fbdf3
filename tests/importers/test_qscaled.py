"""The arrays of the package qscaled become a table. The files here are written by hand in qscaled's layouts."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale.errors import InputError
from bayescale.importers import read_qscaled
from bayescale.importers.kinds import qscaled
from bayescale.importers.kinds.qscaled import guess_qscaled, log_qscaled
from bayescale.importers.run_logs import ColumnMapping

SAC = ColumnMapping(constants={"algorithm": "SAC"})
ARRAY = np.array([[1000, 1.0, 5.0], [2000, 2.0, np.nan], [3000, 3.0, np.nan]])
NAMED = "sweep/utd_0.25/Ant-v4/episode.return/bs_208_lr_5e-05.npy"


def write(root: Path, name: str, array: np.ndarray = ARRAY) -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, array)
    return file


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("below", ["", "sweep", "sweep/utd_0.25", "sweep/utd_0.25/Ant-v4"])
def test_a_folder_anywhere_in_the_layout_is_read(tmp_path: Path, below: str) -> None:
    write(tmp_path, NAMED)
    curves = read_qscaled(tmp_path / below, mapping=SAC)
    assert curves.groupby("seed")["env_steps"].apply(list).to_dict() == {0: [1000, 2000, 3000], 1: [1000]}
    assert curves["episode_return"].tolist() == [1.0, 2.0, 3.0, 5.0]
    first = curves.iloc[0]
    assert (first["env_id"], first["utd"], first["batch_size"], first["learning_rate"]) == ("Ant-v4", 0.25, 208, 5e-5)
    assert "status" not in curves


def test_a_zip_holds_the_same_curves_as_its_folder(tmp_path: Path) -> None:
    names = (NAMED, NAMED.replace("0.25", "4"))
    for name in names:
        write(tmp_path / "root", name)
    file = zipped(tmp_path / "all.zip", {name: npy(ARRAY) for name in names} | {"README.md": b"curves"})
    one, two = (read_qscaled(source, mapping=SAC) for source in (tmp_path / "root", file))
    pd.testing.assert_frame_equal(one, two)
    pd.testing.assert_frame_equal(read_qscaled(tmp_path / "root/sweep/utd_*", mapping=SAC), one)
    inner = zipped(tmp_path / "sweep.zip", {NAMED.removeprefix("sweep/"): npy(ARRAY)})
    assert log_qscaled(inner).runs[0].config["name"] == "sweep"


def test_the_folder_of_a_width_holds_the_model_size(tmp_path: Path) -> None:
    write(tmp_path, "sweep/w512p2286792/utd_1/Ant-v4/return/bs_512_lr_0.001.npy")
    write(tmp_path, "sweep/w256p700000/utd_1/Ant-v4/return/bs_512_lr_0.001.npy")
    curves = read_qscaled(tmp_path, mapping=SAC)
    assert set(curves["model_size"]) == {2286792, 700000}


def test_widths_without_parameters_are_a_further_column(tmp_path: Path) -> None:
    for width in (256, 512):
        write(tmp_path, f"sweep/w{width}/utd_1/Ant-v4/return/bs_512.npy")
    logs = log_qscaled(tmp_path)
    mapping, guesses = guess_qscaled(logs)
    assert mapping.columns["width"] == "width"
    assert any(guess.startswith("width: varies") for guess in guesses)
    assert all("learning_rate" not in run.config for run in logs.runs)
    with pytest.raises(InputError, match="no key gives learning_rate"):
        read_qscaled(tmp_path, mapping=SAC)
    with pytest.raises(InputError, match="width"):
        read_qscaled(tmp_path, mapping=ColumnMapping(constants={"algorithm": "SAC", "learning_rate": 1e-3}))


def test_a_file_per_task_has_its_replay_ratio_in_the_folder(tmp_path: Path) -> None:
    write(tmp_path, "results/rr10_s/Ant-v4.npy")
    run = log_qscaled(tmp_path).runs[0]
    assert run.config == {"env_id": "Ant-v4", "utd": 10.0, "model": "s", "name": "results", "seed": 0}
    answers = {"algorithm": "BRO", "batch_size": 128, "learning_rate": 3e-4}
    assert len(read_qscaled(tmp_path, mapping=ColumnMapping(constants=answers))) == 4


def test_several_returns_are_a_question(tmp_path: Path) -> None:
    write(tmp_path, NAMED)
    write(tmp_path, NAMED.replace("episode.return", "eval_return"), ARRAY + 1)
    with pytest.raises(InputError, match=r"no key gives episode_return. Likely keys: episode.return, eval_return"):
        read_qscaled(tmp_path, mapping=SAC)
    chosen = ColumnMapping(constants={"algorithm": "SAC"}, episode_return="eval_return")
    with pytest.warns(UserWarning, match="2 files or runs left out or cut short; the first is .*no row has both"):
        assert read_qscaled(tmp_path, mapping=chosen)["episode_return"].tolist() == [2.0, 3.0, 4.0, 6.0]


def test_a_return_of_infinity_is_divergence_and_a_gap_is_no_evaluation(tmp_path: Path) -> None:
    write(tmp_path, NAMED, np.array([[1, 1.0, np.nan], [2, np.nan, np.nan], [3, 3.0, np.nan], [4, np.inf, np.nan]]))
    with (
        pytest.warns(UserWarning, match="episode_return"),
        pytest.warns(UserWarning, match="1 file or run left out or cut short; .*: all its returns are missing"),
    ):
        curves = read_qscaled(tmp_path, mapping=SAC)
    assert curves["env_steps"].tolist() == [1, 3]
    assert set(curves["status"]) == {"diverged"}
    assert [one.reason for one in log_qscaled(tmp_path).skipped] == ["all its returns are missing."]


class Trap:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("executed",)


def bad_files() -> dict[str, tuple[bytes, str]]:
    good = npy(ARRAY)
    trap = io.BytesIO()
    np.save(trap, np.array([[Trap(), 1]], dtype=object), allow_pickle=True)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 9)})
    return {
        "pickled objects": (trap.getvalue(), "must hold numbers"),
        "a pickle": (pickle.dumps(Trap()), "no array"),
        "cut data": (good[:-9], "cut short"),
        "cut head": (good[:40], "no array"),
        "no bytes": (b"", "no array"),
        "a huge shape": (header.getvalue(), "cut short"),
        "text": (npy(np.array([["a", "b"]])), "must hold numbers"),
        "one column": (npy(np.ones((3, 1))), "must hold numbers"),
        "one axis": (npy(np.ones(3)), "must hold numbers"),
        "complex numbers": (npy(np.ones((3, 2), complex)), "must hold numbers"),
    }


@pytest.mark.parametrize("case", bad_files())
def test_a_bad_file_is_skipped_and_executes_nothing(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data, reason = bad_files()[case]
    file = write(tmp_path, NAMED)
    bad = file.with_name("bs_64_lr_0.1.npy")
    bad.write_bytes(data)
    logs = log_qscaled(tmp_path)
    assert len(logs.runs) == 2
    assert [one.name for one in logs.skipped] == [str(bad)]
    assert reason in logs.skipped[0].reason
    assert not (tmp_path / "executed").exists()


def test_names_that_lead_out_of_a_zip_and_large_members_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros = npy(np.zeros((1000, 3)))
    members = {NAMED: npy(ARRAY), f"../{NAMED}": npy(ARRAY), f"/{NAMED}": npy(ARRAY), "a/b.npy": npy(ARRAY)}
    file = zipped(tmp_path / "all.zip", members | {NAMED.replace("208", "64"): zeros})
    monkeypatch.setattr(qscaled, "LARGEST_FILE", 10_000)
    logs = log_qscaled(file)
    assert len(logs.runs) == 2
    last = ["MiB.", "utd_1/ENV/KEY/bs_256_lr_0.001.npy.", "zip.", "zip."]
    assert sorted(one.reason.split()[-1] for one in logs.skipped) == last
    monkeypatch.setattr(qscaled, "LARGEST_SUM", 300)
    with pytest.raises(InputError, match="exceed"):
        log_qscaled(file)


def test_a_name_in_a_zip_that_does_not_print_is_shown_in_one_line(tmp_path: Path) -> None:
    file = zipped(tmp_path / "all.zip", {"a\r\nb/\x1b[31m.npy": npy(ARRAY)})
    assert [one.name for one in log_qscaled(file).skipped] == [f"{file}/a??b/?[31m.npy"]
    with pytest.raises(InputError, match=r"^no run was found in .*a\?\?b/\?\[31m.npy: its path is none"):
        read_qscaled(file, mapping=SAC)


def test_links_to_folders_and_pipes_are_not_followed(tmp_path: Path) -> None:
    file = write(tmp_path, NAMED)
    (file.parent / "loop").symlink_to(tmp_path)
    os.mkfifo(file.with_name("bs_64_lr_0.1.npy"))
    logs = log_qscaled(tmp_path)
    assert len(logs.runs) == 2
    assert [one.reason for one in logs.skipped] == ["it is no regular file."]


@pytest.mark.parametrize("source", ["missing", "cut.zip", "a\0b", "x" * 300])
def test_a_source_that_cannot_be_read_is_an_error(tmp_path: Path, source: str) -> None:
    data = zipped(tmp_path / "good.zip", {NAMED: npy(ARRAY)}).read_bytes()
    (tmp_path / "cut.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError):
        read_qscaled(f"{tmp_path}/{source}", mapping=SAC)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no run was found"):
        read_qscaled(tmp_path / "empty", mapping=SAC)
