"""A fit saved in format 1, of eight draws: it must go on meaning what it meant when it was written."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayescale as bs

FILE = Path(__file__).parent / "data" / "fit_format_1.nc"
CONFIGS = pd.DataFrame(
    {"env_id": "Pendulum-v1", "utd": [1.0, 16.0], "batch_size": [64, 64], "learning_rate": [1e-3, 3e-3]}
)


def test_a_fit_of_an_earlier_version_answers_as_it_did():
    posterior = bs.load(FILE)
    predicted = posterior.predict(CONFIGS)
    np.testing.assert_allclose(predicted["law_q50"], [3160.5212, 3946.265264, 593.749087, 697.032729], rtol=1e-6)
    np.testing.assert_array_equal(predicted["q95"], [4200, 5800, 1200, 1500])
    np.testing.assert_allclose(predicted["p_reach"], [0.998765, 0.977006, 0.999028, 0.976226], atol=1e-6)
    front = bs.frontier(posterior, env_id="Pendulum-v1", threshold=-200, utd=[1, 4]).table()
    np.testing.assert_allclose(front["env_steps_q50"], [3627.879834, 1231.073557], rtol=1e-6)


def test_a_fit_in_another_format_is_refused_with_the_version_that_reads_it(monkeypatch):
    monkeypatch.setattr("bayescale.posterior.FORMAT", 2)
    said = r"fit_format_1\.nc was written by bayescale 0\.1\.0 in format 1, not 2; fit it again, or read it with that"
    with pytest.raises(bs.InputError, match=said):
        bs.load(FILE)


def test_a_netcdf_file_of_something_else_is_refused(tmp_path):
    import xarray as xr

    path = tmp_path / "fit.nc"
    xr.Dataset({"x": ("draw", [1.0, 2.0])}).to_netcdf(path, group="posterior", engine="h5netcdf")
    with pytest.raises(bs.InputError, match=r"fit\.nc holds no posterior that this version of bayescale reads"):
        bs.load(path)
