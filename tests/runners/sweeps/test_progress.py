"""Test the progress of a sweep and the time left."""

import pytest

from bayescale.runners.sweeps.progress import Progress, Tally
from tests.scaffolding.small_sweep import ENSEMBLES


def test_time_left_at_the_pace_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr("bayescale.runners.sweeps.progress.floats_touched", lambda ensemble: 10 * len(ensemble))
    tally = Tally([ENSEMBLES[0], ENSEMBLES[1], ENSEMBLES[2][:1]], finished={0})
    assert tally.now() == Progress(2, 5, 0.4, 0.0, None)
    clock[0] = 130.0
    tally.advance(1, 0.5)
    assert tally.now() == Progress(2, 5, 0.6, 30.0, 60.0)  # one fifth of the work took 30 s, two fifths are left
    tally.finish(1)
    tally.finish(2)
    assert tally.now() == Progress(5, 5, 1.0, 30.0, 0.0)
