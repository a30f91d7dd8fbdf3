"""Test sweeps on a Ray cluster of three nodes on this machine: a head without cores and two nodes that train."""

import dataclasses
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bayescale.data.curves import read_curves
from bayescale.errors import BayeScaleError, InputError, MissingExtra
from bayescale.runners import Plan, Progress, make_plan, run_ensemble, run_sweep
from bayescale.runners.sweeps.folder import checkpoint_file
from bayescale.runners.sweeps.jobs import Failed, Job, Trained
from bayescale.runners.sweeps.ray_engine import RayEngine, _train
from bayescale.runners.sweeps.sweep import SweepInterrupted

if find_spec("ray") is None:
    pytest.skip("the extra ray is not installed", allow_module_level=True)
import ray  # a broken installation fails the tests

pytestmark = [
    pytest.mark.ray,
    # Ray's Cluster forks and execs to start its nodes. JAX, if an earlier test started it, warns of the fork.
    pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning"),
]

CONTENT: dict[str, Any] = {
    "env_id": "InvertedPendulum-v5",
    "utd": [0.5, 2],
    "batch_size": [8, 16],
    "learning_rate": [1e-3],
    "seed": [0, 1],
    "env_steps": 90,
    "hidden_width": 8,
    "warmup_steps": 40,
    "evaluation_interval": 50,
    "evaluation_episodes": 1,
}
PLAN = make_plan(CONTENT)  # four jobs
LONG = CONTENT | {"utd": [1], "batch_size": [8], "env_steps": 4_000, "evaluation_interval": 20}  # one job


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    patience = pytest.MonkeyPatch()  # a busy machine starts nodes slowly, and Ray gives its workers a low priority
    patience.setenv("RAY_raylet_start_wait_time_s", "240")
    patience.setenv("RAY_worker_niceness", "0")
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80 * 2**20})
    for _ in range(2):
        nodes.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    nodes.wait_for_nodes()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the nodes set a handler that ends them and this process
    yield nodes
    nodes.shutdown()
    patience.undo()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the table that local processes make."""
    return run_sweep(PLAN, tmp_path_factory.mktemp("local") / "out", workers=1).read_bytes()


def test_a_cluster_makes_the_same_table_though_a_node_is_killed(cluster: Any, local: bytes, tmp_path: Path) -> None:
    heard = []

    def kill_a_node(progress: Progress) -> None:
        heard.append(progress.runs_done)
        if progress.runs_done == 2:
            with pytest.raises(InputError, match="a sweep is at work"):
                run_sweep(PLAN, out, resume=True)
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    out = tmp_path / "out"
    table = run_sweep(PLAN, out, engine="ray", address=cluster.address, on_progress=kill_a_node)
    assert heard == [0, 2, 4, 6, 8]
    assert len(cluster.list_all_nodes()) == 2
    assert table.read_bytes() == local
    records = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [record["status"] for record in records] == ["finished"] * 8
    assert not ray.is_initialized()


def test_sigterm_leaves_a_checkpoint_and_says_how_to_continue(cluster: Any, tmp_path: Path) -> None:
    long = make_plan(LONG)
    out = tmp_path / "out"

    def terminate() -> None:
        while not checkpoint_file(out, 0).exists():
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)

    threading.Thread(target=terminate, daemon=True).start()
    with pytest.raises(SweepInterrupted, match=r"stopped: it was interrupted.*continue with resume \(--resume\)"):
        run_sweep(long, out, engine="ray", address=cluster.address, checkpoint_minutes=1e-9)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert not ray.is_initialized()
    assert checkpoint_file(out, 0).exists()
    table = run_sweep(long, out, resume=True, engine="ray", address=cluster.address)
    undisturbed = read_curves(result.curve for result in run_ensemble(long.runs))
    pd.testing.assert_frame_equal(pd.read_parquet(table).drop(columns="status"), undisturbed, check_exact=True)


def test_a_job_that_is_cancelled_is_asked_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def try_job(_job: Job, _on_progress: Any, must_end: Callable[[], bool] = lambda: False) -> bool:
        assert not must_end()
        signal.raise_signal(signal.SIGINT)  # `ray.cancel` does this
        return must_end()

    monkeypatch.setattr("bayescale.runners.sweeps.ray_engine.try_job", try_job)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert _train(Job(0, PLAN.runs[:2], checkpoint_file(tmp_path, 0), 60.0))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        for checkpoint in (None, tmp_path / "not on this node" / "checkpoints" / "00000.pt"):
            with pytest.raises(KeyboardInterrupt):
                _train(Job(0, PLAN.runs[:2], checkpoint, 60.0))
    finally:
        signal.signal(signal.SIGINT, before)


def test_sigterm_while_ray_starts_is_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(**_settings: Any) -> None:
        raise SystemExit(15)

    monkeypatch.setattr(ray, "init", ended)
    with pytest.raises(SweepInterrupted):
        run_sweep(PLAN, tmp_path / "out", engine="ray", address="local")


def test_a_cluster_without_a_gpu(cluster: Any, tmp_path: Path) -> None:
    on_gpu = Plan(tuple(dataclasses.replace(run, device="cuda") for run in PLAN.runs))
    with pytest.raises(BayeScaleError, match=r"device 'cuda' is on no node of the Ray cluster\. Add one"):
        run_sweep(on_gpu, tmp_path / "out", engine="ray", address=cluster.address)
    assert not ray.is_initialized()


def test_no_cluster_at_the_address(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no Ray cluster answers at 'localhost:1'.*Start one or correct it"):
        run_sweep(PLAN, tmp_path / "out", engine="ray", address="localhost:1")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "127.0.0.1:1",
            r"no Ray cluster answers at '127\.0\.0\.1:1' \(RAY_ADDRESS\): .*refused\. Start one, or correct or un",
        ),
        ("ray://127.0.0.1:1", r"no Ray cluster answers at 'ray://127\.0\.0\.1:1' \(RAY_ADDRESS\)"),
        ("[::1]:1", r"no Ray cluster answers at '\[::1\]:1' \(RAY_ADDRESS\)"),
        ("a" * 100 + ".org:1", r"no Ray cluster answers at 'a+\.org:1' \(RAY_ADDRESS\)"),
        ("127.0.0.1", r"RAY_ADDRESS must be HOST:PORT, .*; got '127\.0\.0\.1'\. Correct it"),
    ],
)
@pytest.mark.parametrize("given", [None, "auto"])
def test_a_stale_address_in_the_environment(
    address: str, said: str, given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(ray, "init", None)
    with pytest.raises(InputError, match=said):
        run_sweep(PLAN, tmp_path / "out", engine="ray", address=given)
    assert not (tmp_path / "out").exists()


def test_a_crashed_cluster_that_ray_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray._private.utils.read_ray_address", lambda: "127.0.0.1:1")
    seen: set[str] = set()
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", lambda: seen)
    monkeypatch.setattr(ray, "init", None)
    said = r"answers at '127\.0\.0\.1:1' \(the last cluster of this machine\): .*refused\. Ray takes it for running\."
    for address in (None, "auto"):
        with pytest.raises(InputError, match=said):
            run_sweep(PLAN, tmp_path / "out", engine="ray", address=address)
    seen.add("127.0.0.1:2")  # Ray joins a process that it sees, if the address is "auto"
    RayEngine("auto").check(PLAN.runs)
    with pytest.raises(InputError, match=said):
        RayEngine(None).check(PLAN.runs)
    monkeypatch.setattr("ray._private.utils.read_ray_address", lambda: "")  # a cluster that was stopped
    RayEngine(None).check(PLAN.runs)


def test_a_cluster_that_this_process_is_connected_to_needs_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    RayEngine(None).check(PLAN.runs)


def test_the_address_local_asks_ray_for_a_new_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def started(**settings: Any) -> None:
        asked.append(settings["address"])
        raise ConnectionError("No room.")

    monkeypatch.setattr(ray, "init", started)
    with pytest.raises(BayeScaleError, match=r"Ray has no cluster on this machine \(No room\)"):
        run_sweep(PLAN, tmp_path / "out", engine="ray", address="local")
    assert asked == ["local"]


@pytest.mark.parametrize("address", ["nonsense", "localhost:", "ray://localhost", "localhost:70000", "spark://a:1"])
def test_an_address_that_is_not_well_formed_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=rf"address must be HOST:PORT, ray://HOST:PORT, auto or local; got '{address}'\. Corr"
    ):
        run_sweep(PLAN, tmp_path / "out", engine="ray", address=address)
    assert not (tmp_path / "out").exists()


def test_no_cluster_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(**_settings: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nMore.")

    monkeypatch.setattr(ray, "init", nowhere)
    with pytest.raises(
        BayeScaleError, match=r"Ray has no cluster at 'auto' \(Could not find any running Ray instance\)"
    ):
        run_sweep(PLAN, tmp_path / "out", engine="ray", address="auto")


def test_a_job_that_fails_leaves_the_others_alone(cluster: Any) -> None:
    sound = PLAN.runs[:1]
    ensembles = (dataclasses.replace(sound[0], env_id="Nowhere-v0"),), sound
    jobs = [Job(number, ensemble, None, 60.0) for number, ensemble in enumerate(ensembles)]
    came = dict(RayEngine(cluster.address).train(jobs, workers=1))
    assert isinstance(came[0], Failed)
    assert "'Nowhere-v0' is not a registered Gymnasium task" in came[0].reason
    assert isinstance(came[1], Trained)


def test_an_address_asks_for_ray(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"address 'auto' is of a Ray cluster, and engine is 'local'\. Set engine"):
        run_sweep(PLAN, tmp_path / "out", address="auto")


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"'ray'; install it with: pip install 'bayescale\[ray\]'"):
        run_sweep(PLAN, tmp_path / "out", engine="ray")
