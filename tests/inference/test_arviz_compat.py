import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from bayescale.inference.arviz_compat import arviz
from tests.scaffolding.prior_posterior import prior_posterior

IMPORT = "from bayescale.inference.arviz_compat import arviz; az = arviz(); assert az.summary and az is arviz()"


def test_importing_arviz_says_and_writes_nothing(tmp_path: Path) -> None:
    """ArviZ 0.23 warns, and writes a date to the home folder, at its first import of a day; this home takes no file."""
    home = tmp_path / "home"
    home.write_text("")
    variables = os.environ | {"XDG_CACHE_HOME": str(home), "HOME": str(home), "MPLCONFIGDIR": str(tmp_path / "mpl")}
    command = [sys.executable, "-W", "error::FutureWarning", "-c", IMPORT]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_preview_of_arviz_stays_what_it_is() -> None:
    """Only ArviZ before 1.0 has this module; its stand-in must be gone after the import."""
    if int(arviz().__version__.partition(".")[0]) < 1:
        assert "not installed" in arviz().preview.info or "available, exposing" in arviz().preview.info
    else:
        assert "arviz.preview" not in sys.modules


def test_arviz_reads_the_posterior_whatever_its_version(tmp_path: Path) -> None:
    posterior = prior_posterior()
    groups = posterior.to_arviz()
    assert groups["posterior"]["configuration_effect"].dims == ("chain", "draw")
    np.testing.assert_array_equal(groups["posterior"]["configuration_effect"], posterior.draws["configuration_effect"])
    assert len(groups["observed_data"]["threshold"]) == len(posterior.crossings)
    posterior.save(tmp_path / "fit.nc")
    stored = arviz().from_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    np.testing.assert_array_equal(stored["posterior"]["configuration_effect"], posterior.draws["configuration_effect"])
