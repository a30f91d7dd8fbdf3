"""Test that a fit saved in the current format keeps its predictions, and that other and damaged files are refused."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

import bayescale as bs

FILE = Path(__file__).parent / "data" / "fit_format_4.nc"
CONFIGS = pd.DataFrame(
    {"env_id": "Pendulum-v1", "utd": [1.0, 16.0], "batch_size": [64, 64], "learning_rate": [1e-3, 3e-3]}
)


def test_a_saved_fit_predicts_what_it_predicted_when_it_was_saved():
    posterior = bs.load(FILE)
    predicted = posterior.predict(CONFIGS)
    np.testing.assert_allclose(predicted["law_q50"], [3197.267416, 4350.765561, 617.603813, 648.184859], rtol=1e-6)
    np.testing.assert_array_equal(predicted["q95"], [4200, 5600, 1100, 1100])
    np.testing.assert_allclose(predicted["p_reach"], [0.998465, 0.980682, 0.998587, 0.981435], atol=1e-6)
    front = bs.frontier(posterior, env_id="Pendulum-v1", threshold=-200, utd=[1, 4]).table()
    np.testing.assert_allclose(front["env_steps_q50"], [4046.16883, 1312.516255], rtol=1e-6)


def test_a_fit_in_another_format_is_refused_with_the_version_that_reads_it(monkeypatch):
    monkeypatch.setattr("bayescale.posterior.netcdf.FORMAT", 5)
    said = r"fit_format_4\.nc was written by bayescale 0\.1\.0 in format 4, not 5; fit it again, or read it with that"
    with pytest.raises(bs.InputError, match=said):
        bs.load(FILE)


def test_a_fit_of_crossings_with_further_columns_is_read_back(tmp_path):
    """Columns of any type are saved; types that the file cannot hold become text."""
    posterior = bs.load(FILE)
    rows = len(posterior.crossings)
    further = posterior.crossings.assign(
        started=pd.Timestamp("2025-01-01", tz="UTC"),
        note=[None] + ["é"] * (rows - 1),
        evaluations=pd.array([None] + [3] * (rows - 1), "Int64"),
        machine=pd.Categorical(["a"] * rows, ["b", "a"]),
    )
    further[7] = 1.0
    dataclasses.replace(posterior, crossings=further).save(tmp_path / "fit.nc")
    again = bs.load(tmp_path / "fit.nc")
    pd.testing.assert_frame_equal(again.crossings[list(posterior.crossings)], posterior.crossings)
    assert set(again.crossings["machine"]) == {"a"}
    assert list(again.crossings["note"]) == ["", *["é"] * (rows - 1)]
    pd.testing.assert_frame_equal(again.predict(CONFIGS), posterior.predict(CONFIGS))


def test_a_damaged_fit_is_refused(tmp_path):
    """A file with eight overwritten bytes loads unchanged values or is refused."""
    whole = FILE.read_bytes()
    expected = bs.load(FILE)
    said = set()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole) - 8, 60):
        spoilt = bytearray(whole)
        spoilt[place : place + 8] = rng.bytes(8)
        (tmp_path / "fit.nc").write_bytes(spoilt)
        try:
            posterior = bs.load(tmp_path / "fit.nc")
        except bs.InputError as error:
            said.add(str(error).removeprefix(f"{tmp_path / 'fit.nc'} ").split(" (")[0])
        else:
            pd.testing.assert_frame_equal(posterior.crossings, expected.crossings)
            for name, values in posterior.draws.items():
                np.testing.assert_array_equal(values, expected.draws[name])
    assert said == {
        "holds no posterior that this version of bayescale reads",
        "is damaged: its content differs from what was saved. Copy it again, or fit it again.",
    }


def test_text_that_is_no_longer_utf8_is_damage(tmp_path):
    whole = FILE.read_bytes()
    for place in (whole.index(b"failure.spread"), whole.index(b"Pendulum-v1")):
        path = tmp_path / "fit.nc"
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :])
        with pytest.raises(bs.InputError, match="is damaged: its content differs from what was saved"):
            bs.load(path)


@pytest.mark.parametrize(
    ("attribute", "old", "new"),
    [
        ("model", '"failure.spread", ', '"failure.spread", '),
        ("model", "Pendulum-v1", "Pendulum-v2"),
        ("model", "0.7", "0.9"),
        ("status", "NOT_MIXED", "CONVERGED"),
        ("provenance", '"seed": "', '"seed": "1'),
    ],
)
def test_a_fit_whose_attributes_were_changed_is_refused(tmp_path, attribute, old, new):
    """Attributes hold the model and its priors: a changed one would change predictions."""
    path = tmp_path / "fit.nc"
    shutil.copy(FILE, path)
    with h5py.File(path, "r+") as file:
        text = file["posterior"].attrs[attribute]
        changed = text.replace(old, new, 1)
        file["posterior"].attrs[attribute] = changed
    assert (changed == text) == (old == new)
    if changed == text:  # the control: an attribute written again as it was
        bs.load(path)
        return
    with pytest.raises(bs.InputError, match="is damaged: its content differs from what was saved"):
        bs.load(path)


def test_a_disk_that_is_full_before_the_end_leaves_python_and_the_old_file_alone(tmp_path):
    (tmp_path / "fit.nc").write_text("old")
    program = f"""
import resource, bayescale as bs
posterior = bs.load({str(FILE)!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    posterior.save("fit.nc")
except bs.InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "fit.nc cannot be written (File too large). Free some space or choose another path.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["fit.nc"]
    assert (tmp_path / "fit.nc").read_text() == "old"


def test_a_file_that_another_process_holds_open_is_in_use(tmp_path):
    shutil.copy(FILE, tmp_path / "fit.nc")
    program = "import h5py, sys; file = h5py.File('fit.nc', 'r+'); print('open', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, **pipes) as holder:
        holder.stdout.readline()
        with pytest.raises(
            bs.InputError, match=r"fit\.nc is in use by another process, or cannot be locked here\. Close"
        ):
            bs.load(tmp_path / "fit.nc")
        holder.stdin.close()
    assert bs.load(tmp_path / "fit.nc").tasks == ("Pendulum-v1",)


def test_a_netcdf_file_of_something_else_is_refused(tmp_path):
    import xarray as xr

    path = tmp_path / "fit.nc"
    xr.Dataset({"x": ("draw", [1.0, 2.0])}).to_netcdf(path, group="posterior", engine="h5netcdf")
    with pytest.raises(bs.InputError, match=r"fit\.nc holds no posterior that this version of bayescale reads"):
        bs.load(path)
