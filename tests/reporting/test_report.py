import base64
import dataclasses
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bayescale.decisions.allocation import allocate
from bayescale.decisions.utility import Prices
from bayescale.errors import InputError, MissingExtra
from bayescale.inference.convergence import Status
from bayescale.reporting.report import report
from bayescale.validation.calibration import coverage
from bayescale.validation.predictive_checks import posterior_predictive_checks
from tests.scaffolding.prior_posterior import TASKS, prior_posterior, sweep

MODULE = import_module("bayescale.reporting.report")  # the attribute of that name is the function
PRICES = Prices(flop=2.0, env_step=3e9)


@pytest.fixture(scope="module")
def posterior():
    return prior_posterior()


@pytest.fixture(scope="module")
def curves():
    runs = sweep()[
        ["algorithm", "env_id", "utd", "batch_size", "learning_rate", "model_size", "seed"]
    ].drop_duplicates()
    return runs.merge(pd.DataFrame({"env_steps": [1000, 90_000], "episode_return": [0.0, 4.0]}), how="cross")


@pytest.fixture(scope="module")
def page(posterior, curves, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    scale = dict.fromkeys(TASKS, (-1.0, 9.0))
    assert report(posterior, path, curves=curves, prices=PRICES, return_scale=scale) == path
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


class Elements(HTMLParser):
    """The tags of a page with their attributes, and its text outside of style elements."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(page)
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        self.open.append("/" + tag)

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)


def test_the_page_is_one_file_without_references_to_others(page):
    elements = Elements(page)
    for tag, attributes in elements.tags:
        assert tag not in ("script", "link", "iframe", "object")
        for name in ("src", "href", "srcset", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:image/svg+xml;base64,"))
    assert "@import" not in page
    assert "url(" not in page
    anchors = {attributes["id"] for _, attributes in elements.tags if "id" in attributes}
    assert {attributes["href"][1:] for tag, attributes in elements.tags if tag == "a"} <= anchors
    drawings = [attributes for tag, attributes in elements.tags if tag == "img"]
    assert len(drawings) in (14, 15)  # six for each task, convergence, and ranks of one or two worst parameters
    for drawing in drawings:
        svg = base64.b64decode(drawing["src"].partition(",")[2]).decode()
        assert not re.search(r'href="(?!#|data:)', svg)
        assert "<script" not in svg


def test_where_rows_become_cards_every_line_says_its_column(page):
    tables = re.findall(r'<table class="cards">(.*?)</table>', page, re.DOTALL)
    assert len(tables) == 7  # recommendation, what was fitted, choices of two tasks, diagnostics, law, exponents
    for table in tables:
        heads = re.findall(r"<th>(.*?)</th>", table)
        for row in table.split("<tr")[2:]:
            labels = [re.search(r'data-label="(.*?)"', cell) for cell in row.split("<td")[1:]]
            assert len(labels) == len(heads)
            assert [label and label[1] for label in labels] in (heads, [None, *heads[1:]])


def test_choices_at_the_edge_of_the_sweep_are_marked(page, posterior):
    choice = allocate(posterior, env_id=TASKS[0], threshold=654.0, prices=PRICES)
    for name, shown, low, high in (
        ("UTD", f"{choice.utd:.3g}", 1.0, 4.0), ("batch size", str(choice.batch_size), 128, 256)
    ):  # fmt: skip
        value = choice.utd if name == "UTD" else choice.batch_size
        marked = f'<td data-label="{name}"><span>{shown}†</span></td>' in page
        assert marked == (value in (low, high))


def test_every_picture_says_what_its_band_is(page):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page, re.DOTALL)
    banded = [text for text in captions if "band" in text]
    assert len(banded) == 12
    assert sum("90% credible interval" in text for text in banded) == 10
    assert sum("there is no band" in re.sub(r"\s+", " ", text) for text in banded) == 2


def test_names_are_escaped_and_every_task_and_threshold_is_there(page, posterior):
    assert "<b>x" not in page
    assert "&lt;b&gt;x" in page
    assert "Hopper &amp; co" in page
    text = Elements(page).text
    assert text.count("To reach J = ") == 2
    assert "thresholds J321, 654" in text.replace("thresholds J ", "thresholds J")
    assert posterior.provenance["data_sha256"] in text
    assert "from 32 training runs." in text
    assert "32 runs, 2 tasks; configurations" in text
    assert "25% of the observations are censored" in text


def test_the_recommendation_is_the_allocation_at_the_highest_threshold_that_half_the_runs_reached(page, posterior):
    for env_id in TASKS:
        choice = allocate(posterior, env_id=env_id, threshold=654.0, prices=PRICES)
        low, high = (MODULE.steps(choice.env_steps[q]) for q in ("q05", "q95"))
        said = Elements(page).text
        assert f"run UTD {choice.utd:.3g}, batch size {choice.batch_size}, learning rate" in said
        assert f"env steps and {MODULE.scientific(choice.flops['q50'])}" in said
        assert f"({low} to {high})" in said
    assert "Budget: 2 per flop and 3e9 per env step" in said


def test_tasks_that_do_not_follow_the_law_are_named(page, posterior, tmp_path, monkeypatch):
    """The warning depends on the flags of the checks alone."""
    checks = posterior_predictive_checks(posterior, rng=np.random.default_rng(0), false_alarm=0.01)
    assert {"surface", "spread", "censored"} <= set(checks["statistic"])
    for each in checks["p_value"]:
        assert f"{each:.2g}" in page

    def said(flagged):
        monkeypatch.setattr(MODULE, "posterior_predictive_checks", lambda *_, **__: checks.assign(flagged=flagged))
        return Elements(report(posterior, tmp_path / "page.html").read_text(encoding="utf-8")).text

    odd = (checks["env_id"] == TASKS[0]) & (checks["statistic"] == "surface")
    assert f"{TASKS[0]} does not follow the law that was fitted: configurations depart from the law." in said(odd)
    assert "No task departs from the law" in said(False)


@pytest.fixture(scope="module")
def poor_page(posterior, tmp_path_factory):
    """Report one task of a fit that did not converge, where all runs missed the upper threshold."""
    upper = posterior.crossings["threshold"] == 654
    missed = posterior.crossings.assign(censored=upper, env_steps_upper=np.where(upper, np.inf, 5e4))
    poor = dataclasses.replace(posterior, status=Status.NOT_MIXED, crossings=missed)
    path = report(poor, tmp_path_factory.mktemp("poor") / "page.html", env_ids=TASKS[:1])
    return path.read_text(encoding="utf-8")


def test_a_threshold_that_most_runs_miss_is_not_the_headline(poor_page):
    text = Elements(poor_page).text
    assert "To reach J = 321" in text
    assert "Fewer than half of the runs reached J = 654" in text
    assert "Hopper" not in text


def test_an_unconverged_posterior_is_marked(page, poor_page):
    assert "Do not act on this page" not in page
    warning = "Do not act on this page. The sampler has not converged: the chains disagree"
    assert warning in Elements(poor_page).text


def test_a_sweep_of_one_utd_gets_no_picture_and_no_exponent_over_utd(posterior, tmp_path, monkeypatch):
    one = prior_posterior(sweep().query("utd == 4").reset_index(drop=True))
    checks = MODULE._law_checks(posterior, TASKS)
    monkeypatch.setattr(MODULE, "_law_checks", lambda *_: checks)  # checks of draws of a prior divide by zero
    page = Elements(report(one, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "nan" not in page.text.split()
    assert "driven by" not in page.text
    assert "The sweep has one UTD and says nothing about others." in page.text
    captions = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert [caption[:8] for caption in captions[:2]] == ["Runs at ", "Runs at "]  # a picture for each task
    assert not any("outside the sweep" in caption for caption in captions)


def test_a_fast_fit_is_held_to_its_own_limits_in_words_and_picture(tmp_path, monkeypatch):
    held = {}

    def drawn(diagnostics, **limits):
        held.update(limits)
        return plot(diagnostics, **limits)

    plot = MODULE.diagnostic_plots.plot_diagnostics
    monkeypatch.setattr(MODULE.diagnostic_plots, "plot_diagnostics", drawn)
    fast = prior_posterior(status=Status.APPROXIMATE)
    page = Elements(report(fast, tmp_path / "page.html", env_ids=TASKS[:1]).read_text(encoding="utf-8"))
    assert "Status of the draws: approximate, by short chains: R-hat at most 1.05" in page.text
    assert held == {"min_ess": 2 * 25, "max_r_hat": 1.05}


def test_equal_numbers_give_equal_drawings(page, poor_page):
    """The two fits differ in the crossings, not in the draws, so frontier and diagnostics are drawn alike."""
    drawings, poor = (re.findall(r'<img src="(.*?)"', text) for text in (page, poor_page))
    assert len(poor) in (8, 9)
    assert set(poor[6:]) <= set(drawings)
    assert poor[4] == drawings[4]
    assert poor[1] not in drawings


def test_a_failure_leaves_the_old_file_and_nothing_else(posterior, tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")
    monkeypatch.setattr(MODULE, "_predictive_check", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report(posterior, path)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("page.html", "old")]


def test_errors_name_the_argument_and_the_remedy(posterior, curves, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"the folder .*nowhere does not exist\. Create it first\."):
        report(posterior, tmp_path / "nowhere" / "page.html")
    with pytest.raises(InputError, match=r"the fit has no run of Pong\..* It has runs of Hopper & co, <b>x"):
        report(posterior, tmp_path / "page.html", env_ids=["Pong"])
    for wrong in (curves.assign(seed=7), curves.drop(columns="seed")):
        with pytest.raises(InputError, match="curves hold no run of the fit; give the learning curves"):
            report(posterior, tmp_path / "page.html", curves=wrong)
    bare = dataclasses.replace(posterior, crossings=posterior.crossings.drop(columns="model_size"))
    with pytest.raises(InputError, match="give the critic parameters as model_size"):
        report(bare, tmp_path / "page.html")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match=r"'jinja2'; install it with: pip install 'bayescale\[report\]'"):
        report(posterior, tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_importing_the_module_loads_neither_matplotlib_nor_jinja2():
    code = "import sys, bayescale.reporting.report; assert not {'matplotlib', 'jinja2'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("lower", "upper", "agrees50", "agrees90"),
    [
        (90.0, 110.0, True, True),  # seen at the evaluation at 110, as quantiles are
        (100.0, 125.0, True, True),
        (100.0, 200.0, False, True),
        (150.0, 210.0, False, False),
        (0.0, 0.0, True, True),  # before training: says nothing
        (60.0, 70.0, False, True),
        (10.0, 20.0, False, False),
        (150.0, np.inf, False, True),  # censored: agrees unless the interval ends before
        (250.0, np.inf, False, False),
        (0.0, 30.0, False, False),  # before the first evaluation: agrees unless the interval begins after
        (0.0, 60.0, False, True),
    ],
)
def test_a_crossing_agrees_with_the_intervals_that_hold_its_time(lower, upper, agrees50, agrees90):
    row = {"env_id": "A", "utd": 1.0, "batch_size": 256, "learning_rate": 1e-4, "threshold": 5.0}
    crossings = pd.DataFrame([row | {"env_steps_lower": lower, "env_steps_upper": upper, "censored": np.isinf(upper)}])
    quantiles = {"threshold": 5.0, "q05": 50.0, "q25": 80.0, "q75": 125.0, "q95": 200.0}
    fake = SimpleNamespace(crossings=crossings, predict=lambda configs: configs.assign(**quantiles))
    (checked,) = MODULE._predictive_check(fake).itertuples()
    assert (checked.inside50, checked.inside90) == (agrees50, agrees90)


def test_the_page_says_both_ways_to_count_what_lies_in_its_intervals(page, posterior):
    """A time lies between two evaluations; it counts in full, or by the share of its interval that is inside."""
    exact = coverage(posterior, crossings=posterior.crossings, rng=np.random.default_rng(0), levels=(0.5, 0.9))[
        "coverage"
    ]
    whole = MODULE._predictive_check(posterior)[["inside50", "inside90"]].mean()
    said = re.findall(r"(\d+%)", re.search(r"Agreement with the data\.(.*?)Held-out", Elements(page).text)[1])
    assert said == [
        f"{whole.inside50:.0%}",
        "50%",
        f"{whole.inside90:.0%}",
        "90%",
        f"{exact[0.5]:.0%}",
        f"{exact[0.9]:.0%}",
    ]
    assert said[4:] != [said[0], said[2]]


def test_the_nearest_swept_setting_is_nearest_in_logs():
    rows = pd.DataFrame({"utd": [1.0, 1.0, 4.0, 4.0], "batch_size": [100, 400, 100, 400], "learning_rate": 1e-4})
    table = pd.DataFrame({"utd": [1.0, 4.0], "batch_size_q50": [220.0, 180.0], "learning_rate_q50": 3e-4})
    assert MODULE._near_optimum(rows, table).tolist() == [False, True, True, False]


def test_pictures_span_the_sweep_and_a_bit_beyond():
    grid = MODULE._utd_grid(pd.Series([1.0, 3.0, 3.0, 8.0]))
    assert {0.5, 1, 2, 3, 4, 8, 16} <= set(grid)
    assert (grid.min(), grid.max()) == (0.5, 16)
    assert (np.diff(grid) > 0).all()


def test_rank_counts_are_flat_for_equal_chains_and_tell_a_shifted_one():
    draws = np.random.default_rng(0).permutation(200).reshape(2, 100, 1).astype(float)
    equal = SimpleNamespace(to_arviz=lambda: {"posterior": {"level": pd_like(draws)}})
    assert (MODULE._rank_counts(equal, "level[0]").sum(axis=0) == 10).all()
    shifted = SimpleNamespace(to_arviz=lambda: {"posterior": {"level": pd_like(draws % 100 + [[[0]], [[1000]]])}})
    assert MODULE._rank_counts(shifted, "level[0]")[:, 0].tolist() == [10, 0]


def pd_like(values):
    return SimpleNamespace(to_numpy=lambda: values)


def test_exponents_are_compared_with_their_priors(posterior):
    """The population's value midway between the thresholds counts; values by task and the drift do not."""
    deviations = np.array([[-1.0, 0.0], [1.0, 0.0]]) / np.sqrt(2 / 3)  # mean 0, sd 1 over both chains
    drift = np.array([-0.3, 0.3])  # over two thresholds
    by_threshold = (0.5 + 0.1 * deviations)[..., None] + drift
    population = (0.4 + 0.27 * deviations)[..., None] + drift
    draws = {"log_sharpness": by_threshold, "batch_utd_exponent": np.stack([population * 7, population], axis=2)}
    table = MODULE._exponents(draws, json.loads(posterior.provenance["priors"]))
    np.testing.assert_allclose(table["mean"], [0.5, 0.4])
    np.testing.assert_allclose(table["left"], [0.1 / 0.3, 0.27 / 0.3])


@pytest.mark.parametrize(
    ("show", "value", "text"),
    [
        (MODULE.steps, 318_123.0, "318k"),
        (MODULE.steps, 1_254_000.0, "1.25M"),
        (MODULE.steps, np.inf, "never"),
        (MODULE.scientific, 3e-4, "3e-4"),
        (MODULE.scientific, 1.25e15, "1.2e15"),
        (MODULE.percent, 0.934, "93%"),
        (MODULE.percent, 0.9964, "99.6%"),
        (MODULE.percent, 0.9999, ">99.9%"),
        (MODULE.percent, 1.0, "100%"),
        (MODULE.percent, 0.0002, "<0.1%"),
        (MODULE.percent, 0.0, "0%"),
        (MODULE.percent, 1.3, "130%"),
    ],
)
def test_numbers_are_short(show, value, text):
    assert show(value) == text
