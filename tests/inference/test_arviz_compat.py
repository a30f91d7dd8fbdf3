import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from bayescale.inference.arviz_compat import arviz
from tests.scaffolding.prior_posterior import prior_posterior


def test_importing_arviz_gives_no_warning_of_its_next_version(tmp_path: Path) -> None:
    """ArviZ 0.23 warns at its first import of a day, which a new home folder makes this import."""
    code = "from bayescale.inference.arviz_compat import arviz; arviz()"
    home = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, "-W", "error::FutureWarning", "-c", code]
    done = subprocess.run(command, env=home, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_arviz_reads_the_posterior_whatever_its_version(tmp_path: Path) -> None:
    posterior = prior_posterior()
    groups = posterior.to_arviz()
    assert groups["posterior"]["configuration_effect"].dims == ("chain", "draw")
    np.testing.assert_array_equal(groups["posterior"]["configuration_effect"], posterior.draws["configuration_effect"])
    assert len(groups["observed_data"]["threshold"]) == len(posterior.crossings)
    posterior.save(tmp_path / "fit.nc")
    stored = arviz().from_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    np.testing.assert_array_equal(stored["posterior"]["configuration_effect"], posterior.draws["configuration_effect"])
