"""The public plots make figures that pyplot shows, and draw on the caller's axes where one is given."""

import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.figure import Figure

import bayescale as bs
from bayescale.errors import InputError

DIAGNOSTICS = pd.DataFrame(
    {"r_hat": [1.001, 1.2], "ess_bulk": [900.0, 40.0], "ess_tail": [800.0, 60.0]}, index=["utd_exponent", "spread"]
)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    plt.close("all")
    yield
    plt.close("all")


def test_pyplot_shows_a_figure_that_was_made_for_a_plot() -> None:
    ax = bs.plots.diagnostics(DIAGNOSTICS)
    assert plt.get_fignums() == [ax.figure.number]
    assert plt.gcf() is ax.figure


def test_given_axes_are_drawn_on_and_no_figure_is_made() -> None:
    ax = Figure().add_subplot()
    assert bs.plots.diagnostics(DIAGNOSTICS, ax=ax) is ax
    assert plt.get_fignums() == []


def test_a_refused_call_leaves_no_empty_figure() -> None:
    with pytest.raises(InputError, match="front must be"):
        bs.plots.frontier([])
    assert plt.get_fignums() == []


def test_the_old_names_are_the_same_functions() -> None:
    assert bs.plot_frontier is bs.plots.frontier
    assert bs.plot_ranks is bs.plots.ranks
    assert all(callable(getattr(bs.plots, name)) for name in bs.plots.__all__)


def test_a_column_is_narrow_and_its_text_stays_text(tmp_path: Path) -> None:
    before = dict(plt.rcParams)
    with bs.plots.column_width():
        ax = bs.plots.diagnostics(DIAGNOSTICS)
        ax.figure.savefig(tmp_path / "column.svg")
        ax.figure.savefig(tmp_path / "column.pdf")
    assert ax.figure.get_size_inches()[0] == pytest.approx(3.35)
    assert ">R-hat<" in re.sub(r"\s*\n\s*", "", (tmp_path / "column.svg").read_text())
    assert b"/Subtype /Type3" not in (tmp_path / "column.pdf").read_bytes()
    assert dict(plt.rcParams) == before
    assert bs.plots.diagnostics(DIAGNOSTICS).figure.get_size_inches()[0] == pytest.approx(6.0)


def test_a_column_keeps_its_words_inside_the_figure() -> None:
    with bs.plots.column_width():
        figure = bs.plots.diagnostics(DIAGNOSTICS).figure
        figure.canvas.draw()
        ax = figure.axes[0]
        words = [*ax.get_legend().get_texts(), ax.xaxis.label, ax.yaxis.label]
        extents = [each.get_window_extent() for each in words]
    assert max(each.x1 for each in extents) <= figure.bbox.x1
    assert max(each.y1 for each in extents) <= figure.bbox.y1
    assert min(each.x0 for each in extents) >= 0
