import re
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayescale.data.curves import validate_curves
from bayescale.errors import InputError, MissingExtra
from bayescale.importers import read_stable_baselines3, read_tensorboard

SETTINGS: dict[str, Any] = {
    "algorithm": "SAC",
    "env_id": "Pendulum-v1",
    "utd": 0.5,
    "batch_size": 256,
    "learning_rate": 3e-4,
}
STEPS = [1000, 2000, 5000]


def expected(returns, steps=STEPS, **settings):
    return pd.DataFrame({"env_steps": steps, "episode_return": returns}).assign(**SETTINGS, **settings)


def write_scalars(folder, tag, points, began=0.0, purge_step=None):
    """Write the events that torch and tensorboardX would write, one step per second."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    if purge_step is not None:
        start = SessionLog(status=SessionLog.START)
        writer.add_event(Event(step=purge_step, wall_time=began, session_log=start))
    for step, value in points:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value), Summary.Value(tag="loss", simple_value=1)])
        writer.add_event(Event(step=step, wall_time=began + step, summary=summary))
    writer.close()


def write_tensors(folder, tag, points):
    """Write the events that TensorFlow 2 would write."""
    from tensorboard.summary import Writer

    writer = Writer(str(folder))
    for step, value in points:
        writer.add_scalar(tag, np.float32(value), step)
    writer.close()


@pytest.mark.parametrize("write", [write_scalars, write_tensors])
def test_tensorboard_series_become_curves(tmp_path, write):
    write(tmp_path / "a", "eval/mean_reward", zip(STEPS, [-1500.0, -700.0, -150.5], strict=True))
    write(tmp_path / "b", "eval/mean_reward", zip(STEPS, [-1400.0, -600.0, -160.0], strict=True))
    curves = read_tensorboard({tmp_path / name: {**SETTINGS, "seed": seed} for seed, name in enumerate("ab")})
    parts = [expected([-1500.0, -700.0, -150.5], seed=0), expected([-1400.0, -600.0, -160.0], seed=1)]
    pd.testing.assert_frame_equal(curves, validate_curves(pd.concat(parts)))


def test_tensorboard_series_that_hold_no_numbers_are_not_offered(tmp_path):
    """Histograms and texts are no series of returns, whether torch or TensorFlow 2 wrote them."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.util.tensor_util import make_tensor_proto

    values = [Summary.Value(tag="old histogram", histo=HistogramProto(min=1.0))]
    arrays = {"histogram": np.ones((3, 3)), "text": np.array("words", object), "texts": np.array(["words"], object)}
    values += [Summary.Value(tag=tag, tensor=make_tensor_proto(array)) for tag, array in arrays.items()]
    values += [Summary.Value(tag="return", tensor=make_tensor_proto(np.array([7.5])))]
    writer = EventFileWriter(str(tmp_path))
    writer.add_event(Event(step=1, wall_time=1.0, summary=Summary(value=values)))
    writer.close()
    for tag in ("old histogram", *arrays):
        with pytest.raises(InputError, match=rf"has no series '{tag}'; it has return\. Give one of them"):
            read_tensorboard({tmp_path: {**SETTINGS, "seed": 0}}, tag=tag)
    assert read_tensorboard({tmp_path: {**SETTINGS, "seed": 0}}, tag="return")["episode_return"].tolist() == [7.5]


def test_tensorboard_keeps_every_point_of_a_long_series(tmp_path):
    write_scalars(tmp_path, "return", ((step, step) for step in range(12_000)))
    curves = read_tensorboard({tmp_path: {**SETTINGS, "seed": 0}}, tag="return")
    assert list(curves["env_steps"]) == list(range(12_000))


def test_tensorboard_without_the_series(tmp_path):
    write_scalars(tmp_path, "return", [(1, 1.0)])
    with pytest.raises(
        InputError, match=r"has no series 'eval/mean_reward'; it has loss, return. Give one of them as tag"
    ):
        read_tensorboard({tmp_path: SETTINGS})
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"it has no series\. Give one"):
        read_tensorboard({tmp_path / "empty": SETTINGS})
    with pytest.raises(InputError, match=r"none is not a folder. Give the folder that holds"):
        read_tensorboard({tmp_path / "none": SETTINGS})


def event_file(folder):
    (file,) = folder.iterdir()
    return file


def test_a_damaged_event_file_is_refused_wherever_it_is_damaged(tmp_path):
    write_scalars(tmp_path, "return", [(1, 1.0), (2, 2.0), (3, 3.0)])
    file = event_file(tmp_path)
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        with pytest.raises(
            InputError, match=r"is damaged at byte \d+\. Copy it again, or cut it to its first"
        ) as raised:
            read_tensorboard({tmp_path: {**SETTINGS, "seed": 0}}, tag="return")
        assert str(file) in str(raised.value)
        sound = int(re.findall(r"byte (\d+)", str(raised.value))[0])
        assert sound <= place
    file.write_bytes(file.read_bytes()[:sound])
    curves = read_tensorboard({tmp_path: {**SETTINGS, "seed": 0}}, tag="return")
    assert list(curves["env_steps"]) == [1, 2]
    file.write_bytes(b"no events at all")
    with pytest.raises(InputError, match="is damaged at byte 0"):
        read_tensorboard({tmp_path: {**SETTINGS, "seed": 0}}, tag="return")


