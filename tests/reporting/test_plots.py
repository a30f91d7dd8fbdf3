import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from bayescale.errors import InputError, MissingExtra
from bayescale.reporting import diagnostic_plots, plots
from bayescale.reporting.style import pieces, plain, scientific, si

SWEPT = (1.0, 2.0, 4.0)


@pytest.fixture
def table():
    utd = 2.0 ** np.arange(-1, 3.5, 0.5)
    columns = {"utd": utd}
    laws = {
        "batch_size": 300 * utd**-0.3,
        "learning_rate": 2e-4 * utd**-0.3,
        "env_steps": 1e5 * (0.4 + utd**-0.7),
        "flops": 4e14 * utd**0.7 * (0.4 + utd**-0.7),
    }
    for name, median in laws.items():
        columns |= {f"{name}_q05": median / 1.2, f"{name}_q50": median, f"{name}_q95": median * 1.3}
    return pd.DataFrame(columns | {"p_reach": 1.0, "extrapolated": (utd < SWEPT[0]) | (utd > SWEPT[-1])})


@pytest.fixture
def crossings():
    """Return crossings of two seeds at each of three UTDs; at J = 800 the last run of UTD 1 ended at 400k env steps."""
    rows = [
        ("SAC", env_id, utd, 256, 1e-4, seed, threshold, lower, lower + 1e3, False)
        for env_id in ("Ant-v4", "Hopper-v4")
        for utd in SWEPT
        for seed in (0, 1)
        for threshold, lower in ((500.0, 1e5 / utd + 1e4 * seed), (800.0, 2e5 / utd + 1e4 * seed))
    ]
    names = ["algorithm", "env_id", "utd", "batch_size", "learning_rate", "seed", "threshold"]
    frame = pd.DataFrame(rows, columns=[*names, "env_steps_lower", "env_steps_upper", "censored"])
    ended = (frame["utd"] == 1) & (frame["seed"] == 1) & (frame["threshold"] == 800)
    return frame.assign(
        env_steps_lower=frame["env_steps_lower"].mask(ended, 4e5),
        env_steps_upper=frame["env_steps_upper"].mask(ended, np.inf),
        censored=ended,
    )


def lines(ax, style):
    """Return the (x, y) points of every line drawn in this style, for lines with two points or more."""
    return [line.get_xydata() for line in ax.lines if line.get_linestyle() == style and len(line.get_xdata()) > 1]


def marks(ax, label):
    return next(line.get_xydata() for line in ax.lines if line.get_label() == label)


def corners(patches):
    """Return all corners of the polygons, without repeats, as sorted rows."""
    return np.unique(np.concatenate([path.vertices for patch in patches for path in patch.get_paths()]), axis=0)


def labels(ax):
    return ax.get_legend_handles_labels()[1]


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("batch_size", lambda table, rows: plots.plot_rule(table, "batch_size", rows)),
        ("learning_rate", lambda table, rows: plots.plot_rule(table, "learning_rate", rows)),
        ("env_steps", lambda table, rows: plots.plot_data(table, rows, 800)),
    ],
)
def test_line_and_band_are_the_table_and_differ_beyond_the_sweep(table, crossings, name, draw):
    ax = draw(table, crossings[crossings["env_id"] == "Ant-v4"])
    inside = table[~table["extrapolated"]]
    (solid,) = lines(ax, "-")
    np.testing.assert_array_equal(solid, inside[["utd", f"{name}_q50"]])
    dashed = lines(ax, "--")
    assert [line[:, 0].tolist() for line in dashed] == [[0.5, 2**-0.5, 1.0], [4.0, 2**2.5, 8.0]]
    bands = [each for each in ax.collections if isinstance(each, PolyCollection)]
    edges = pd.concat([table[["utd", f"{name}_{q}"]].set_axis(["x", "y"], axis=1) for q in ("q05", "q95")])
    np.testing.assert_allclose(corners(bands), edges.sort_values(["x", "y"]))
    assert len({band.get_alpha() for band in bands}) == 2
    grounds = sorted((patch.get_x(), patch.get_x() + patch.get_width()) for patch in ax.patches)
    assert [grounds[0][1], grounds[1][0]] == [1.0, 4.0]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_rule_marks_each_swept_value_once(table, crossings):
    rows = crossings.assign(batch_size=np.where(crossings["utd"] > 1, 128, 256))
    drawn = marks(plots.plot_rule(table, "batch_size", rows), "value in the sweep")
    assert sorted(map(tuple, drawn)) == [(1, 256), (2, 128), (4, 128)]


