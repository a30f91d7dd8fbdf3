import base64
import dataclasses
import hashlib
import html
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from bayescale.decisions.allocation import allocate
from bayescale.decisions.utility import Prices
from bayescale.errors import InputError, MissingExtra
from bayescale.inference.convergence import Status
from bayescale.reporting.report import report
from bayescale.reporting.style import scientific, steps
from bayescale.validation.calibration import coverage
from bayescale.validation.predictive_checks import posterior_predictive_checks
from tests.scaffolding.page_answers import Page
from tests.scaffolding.prior_posterior import TASKS, prior_posterior, sweep

MODULE = import_module("bayescale.reporting.report")  # the attribute of that name is the function
CHECKS = import_module("bayescale.reporting.report_checks")
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
    """The tags of a page with their attributes, and its text outside of styles and scripts."""

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
        if self.open[-1:] not in (["style"], ["script"]):
            self.words.append(data)


def test_the_page_is_one_file_without_references_to_others(page):
    elements = Elements(page)
    for tag, attributes in elements.tags:
        assert tag not in ("link", "iframe", "object", "img")
        assert not {"src", "href", "srcset", "data"} & set(attributes)
    assert "@import" not in page
    policy = next(attributes["content"] for _, attributes in elements.tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert len(page.encode()) < 5_000_000


def test_scripts_run_only_if_their_hash_stands_in_the_policy(page):
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert re.findall(r"sha256-([^&']+)", html.unescape(page)) == digests
    assert len(digests) == 3  # two libraries and the page's own


def test_the_libraries_are_those_that_were_fetched_and_their_licences_are_in_the_page(page):
    folder = files("bayescale.reporting").joinpath("page", "vendor")
    for library in json.loads(folder.joinpath("libraries.json").read_text("utf-8")):
        text = folder.joinpath(library["file"]).read_bytes()
        assert hashlib.sha256(text).hexdigest() == library["sha256"]
        assert text.decode() in page
        assert library["package"] in page
        assert html.escape(folder.joinpath(library["licence"]).read_text("utf-8"), quote=False) in html.unescape(page)


def test_where_rows_become_cards_every_line_says_its_column(page):
    tables = re.findall(
        r'<table id="tasks" class="cards">(.*?)</table>|<table class="cards">(.*?)</table>', page, re.DOTALL
    )
    tables = ["".join(table) for table in tables]
    assert len(tables) == 5  # all tasks, law, exponents, what was fitted, diagnostics
    for table in tables:
        heads = re.findall(r'<th scope="col">(.*?)</th>', table)
        for row in table.split("<tr>")[2:]:
            assert row.startswith('<th scope="row">')
            assert re.findall(r'<td data-label="(.*?)"', row) == heads[1:]


def test_choices_at_the_edge_of_the_sweep_are_marked(page, posterior):
    choice = allocate(posterior, env_id=TASKS[0], threshold=654.0, prices=PRICES)
    for name, shown, low, high in (
        ("UTD", f"{choice.utd:.3g}", 1.0, 4.0), ("batch size", str(choice.batch_size), 128, 256)
    ):  # fmt: skip
        value = choice.utd if name == "UTD" else choice.batch_size
        marked = f'<td data-label="{name}">{shown}†</td>' in page
        assert marked == (value in (low, high))


def test_names_are_escaped_and_every_task_and_threshold_is_there(page, posterior):
    assert "<b>x" not in page
    assert "&lt;b&gt;x" in page
    assert "Hopper &amp; co" in page
    text = Elements(page).text
    assert text.count("To reach J = ") == 1
    assert "thresholds J321, 654" in text.replace("thresholds J ", "thresholds J")
    assert posterior.provenance["data_sha256"] in text
    assert "from 32 training runs." in text
    assert "32 runs, 2 tasks; configurations" in text
    assert "25% of the observations are censored" in text


def test_the_recommendation_is_the_allocation_at_the_highest_threshold_that_half_the_runs_reached(page, posterior):
    said = Elements(page).text
    for env_id in TASKS:
        choice = allocate(posterior, env_id=env_id, threshold=654.0, prices=PRICES)
        low, high = (steps(choice.env_steps[q]) for q in ("q05", "q95"))
        assert f"({low} to {high})" in said
        if env_id == posterior.tasks[0]:
            assert f"run UTD {choice.utd:.3g}, batch size {choice.batch_size}, learning rate" in said
            assert f"env steps and {scientific(choice.flops['q50'])}" in said
    assert "The prices at the start: 2 per flop and 3e9 per env step" in said


def test_tasks_that_do_not_follow_the_law_are_named(page, posterior, tmp_path, monkeypatch):
    """The warning depends on the flags of the checks alone."""
    checks = posterior_predictive_checks(posterior, rng=np.random.default_rng(0), false_alarm=0.01)
    assert {"surface", "spread", "censored"} <= set(checks["statistic"])
    for each in checks["p_value"]:
        assert f"{each:.2g}" in page

    def said(flagged):
        monkeypatch.setattr(CHECKS, "posterior_predictive_checks", lambda *_, **__: checks.assign(flagged=flagged))
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


def test_the_page_starts_with_the_threshold_asked_for(posterior, tmp_path):
    asked = report(posterior, tmp_path / "page.html", env_ids=TASKS[:1], threshold=321).read_text(encoding="utf-8")
    assert "To reach J = 321" in Elements(asked).text
    assert [task["headline"] for task in Page(asked).data["tasks"]] == [321.0]
    with pytest.raises(InputError, match=r"threshold 400 was not fitted; choose one of 321, 654"):
        report(posterior, tmp_path / "page.html", threshold=400)


def test_an_unconverged_posterior_is_marked(page, poor_page):
    assert "Do not act on this page" not in page
    warning = "Do not act on this page. The sampler has not converged: the chains disagree"
    assert warning in Elements(poor_page).text


def test_a_sweep_of_one_utd_gets_no_exponent_over_utd(posterior, tmp_path, monkeypatch):
    one = prior_posterior(sweep().query("utd == 4").reset_index(drop=True))
    checks = MODULE.law_checks(posterior, TASKS)
    monkeypatch.setattr(MODULE, "law_checks", lambda *_: checks)  # checks of draws of a prior divide by zero
    page = Elements(report(one, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "nan" not in page.text.split()
    assert "driven by" not in page.text
    assert "The sweep has one UTD and says nothing about others." in page.text


def test_a_fast_fit_is_held_to_its_own_limits_in_words_and_chart(tmp_path):
    fast = prior_posterior(status=Status.APPROXIMATE)
    text = report(fast, tmp_path / "page.html", env_ids=TASKS[:1]).read_text(encoding="utf-8")
    assert "Status of the draws: approximate, by short chains: R-hat at most 1.05" in Elements(text).text
    limits = Page(text).data["convergence"]
    assert (limits["min_ess"], limits["max_r_hat"]) == (2 * 25, 1.05)


def test_a_failure_leaves_the_old_file_and_nothing_else(posterior, tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")
    monkeypatch.setattr(MODULE, "predictive_check", lambda _: 1 / 0)
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


def test_the_page_says_both_ways_to_count_what_lies_in_its_intervals(page, posterior):
    """A time lies between two evaluations; it counts in full, or by the share of its interval that is inside."""
    exact = coverage(posterior, crossings=posterior.crossings, rng=np.random.default_rng(0), levels=(0.5, 0.9))[
        "coverage"
    ]
    whole = MODULE.predictive_check(posterior)[["inside50", "inside90"]].mean()
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
