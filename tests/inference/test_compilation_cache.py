import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from bayescale.inference.compilation_cache import cache_folder, compiled_code_kept


@pytest.fixture
def folder_in_use():
    """Return a function that asks JAX for its cache folder; afterwards JAX gets its earlier folder back."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    yield lambda: jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", before)


def test_the_cache_folder_is_the_named_one_or_lies_in_the_users_cache_folder_or_is_off():
    named, caches, home = (
        cache_folder(environment)
        for environment in ({"BAYESCALE_CACHE": "/a"}, {"XDG_CACHE_HOME": "/b"}, {"HOME": "/c"})
    )
    assert named.parent == Path("/a")
    assert caches.parent == Path("/b/bayescale")
    assert home.parent == Path("/c/.cache/bayescale")
    assert named.name == caches.name == home.name
    assert cache_folder({"BAYESCALE_CACHE": "off", "HOME": "/c"}) is None


def test_a_user_without_a_home_folder_has_the_named_cache_folder_or_none(monkeypatch):
    for variable in ("HOME", "USERPROFILE", "HOMEPATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # the answer for a user id without an entry
    assert cache_folder({}) is cache_folder({"HOME": ""}) is cache_folder({"BAYESCALE_CACHE": "~/c"}) is None
    assert cache_folder({"BAYESCALE_CACHE": "/a"}).parent == Path("/a")


def test_the_named_folder_may_lie_below_the_home_folder():
    assert cache_folder({"BAYESCALE_CACHE": "~/c", "HOME": "/home"}).parent == Path("/home/c")
    assert cache_folder({"BAYESCALE_CACHE": "~", "HOME": "/home"}).parent == Path("/home")


FULL = """
import resource, sys
from pathlib import Path
import jax
from bayescale.inference.compilation_cache import compiled_code_kept
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))  # the folder takes only the first bytes of each file
with compiled_code_kept():
    for power in (2, 3):
        jax.jit(lambda x: x**power)(1.0)
assert list(Path(sys.argv[1]).glob("*/*-cache")), "no file was kept"
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_folder_gives_no_warning(tmp_path):
    for _ in range(2):  # the second process reads the files that the first could not finish
        command = [sys.executable, "-c", FULL, str(tmp_path)]
        environment = os.environ | {"BAYESCALE_CACHE": str(tmp_path), "JAX_PLATFORMS": "cpu"}
        ran = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
        assert (ran.returncode, ran.stderr) == (0, "")


def test_a_folder_that_can_be_made_is_used(folder_in_use, monkeypatch, tmp_path):
    monkeypatch.setenv("BAYESCALE_CACHE", str(tmp_path / "new"))
    with compiled_code_kept():
        pass
    assert Path(folder_in_use()).parent == tmp_path / "new"
    assert Path(folder_in_use()).is_dir()


def test_a_folder_that_cannot_be_made_is_no_error_and_one_chosen_before_stays(folder_in_use, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("BAYESCALE_CACHE", str(tmp_path / "file" / "below"))
    with compiled_code_kept():
        pass
    assert folder_in_use() is None
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    monkeypatch.setenv("BAYESCALE_CACHE", str(tmp_path / "other"))
    with compiled_code_kept():
        pass
    assert folder_in_use() == str(tmp_path)


OTHER_DEVICE = """
import jax
import bayescale as bs
from bayescale.inference import sampling
from tests.scaffolding.simulated_curves import simulated_crossings

jax.config.update("jax_default_device", jax.devices()[1])  # in place of a GPU
diagnose, used = sampling.diagnose, set()


def noting(parameters):
    used.update(device for array in jax.live_arrays() for device in array.devices() if array.size > 100)
    return diagnose(parameters)


sampling.diagnose = noting
posterior = bs.fit(simulated_crossings(), chains=1, draws=40, warmup=50, require_convergence=False)
assert used == {jax.devices()[0]}, used
assert jax.numpy.zeros(3).devices() == {jax.devices()[1]}, "the caller's arrays keep their device"
print(posterior.predict(posterior.crossings[["env_id", "utd", "batch_size", "learning_rate"]][:1])["q50"].iloc[0])
"""


def test_chains_run_on_the_cpu_whatever_jax_would_choose():
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", OTHER_DEVICE], env=environment, cwd=root, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0
