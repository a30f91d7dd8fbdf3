"""Interrupt a fit and go on from its checkpoint: the draws are those of a fit without a break, bit by bit."""

import signal
import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

import bayescale as bs
from bayescale.inference import sampling
from bayescale.posterior.identifiability import what_the_prior_decides
from tests.scaffolding.simulated_curves import simulated_crossings

OPTIONS = {"chains": 2, "draws": 60, "warmup": 60, "require_convergence": False}


def test_a_fit_that_goes_on_has_the_draws_of_a_fit_without_a_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, checkpoint = simulated_crossings(), tmp_path / "fit.nc.checkpoint.npz"
    told: list[str] = []
    whole = bs.fit(table, **OPTIONS, tell=told.append)
    assert [line.partition(":")[0] for line in told[:2]] == ["the sweep", "sampling"]
    assert told[0].endswith("the optimal learning rate (learning rate has one value).")
    assert told[1].startswith("sampling: 2 chains of 120 iterations take about ")
    assert told[2:] == [what_the_prior_decides(whole.model, whole.draws)]
    heard = []

    def interrupt(done: int) -> None:
        heard.append(done)
        if len(heard) == 3:  # the first call counts the iterations of a checkpoint: none
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(sampling, "sampling_progress", lambda _: nullcontext((interrupt, lambda _: None)))
            with pytest.raises(KeyboardInterrupt):
                bs.fit(table, **OPTIONS, checkpoint=checkpoint)
    finally:
        signal.signal(signal.SIGINT, before)
    assert checkpoint.is_file()
    for other, options in (("sampler options", OPTIONS | {"seed": 1}), ("curves", OPTIONS)):
        changed = table if other == "sampler options" else table.assign(learning_rate=1e-3)
        with pytest.raises(bs.InputError, match=f"is of a fit with other {other}"):
            bs.fit(changed, **options, checkpoint=checkpoint, resume=True)
    resumed = bs.fit(table, **OPTIONS, checkpoint=checkpoint, resume=True)
    for name, values in whole.draws.items():
        np.testing.assert_array_equal(resumed.draws[name], values)
    for name, values in whole.statistics.items():
        np.testing.assert_array_equal(resumed.statistics[name], values)
    assert not checkpoint.exists()


def test_a_fit_cannot_go_on_from_no_file() -> None:
    with pytest.raises(bs.InputError, match=r"resume needs the file to go on from; give checkpoint\."):
        bs.fit(simulated_crossings(), resume=True)
