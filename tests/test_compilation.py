from pathlib import Path

import jax
import pytest

from bayescale.compilation import cache_folder, keep_compiled


@pytest.fixture
def told():
    """The folder JAX keeps compiled code in, put back afterwards."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    yield lambda: jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", before)


def test_the_folder_is_the_one_named_or_in_the_users_caches_or_none():
    named, caches, home = (
        cache_folder(environment)
        for environment in ({"BAYESCALE_CACHE": "/a"}, {"XDG_CACHE_HOME": "/b"}, {"HOME": "/c"})
    )
    assert named.parent == Path("/a")
    assert caches.parent == Path("/b/bayescale")
    assert home.parent == Path("/c/.cache/bayescale")
    assert named.name == caches.name == home.name
    assert cache_folder({"BAYESCALE_CACHE": "off", "HOME": "/c"}) is None


def test_a_folder_that_can_be_made_is_used(told, monkeypatch, tmp_path):
    monkeypatch.setenv("BAYESCALE_CACHE", str(tmp_path / "new"))
    keep_compiled()
    assert Path(told()).parent == tmp_path / "new"
    assert Path(told()).is_dir()


def test_a_folder_that_cannot_be_made_is_no_error_and_one_told_of_before_stays(told, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("BAYESCALE_CACHE", str(tmp_path / "file" / "below"))
    keep_compiled()
    assert told() is None
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    monkeypatch.setenv("BAYESCALE_CACHE", str(tmp_path / "other"))
    keep_compiled()
    assert told() == str(tmp_path)