def test_data_shows_runs_as_intervals_and_censored_runs_apart(table, crossings):
    rows = crossings[crossings["env_id"] == "Ant-v4"]
    ax = plots.plot_data(table, rows, 800)
    reached = rows[(rows["threshold"] == 800) & ~rows["censored"]]
    assert sorted(marks(ax, "run")[:, 1]) == sorted(reached["env_steps_upper"])
    segments = [
        segment for each in ax.collections if isinstance(each, LineCollection) for segment in each.get_segments()
    ]
    drawn = sorted((low, high) for (_, low), (_, high) in segments)
    assert drawn == sorted(zip(reached["env_steps_lower"], reached["env_steps_upper"], strict=True))
    ((x, last),) = marks(ax, "run: ended below J")
    assert last == 4e5
    assert 0.8 < x < 1.25
    assert "run: ended below J" not in labels(plots.plot_data(table, rows, 500))


def test_data_tells_runs_near_the_optimum_from_others(table, crossings):
    rows = crossings[crossings["env_id"] == "Ant-v4"]
    ax = plots.plot_data(table, rows.assign(near_optimum=rows["utd"] > 1), 800)
    assert (len(marks(ax, "run nearest to B*, η*")), len(marks(ax, "run with other B, η"))) == (4, 1)


def test_learning_curves_show_crossings_and_where_runs_ended(crossings):
    ax = plots.plot_learning_curves(crossings, "Ant-v4")
    rows = crossings[crossings["env_id"] == "Ant-v4"]
    dots = np.concatenate([line.get_xydata() for line in ax.lines if line.get_marker() == "."])
    np.testing.assert_array_equal(
        np.unique(dots, axis=0), np.unique(rows.loc[~rows["censored"], ["env_steps_upper", "threshold"]], axis=0)
    )
    ended = np.concatenate([line.get_xydata() for line in ax.lines if line.get_marker() == ">"])
    assert ended.tolist() == [[4e5, 800.0]]
    assert {"UTD 1", "UTD 2", "UTD 4", "ended below J"} <= set(labels(ax))


def test_curves_lie_behind_for_the_runs_drawn_and_leave_the_limits(crossings):
    keys = ["algorithm", "env_id", "utd", "batch_size", "learning_rate", "seed"]
    runs = crossings[keys].drop_duplicates()
    curves = runs.merge(pd.DataFrame({"env_steps": [1, 2000], "episode_return": [-1e4, 10.0]}), how="cross")
    without = plots.plot_learning_curves(crossings[crossings["seed"] == 0], "Ant-v4")
    ax = plots.plot_learning_curves(crossings[crossings["seed"] == 0], "Ant-v4", curves=curves)
    behind = next(each for each in ax.collections if each.get_rasterized())
    assert [segment.tolist() for segment in behind.get_segments()] == [[[1, -1e4], [2000, 10]]] * 3
    assert ax.get_xlim() == without.get_xlim()
    assert ax.get_ylim() == without.get_ylim()
    assert "learning curve" in labels(ax)
    by_utd = {line.get_label(): to_rgba(line.get_color())[:3] for line in ax.lines}
    assert [tuple(colour[:3]) for colour in behind.get_colors()] == [by_utd[f"UTD {utd}"] for utd in (1, 2, 4)]
    (few,) = {colour[3] for colour in behind.get_colors()}
    assert few > 0.5, "three curves are to be seen"


def test_budget_path_shows_both_intervals_the_choice_and_the_sweep(crossings):
    table = pd.DataFrame(
        {"threshold": [300.0, 500.0, 800.0], "utd_q50": [2.0, 3.5, 6.0], "budget_q50": [1e14, 3e14, 1e15]}
    )
    for name in ("utd", "budget"):
        table = table.assign(**{f"{name}_q05": table[f"{name}_q50"] / 2, f"{name}_q95": table[f"{name}_q50"] * 3})
    table["utd_chosen"] = [2.1, 3.6, 5.9]
    ax = plots.plot_budget_path(table, crossings)
    np.testing.assert_array_equal(marks(ax, "least expected budget"), table[["budget_q50", "utd_chosen"]])
    (solid,), (dashed,) = lines(ax, "-")[:1], lines(ax, "--")
    assert (solid[:, 1].tolist(), dashed[:, 1].tolist()) == ([2.0, 3.5], [3.5, 6.0])
    (bars,) = ax.containers
    ends = np.array([segment[:, 0] for segment in bars.lines[2][0].get_segments()])
    np.testing.assert_allclose(ends, table[["budget_q05", "budget_q95"]])
    bands = [each for each in ax.collections if isinstance(each, PolyCollection)]
    np.testing.assert_allclose(sorted(set(corners(bands)[:, 1])), sorted({*table["utd_q05"], *table["utd_q95"]}))
    assert [text.get_text() for text in ax.texts] == ["J = 300", "J = 800"]