def test_an_event_file_that_was_cut_short_is_read_with_a_warning(tmp_path):
    write_scalars(tmp_path, "return", [(1, 1.0), (2, 2.0), (3, 3.0)])
    file = event_file(tmp_path)
    whole = file.read_bytes()
    for left_out in range(1, 57, 5):  # the last record has 57 bytes, and its head 12 of them
        file.write_bytes(whole[:-left_out])
        with pytest.warns(UserWarning, match=rf"{file.name} ends within a record"):
            curves = read_tensorboard({tmp_path: {**SETTINGS, "seed": 0}}, tag="return")
        assert list(curves["env_steps"]) == [1, 2]


def test_points_that_a_resumed_run_logs_again_replace_the_earlier_ones(tmp_path):
    write_scalars(tmp_path, "return", [(10, 1.0), (20, 2.0), (30, 3.0), (40, 4.0)])
    write_scalars(tmp_path, "return", [(25, 2.4), (30, 3.4)], began=100.0)
    write_scalars(tmp_path, "loss", [(10, 1.0)], began=150.0)
    write_scalars(tmp_path, "return", [(30, 3.5), (50, 5.5)], began=200.0)
    curves = read_tensorboard({tmp_path: {**SETTINGS, "seed": 0}}, tag="return")
    expected_curves = expected([1.0, 2.0, 2.4, 3.5, 5.5], [10, 20, 25, 30, 50], seed=0)
    pd.testing.assert_frame_equal(curves, validate_curves(expected_curves), rtol=1e-6)


def test_a_resumed_run_replaces_points_from_its_purge_step_on(tmp_path):
    write_scalars(tmp_path, "return", [(10, 1.0), (20, 2.0), (30, 3.0)])
    write_scalars(tmp_path, "return", [], began=100.0, purge_step=15)
    curves = read_tensorboard({tmp_path: {**SETTINGS, "seed": 0}}, tag="return")
    assert list(curves["env_steps"]) == [10]
    write_scalars(tmp_path, "return", [(12, 1.2)], began=200.0, purge_step=5)
    curves = read_tensorboard({tmp_path: {**SETTINGS, "seed": 0}}, tag="return")
    assert list(curves["env_steps"]) == [12]


def test_a_purge_step_within_one_file_replaces_points_too(tmp_path):
    write_scalars(tmp_path / "a", "return", [(10, 1.0), (20, 2.0), (30, 3.0)])
    write_scalars(tmp_path / "b", "return", [(25, 2.5)], began=100.0, purge_step=20)
    with event_file(tmp_path / "a").open("ab") as file:
        file.write(event_file(tmp_path / "b").read_bytes())
    curves = read_tensorboard({tmp_path / "a": {**SETTINGS, "seed": 0}}, tag="return")
    assert list(curves["env_steps"]) == [10, 25]


def test_a_run_that_was_killed_before_its_first_point_is_followed_by_another(tmp_path):
    write_scalars(tmp_path, "return", [], purge_step=0)
    write_scalars(tmp_path, "return", [(10, 1.0), (20, 2.0)], began=100.0)
    curves = read_tensorboard({tmp_path: {**SETTINGS, "seed": 0}}, tag="return")
    assert list(curves["env_steps"]) == [10, 20]


@pytest.mark.parametrize("logs", [
    {0.0: [10, 20, 30, 40], 1.5: [14, 16], 11.5: [25, 35]},  # the second ends first, and the first goes on
    {0.0: [10, 20], 100.0: [30, 40, 90], 105.0: [35, 45]},  # the third begins when the first has ended, not the second
])  # fmt: skip
def test_files_that_are_written_at_the_same_time_add_up(tmp_path, logs):
    for began, steps in logs.items():
        write_scalars(tmp_path, "return", [(step, 1.0) for step in steps], began=began)
    curves = read_tensorboard({tmp_path: {**SETTINGS, "seed": 0}}, tag="return")
    assert list(curves["env_steps"]) == sorted(step for steps in logs.values() for step in steps)


def test_several_runs_in_one_folder_are_refused(tmp_path):
    """Two runs in one folder are refused whether one starts after the other or both run at the same time."""
    for name, began, said in [("after", 100.0, "starts over after .*Remove the one"), ("beside", 1.0, "came twice")]:
        write_scalars(tmp_path / name, "return", [(10, 1.0), (20, 2.0)])
        write_scalars(tmp_path / name, "return", [(10, 1.5), (20, 2.5)], began=began)
        with pytest.raises(InputError, match=said):
            read_tensorboard({tmp_path / name: {**SETTINGS, "seed": 0}}, tag="return")


