"""Test that the runners import torch late and name the extra when a package is missing."""

import subprocess
import sys

import pytest

import bayescale.runners
from bayescale.errors import MissingExtra
from bayescale.runners.algorithms import sac  # noqa: F401 - the last test removes this module and the next two
from bayescale.runners.suites import environments  # noqa: F401
from bayescale.runners.training import loop  # noqa: F401


def test_torch_is_imported_only_when_training_starts() -> None:
    code = "import sys, bayescale.runners; sys.exit('torch' in sys.modules or 'gymnasium' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("package", ["torch", "gymnasium", "threadpoolctl"])
def test_a_missing_package_names_the_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, module in (("training", "loop"), ("suites", "environments"), ("algorithms", "sac")):
        monkeypatch.delitem(sys.modules, f"bayescale.runners.{folder}.{module}")
        monkeypatch.delattr(sys.modules[f"bayescale.runners.{folder}"], module)
    monkeypatch.delitem(vars(bayescale.runners), "train", raising=False)  # an earlier use stores it there
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"'{package}'; install it with: pip install 'bayescale\[runners\]'"):
        _ = bayescale.runners.train
