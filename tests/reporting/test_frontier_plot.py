"""Test that the plot of the frontier draws the numbers of its table, and that its texts cover no other text."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.text import Text

from bayescale.decisions.frontier import Frontier
from bayescale.decisions.utility import Prices
from bayescale.errors import InputError
from bayescale.reporting.frontier_plot import BAND, PALE, plot_frontier

UTD = 2.0 ** np.arange(-1, 4.25, 0.25)  # the sweep covers UTD 1 to 8
PRICES = Prices(flop=1.0, env_step=2e9)


def front(threshold=800.0, env_id="Ant-v4", settings="cheapest", times=1.0, draws=200):
    """Return a frontier whose cost is least inside the sweep."""
    rng = np.random.default_rng(0)
    steps = times * 1e5 * (0.4 + 1 / UTD) * np.exp(0.1 * rng.standard_normal((draws, 1)))
    batch = 128 * np.exp((0.3 if settings == "law" else 0.0) * rng.standard_normal((draws, 1))) * np.ones(len(UTD))
    flops = 10 * 1e5 * batch * UTD * steps
    outside = (UTD < 1) | (UTD > 8)
    return Frontier(
        env_id=env_id,
        threshold=threshold,
        utd=UTD,
        env_steps=steps,
        flops=flops,
        batch_size=batch,
        learning_rate=np.full_like(steps, 3e-4),
        p_reach=np.ones(len(UTD)),
        extrapolated=outside,
        model_size=np.full(len(UTD), 100_000),
        risk=PRICES.cost(flops, steps).mean(axis=0),
        prices=PRICES,
        risk_measure="mean",
        settings=settings,
        failed=np.zeros(len(UTD), bool),
        extrapolation=tuple("utd outside" if each else "" for each in outside),
    )


def crossings(batch_size=128):
    """Return one run per swept UTD that reached the return, and one that did not."""
    runs = pd.DataFrame({"utd": [1.0, 2.0, 4.0, 8.0, 8.0], "censored": [False] * 4 + [True]})
    return runs.assign(
        env_id="Ant-v4", batch_size=batch_size, learning_rate=3e-4, model_size=100_000, threshold=800.0,
        env_steps_lower=9e4, env_steps_upper=1e5,
    )  # fmt: skip


def line(ax, **looks):
    """Return the data of the lines with these looks."""
    return [each.get_xydata() for each in ax.lines if all(getattr(each, f"get_{k}")() == v for k, v in looks.items())]


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_star_is_the_cheapest_row_inside_and_its_setting_is_written():
    one = front()
    table = one.table()
    cheapest = table.loc[table["risk"].where(~table["extrapolated"]).idxmin()]
    ax = plot_frontier(one)
    ((star,),) = ([data for data in line(ax, marker="*") if len(data)],)
    assert star[0].tolist() == cheapest[["env_steps_q50", "flops_q50"]].tolist()
    words = " ".join(text.get_text() for text in ax.texts)
    assert "batch size 128" in words
    assert "learning rate 3e-4" in words
    assert f"UTD {cheapest['utd']:.2g}" in words
    flat = table[~table["extrapolated"] & (table["excess"] <= 0.05)]
    assert 1 < len(flat) < 13
    assert flat[["env_steps_q50", "flops_q50"]].to_numpy().tolist() in [
        data.tolist() for data in line(ax, linewidth=5.0)
    ]
    assert f"(UTD {flat['utd'].min():.2g} to {flat['utd'].max():.2g}: at most 5% more)" in words


def test_every_point_of_the_dotted_line_costs_as_much_as_the_star():
    ax = plot_frontier(front())
    (star,) = [data for data in line(ax, marker="*") if len(data)]
    (same,) = [data for data in line(ax, linestyle=":") if len(data) > 2]
    np.testing.assert_allclose(same @ [PRICES.env_step, PRICES.flop], (star @ [PRICES.env_step, PRICES.flop]).item())
    assert same[:, 0].min() < star[0, 0] < same[:, 0].max()


def test_solid_lines_lie_inside_the_sweep_and_dashed_ones_outside_and_the_band_joins_the_quantiles():
    table = front().table()
    ax = plot_frontier(front())
    inside = table.loc[~table["extrapolated"], ["env_steps_q50", "flops_q50"]].to_numpy()
    assert inside.tolist() in [data.tolist() for data in line(ax, linestyle="-")]
    dashed = np.concatenate([data for data in line(ax, linestyle="--") if len(data)])
    assert set(table.loc[table["extrapolated"], "flops_q50"]) < set(dashed[:, 1])
    corners = {tuple(place) for patch in ax.patches for place in patch.get_xy()}
    for side in ("q05", "q95"):
        assert set(map(tuple, table[[f"env_steps_{side}", f"flops_{side}"]].to_numpy())) <= corners
    assert sorted(patch.get_alpha() for patch in ax.patches) == [PALE, PALE, BAND]


def test_runs_near_the_setting_are_drawn_at_their_data_and_compute_and_others_are_not():
    """Half of the runs at UTD 8 never reached the return: the one that did is a dot, the infinite median no mark."""
    ax = plot_frontier(front(), observed=crossings(), held_out=crossings().assign(env_steps_upper=2e5))
    dots = np.concatenate([data for data in line(ax, marker="o", markersize=2.0) if len(data)])
    np.testing.assert_allclose(dots[:4], [(1e5, 10 * 1e5 * 128 * utd * 1e5) for utd in (1, 2, 4, 8)])
    np.testing.assert_allclose(dots[4:], 2 * dots[:4])
    medians = np.concatenate([data for data in line(ax, marker="o", markerfacecolor="white") if len(data)])
    np.testing.assert_allclose(medians, dots[:3])
    held_out = np.concatenate([data for data in line(ax, marker="D") if len(data)])
    np.testing.assert_allclose(held_out, 2 * dots[:3])
    for far in (crossings(batch_size=256), crossings().assign(learning_rate=1e-3), crossings().assign(threshold=500.0)):
        ax = plot_frontier(front(), observed=far)
        assert not [data for data in line(ax, marker="o", markersize=2.0) if len(data)]


def test_the_median_is_of_the_seeds_of_the_nearest_setting():
    seeds = pd.concat([crossings().assign(env_steps_upper=steps) for steps in (1e5, 3e5, 4e5)])
    farther = crossings(batch_size=150).assign(env_steps_upper=1.0)
    ax = plot_frontier(front(), observed=pd.concat([farther, seeds], ignore_index=True))
    medians = np.concatenate([data for data in line(ax, marker="o", markerfacecolor="white") if len(data)])
    assert medians[:, 0].tolist() == [3e5] * 3


def test_the_law_is_drawn_as_regions_that_hold_nine_draws_of_ten():
    law = front(settings="law")
    ax = plot_frontier(law)
    assert not [data for data in line(ax, marker="*") if len(data)]
    assert "90% region of data and compute" in labels(ax)
    regions = law.credible_regions()
    assert regions.shape[0] == len(UTD)
    for i in (0, 10):
        inside = Path(np.log(regions[i])).contains_points(
            np.log(np.stack([law.env_steps[:, i], law.flops[:, i]], axis=1))
        )
        assert inside.mean() == pytest.approx(0.9, abs=0.02)


def test_the_title_states_the_price_and_the_legend_the_dashes():
    ax = plot_frontier(front())
    title = ax.get_legend().get_title().get_text().replace("\n", " ")
    assert "one env step costs as much as 2e9 flops" in title
    assert "outside the sweep: extrapolated" in labels(ax)
    several = plot_frontier([front(), front(env_id="Hopper-v4", times=4.0)])
    assert {"Ant-v4, return 800", "Hopper-v4, return 800"} <= {text.get_text() for text in several.texts}


@pytest.mark.parametrize("times", [1.3, 4.0])
def test_no_text_covers_another(times):
    ax = plot_frontier([front(500.0), front(800.0, times=times)], observed=crossings(), unit="normalised return")
    figure = ax.get_figure()
    figure.draw_without_rendering()
    texts = [text for text in ax.texts if text.get_text()]
    bare = {}
    for i, text in enumerate(texts):
        bare[f"{text.get_text()} {i}"] = Text.get_window_extent(text)  # the leader does not count
    assert len(bare) > 6
    for (one, first), (other, second) in combinations(bare.items(), 2):
        assert not first.shrunk(0.8, 0.8).overlaps(second.shrunk(0.8, 0.8)), f"{one} and {other}"


def test_names_of_any_length_and_letters_leave_the_picture_its_width():
    odd = r"$\nonsense$"
    for ax in (plot_frontier([front(env_id=odd), front(times=3.0)]), plot_frontier(front(env_id="a" * 100))):
        ax.get_figure().savefig("/dev/null", format="png")
        assert ax.get_position().width > 0.7


def test_it_draws_on_the_axes_given_and_refuses_what_is_no_frontier():
    ax = Figure().add_subplot()
    assert plot_frontier(front(), ax=ax) is ax
    with pytest.raises(InputError, match=r"front must be one Frontier or more; got none\. Make them"):
        plot_frontier([])