def test_tensorboard_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(MissingExtra, match=re.escape("pip install 'bayescale[importers]'")):
        read_tensorboard({tmp_path: SETTINGS})


def test_settings_that_are_missing_or_wrong_name_the_run(tmp_path):
    write_scalars(tmp_path, "return", [(1, 1.0), (2, np.nan)])
    with pytest.raises(InputError, match=re.escape(f"{tmp_path} has no column 'seed'")):
        read_tensorboard({tmp_path: SETTINGS}, tag="return")
    with pytest.raises(InputError, match=re.escape(f"episode_return is missing from {tmp_path} row 1 to the end")):
        read_tensorboard({tmp_path: {**SETTINGS, "seed": 0}}, tag="return")


def write_evaluations(path, results, steps=STEPS):
    np.savez(path, timesteps=np.array(steps), results=np.array(results), ep_lengths=np.full(np.shape(results), 200))
    return path


def test_stable_baselines3_evaluations_become_curves(tmp_path):
    files = [write_evaluations(tmp_path / f"{s}.npz", [[s, 2.0], [3.0, 5.0], [6.0, 6.0]]) for s in (0, 4)]
    curves = read_stable_baselines3({f: {**SETTINGS, "seed": int(f.stem), "suite": "gym"} for f in files})
    parts = [expected([(s + 2) / 2, 4.0, 6.0], seed=s, suite="gym") for s in (0, 4)]
    pd.testing.assert_frame_equal(curves, validate_curves(pd.concat(parts)))


def test_stable_baselines3_runs_with_equal_settings_are_named(tmp_path):
    files = [write_evaluations(tmp_path / f"{name}.npz", [[1.0]], [1000]) for name in "ab"]
    with pytest.raises(InputError, match=re.escape(f"came twice: {files[0]} row 0 and {files[1]} row 0 (1 in all)")):
        read_stable_baselines3({file: {**SETTINGS, "seed": 0} for file in files})


def test_files_without_evaluations_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.ones(3))
    np.savez(tmp_path / "pickled.npz", timesteps=np.array(STEPS), results=np.array([[1], [2, 3], [4]], object))
    np.save(tmp_path / "array.npy", np.ones(3))
    (tmp_path / "text.npz").write_text("no archive")
    whole = write_evaluations(tmp_path / "cut.npz", [[1.0]] * 3).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-40])
    for name in ("other.npz", "pickled.npz", "array.npy", "text.npz", "cut.npz"):
        with pytest.raises(InputError, match=f"{name} does not hold the arrays timesteps and results. Give an"):
            read_stable_baselines3({tmp_path / name: SETTINGS})
    with pytest.raises(InputError, match=r"none.npz cannot be read \(No such file or directory\). Check the path"):
        read_stable_baselines3({tmp_path / "none.npz": SETTINGS})
    write_evaluations(tmp_path / "long.npz", [[1.0], [2.0]])
    with pytest.raises(InputError, match=re.escape("got shapes (3,) and (2, 1). Give an evaluations.npz")):
        read_stable_baselines3({tmp_path / "long.npz": SETTINGS})
    for results, steps, shapes in (([1.0] * 3, STEPS, "(3,) and (3,)"), ([[1.0]] * 3, [[1]] * 3, "(3, 1) and (3, 1)")):
        write_evaluations(tmp_path / "flat.npz", results, steps)
        with pytest.raises(InputError, match=re.escape(f"got shapes {shapes}. Give an evaluations.npz")):
            read_stable_baselines3({tmp_path / "flat.npz": SETTINGS})
    write_evaluations(tmp_path / "none.npz", [[], [], []])
    with pytest.raises(InputError, match=re.escape("got shapes (3,) and (3, 0). Give an evaluations.npz")):
        read_stable_baselines3({tmp_path / "none.npz": SETTINGS})
    write_evaluations(tmp_path / "text.npz", [["1"], ["2"], ["3"]])
    with pytest.raises(InputError, match=re.escape("text.npz must hold numbers as results; got <U1. Give an")):
        read_stable_baselines3({tmp_path / "text.npz": SETTINGS})
    write_evaluations(tmp_path / "diverged.npz", [[np.inf, -np.inf]] * 3)
    with pytest.raises(InputError, match=r"no episode_return is finite, from .*diverged.npz row 0 on"):
        read_stable_baselines3({tmp_path / "diverged.npz": {**SETTINGS, "seed": 0}})


def test_a_damaged_byte_anywhere_is_harmless_or_an_input_error(tmp_path):
    file = tmp_path / "evaluations.npz"
    np.savez_compressed(file, timesteps=np.array(STEPS), results=np.random.default_rng(0).random((3, 2)))
    whole, refused = file.read_bytes(), 0
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            read_stable_baselines3({file: {**SETTINGS, "seed": 0}})
        except InputError:
            refused += 1
    assert refused > len(whole) / 2