def test_diagnostics_split_at_the_limits_and_name_the_worst():
    table = pd.DataFrame(
        {"r_hat": [1.0, 1.02, 1.001], "ess_bulk": [900.0, 800, 500], "ess_tail": [1000.0, 850, 390]},
        index=["level", "slope", "curvature"],
    )
    ax = diagnostic_plots.plot_diagnostics(table)
    assert marks(ax, "within the limits").tolist() == [[900, 1.0]]
    assert marks(ax, "outside the limits").tolist() == [[800, 1.02], [390, 1.001]]
    assert {text.get_text() for text in ax.texts} == {"slope", "curvature"}
    assert marks(diagnostic_plots.plot_diagnostics(table, min_ess=200), "within the limits").tolist() == [
        [900, 1.0],
        [390, 1.001],
    ]


def test_ranks_are_the_counts_of_each_chain():
    counts = np.array([[3, 5, 4], [5, 3, 4]])
    ax = diagnostic_plots.plot_chain_ranks(counts, "level[0]")
    assert [patch.get_data().values.tolist() for patch in ax.patches] == counts.tolist()
    assert labels(ax) == ["chain 1", "chain 2"]


def test_draws_on_the_axes_given_and_leaves_global_state_alone(table):
    before = dict(mpl.rcParams)
    ax = Figure().add_subplot()
    assert plots.plot_rule(table, "batch_size", table.rename(columns={"batch_size_q50": "batch_size"}), ax=ax) is ax
    assert dict(mpl.rcParams) == before


def test_importing_the_module_loads_no_matplotlib_and_drawing_no_pyplot():
    code = (
        "import sys; from bayescale.reporting import diagnostic_plots, plots; assert 'matplotlib' not in sys.modules\n"
        "import numpy as np; diagnostic_plots.plot_chain_ranks(np.ones((2, 3)), 'x')\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_name_with_dollar_signs_is_no_formula():
    ranks = diagnostic_plots.plot_chain_ranks(np.ones((2, 3), int), r"$\nonsense$")
    ranks.get_figure().savefig("/dev/null", format="png")


def test_long_names_take_lines_and_leave_the_picture_its_width(crossings):
    names = ["a" * 100, "A task whose name is a sentence of its own / and then some " * 2]
    named = crossings.assign(env_id=crossings["env_id"].map(dict(zip(("Ant-v4", "Hopper-v4"), names, strict=True))))
    drawn = [plots.plot_learning_curves(named, name) for name in names]
    for ax in drawn:
        figure = ax.get_figure()
        figure.savefig("/dev/null", format="png")  # warns where nothing is left of the axes
        assert ax.get_position().width > 0.75  # the whole width is 0.88
        assert ax.get_legend().get_window_extent().x1 <= figure.bbox.x1


def test_errors_name_the_argument_and_the_remedy(table, crossings, monkeypatch):
    with pytest.raises(InputError, match=r"env_id must be a task of the crossings; got 'Pong'\. Choose"):
        plots.plot_learning_curves(crossings, "Pong")
    with pytest.raises(InputError, match=r"name must be 'batch_size' or 'learning_rate'; got 'utd'\. Choose"):
        plots.plot_rule(table, "utd", crossings)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"'matplotlib'; install it with: pip install 'bayescale\[report\]'"):
        plots.plot_rule(table, "batch_size", crossings)


@given(st.lists(st.booleans(), min_size=2, max_size=12))
def test_pieces_cover_each_stretch_once_and_are_extrapolated_if_an_end_is(flags):
    stretches = {}
    for part, extrapolated in pieces(pd.Series(flags)):
        positions = range(len(flags))[part]
        assert len(positions) >= 2
        for first in positions[:-1]:
            assert first not in stretches
            stretches[first] = extrapolated
    assert stretches == {i: flags[i] or flags[i + 1] for i in range(len(flags) - 1)}


@pytest.mark.parametrize(
    ("show", "value", "text"),
    [
        (plain, 0.25, "0.25"),
        (plain, 16384, "16384"),
        (plain, -147.73, "-147.7"),
        (plain, 123456.7, "123457"),
        (si, 5e4, "50k"),
        (si, 1e6, "1M"),
        (si, 200, "200"),
        (scientific, 2e-4, "2e-4"),
        (scientific, 1e15, "1e15"),
        (scientific, 9.96e5, "1e6"),
        (scientific, 0.0, "0"),
        (si, 999_700.0, "1M"),
    ],
)
def test_tick_labels_are_plain(show, value, text):
    assert show(value) == text
