"""The live report in headless Chromium: its answers equal Python's, it asks no network, and names stay text."""

import os

import numpy as np
import pandas as pd
import pytest

from bayescale.decisions.allocation import allocate
from bayescale.decisions.frontier import frontier
from bayescale.decisions.utility import Prices
from bayescale.reporting.report import report
from tests.scaffolding.browser import chromium, running_browser
from tests.scaffolding.page_answers import Page
from tests.scaffolding.prior_posterior import TASKS, THRESHOLDS, prior_posterior, sweep

pytestmark = pytest.mark.skipif(
    chromium() is None and os.environ.get("BAYESCALE_BROWSER") != "required",
    reason="there is no Chromium here; apt-get install chromium",
)
PRICES = Prices(flop=2.0, env_step=3e9)
HOSTILE = "</script><script>document.title = 'broken'</script>"
SCORES = pd.DataFrame(
    {
        "method": ["bayescale", "published"],
        "leave_out": "utd-max",
        "observations": 60,
        "coverage90": [0.91, 0.62],
        "wis": [0.15, 0.3],
        "male": [0.2, 0.4],
    }
)
NUMBERS = ("risk", "p_success", "utd", "batch_size", "learning_rate", "model_size")
SUMMARIES = ("env_steps", "flops", "budget", "regret")


@pytest.fixture(scope="module")
def posterior():
    names = {TASKS[0]: HOSTILE}
    return prior_posterior(sweep().assign(env_id=lambda rows: rows["env_id"].replace(names)))


@pytest.fixture(scope="module")
def path(posterior, tmp_path_factory):
    path = tmp_path_factory.mktemp("live") / "report.html"
    return report(posterior, path, prices=PRICES, held_out=[SCORES, SCORES.assign(leave_out="seeds")])


@pytest.fixture(scope="module")
def twin(path):
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def browser(path, tmp_path_factory):
    with running_browser(tmp_path_factory.mktemp("profile")) as browser:
        browser.open(path)
        yield browser


@pytest.fixture
def fresh(browser, path):
    """Open the page anew, with its controls as at the start."""
    browser.call("Page.navigate", url="about:blank")
    browser.open(path)
    return browser


def assert_equal(shown, computed):
    for name in ("env_id", "threshold", "feasible"):
        assert shown[name] == computed[name]
    for name in NUMBERS:
        wanted = computed[name] if np.isfinite(computed[name]) else None
        assert shown[name] == (wanted and pytest.approx(wanted, rel=1e-6))
    for name in SUMMARIES:
        assert shown[name] == pytest.approx(computed[name], rel=1e-6, abs=1e-9)


def test_the_page_starts_with_the_allocation_at_the_prices_of_the_report(fresh, twin, posterior):
    shown = fresh.answer()
    assert shown["threshold"] == THRESHOLDS[1]
    assert shown["prices"] == {"flop": 2.0, "env_step": 3e9}
    assert_equal(shown, twin.answer(0, prices=PRICES, risk="mean", threshold=THRESHOLDS[1]))
    choice = allocate(posterior, env_id=posterior.tasks[0], threshold=THRESHOLDS[1], prices=PRICES)
    assert (shown["runs"], shown["runs_reached"]) == (choice.runs, choice.runs_reached)


def test_the_page_holds_the_setting_that_allocate_chose_up_to_its_rounding(twin, posterior):
    choice = allocate(posterior, env_id=posterior.tasks[0], threshold=THRESHOLDS[1], prices=PRICES)
    task = twin.data["tasks"][0]
    chosen = [getattr(choice, name) for name in task["settings"]]
    row = np.flatnonzero(np.isclose(twin.settings(task), chosen).all(axis=1))[0]
    steps = np.exp(twin.run_lengths(task).location[:, row, 1])
    assert task["error"] < 0.02
    for name, level in choice.basis.quantile_levels.items():
        assert np.quantile(steps, level) == pytest.approx(choice.env_steps[name], rel=1.1 * task["error"])


def test_the_line_over_utd_is_the_frontier(fresh, twin, posterior):
    """The page and Python choose the same candidate at each UTD; the frontier's own search finds nothing cheaper."""
    shown = fresh.evaluate(
        "[...document.querySelectorAll('#by-utd tbody tr')]"
        ".map(row => [...row.cells].slice(0, 3).map(cell => cell.textContent))"
    )
    line = twin.over_utd(0, prices=PRICES, threshold=THRESHOLDS[1])
    np.testing.assert_allclose(np.array(shown, float), line[["utd", "batch_size", "learning_rate"]], rtol=0.005)
    front = frontier(
        posterior, env_id=posterior.tasks[0], threshold=THRESHOLDS[1], utd=line["utd"].to_numpy(), prices=PRICES
    )
    np.testing.assert_allclose(line["cost"], front.risk, rtol=0.01)
    np.testing.assert_allclose(line["env_steps"], np.median(front.env_steps, axis=0), rtol=0.05)


@pytest.mark.parametrize("risk", ["mean", "cvar:0.9", "prob:0.9", "run:0.5"])
def test_task_return_prices_and_risk_change_the_answer_as_in_python(fresh, twin, risk):
    kind, _, level = risk.partition(":")
    fresh.set(task=1, J=0, env_step=1e12, flop=0.5, risk=kind, **({"level": level} if level else {}))
    prices = Prices(flop=0.5, env_step=1e12)
    shown = fresh.answer()
    assert shown["risk_measure"] == risk
    assert_equal(shown, twin.answer(1, prices=prices, risk=risk, threshold=THRESHOLDS[0]))


def test_dollars_are_prices_per_flop_and_env_step(fresh, twin):
    fresh.set(unit="dollars", dollars_flop=0.02, dollars_step=3)
    prices = Prices(flop=0.02 / 1e15, env_step=3 / 1e6)
    assert_equal(fresh.answer(), twin.answer(0, prices=prices, risk="mean", threshold=THRESHOLDS[1]))
    assert "$" in fresh.evaluate("document.getElementById('choices').textContent")


def test_the_budget_changes_its_unit_with_the_prices(fresh):
    cost = fresh.answer()["risk"]
    assert cost < float(fresh.evaluate("document.getElementById('budget').value")) < 1.2 * cost
    fresh.set(goal="both", unit="dollars")
    shown = fresh.answer()
    assert shown["feasible"]
    assert shown["risk"] < float(fresh.evaluate("document.getElementById('budget').value")) < 1.2 * shown["risk"]
    assert shown["risk"] < cost / 1e6


def test_a_budget_finds_the_highest_return_that_it_affords(fresh, twin):
    costs = [twin.answer(0, prices=PRICES, risk="prob:0.5", threshold=each)["risk"] for each in THRESHOLDS]
    assert costs[0] < costs[1]
    fresh.set(goal="budget", risk="prob", level=0.5)
    for budget in (costs[0] * 0.9, (costs[0] * costs[1]) ** 0.5, costs[1] * 1.1):
        fresh.set(budget=budget)
        assert_equal(fresh.answer(), twin.answer(0, prices=PRICES, risk="prob:0.5", budget=budget))
    assert fresh.answer()["threshold"] == THRESHOLDS[1]
    fresh.set(goal="both", budget=costs[1] * 0.9)
    assert not fresh.answer()["feasible"]
    assert "within this budget" in fresh.evaluate("document.getElementById('sentence').textContent")


def test_wrong_numbers_are_refused_in_a_sentence(fresh):
    fresh.set(flop=0, env_step=0)
    assert fresh.evaluate("document.getElementById('problem').textContent") == "Give at least one price above 0."
    assert fresh.evaluate("document.getElementById('live').hidden")
    fresh.set(flop=1)
    assert fresh.evaluate("document.getElementById('problem').textContent") == ""
    assert not fresh.evaluate("document.getElementById('live').hidden")


def test_the_address_asks_the_same_question_again(fresh, path):
    fresh.set(task=1, env_step=5e10, risk="cvar", level=0.8)
    asked, address = fresh.answer(), fresh.evaluate("location.hash")
    fresh.call("Page.navigate", url="about:blank")
    fresh.open(path, address)
    assert fresh.answer() == asked
    fresh.call("Page.navigate", url="about:blank")
    fresh.open(path, "#task=99&risk=nothing&J=77&unknown=1")
    assert fresh.answer()["risk_measure"] == "mean"


def test_the_page_asks_no_network_and_its_policy_forbids_it(fresh, path):
    before = len(fresh.requests())
    fresh.set(task=1)
    assert set(fresh.requests()) <= {path.resolve().as_uri(), "about:blank"}
    assert fresh.complaints() == []
    refused = "fetch('http://127.0.0.1:9/x').then(() => 'sent', error => String(error))"
    assert "Failed to fetch" in fresh.evaluate(refused)
    assert any("Content Security Policy" in line for line in fresh.complaints())
    assert [each for each in fresh.requests()[before:] if "127.0.0.1" in each] == []
    fresh.events.clear()


def test_names_of_tasks_are_text(fresh):
    assert fresh.evaluate("document.title").startswith("BayeScale report: </script><script>")
    fresh.set(task=0)
    assert HOSTILE in fresh.evaluate("document.getElementById('sentence').textContent")
    assert HOSTILE in fresh.evaluate("document.getElementById('tasks').textContent")
    assert "'\\''" in fresh.evaluate("document.getElementById('command').textContent")
    assert fresh.complaints() == []


def test_every_chart_says_in_words_what_it_shows(fresh):
    labels = fresh.evaluate("[...document.querySelectorAll('.chart svg[role=img]')].map(s => s.ariaLabel)")
    assert len(labels) in (7, 8)  # five charts, convergence, and ranks of one or two parameters
    (held_out,) = (label for label in labels if label.startswith("Share of held-out observations"))
    assert "bayescale, utd-max: 91%; published, utd-max: 62%; bayescale, seeds: 91%" in held_out
    assert all(len(label) > 40 for label in labels)
    assert fresh.evaluate("document.querySelectorAll('figure figcaption').length") == len(labels)
    unnamed = "[...document.querySelectorAll('select, input, button')].filter(c => !c.labels?.length).length"
    assert fresh.evaluate(unnamed) == 0


def test_keys_alone_change_the_answer(fresh):
    first = fresh.answer()["threshold"]
    fresh.evaluate("document.getElementById('J').focus()")
    fresh.evaluate("document.body.dataset.state = 'asked'")
    for kind in ("rawKeyDown", "keyUp"):
        fresh.call("Input.dispatchKeyEvent", type=kind, key="ArrowUp", code="ArrowUp", windowsVirtualKeyCode=38)
    fresh.settle()
    assert fresh.answer()["threshold"] < first


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_ground(fresh, dark):
    """WCAG 2 asks for a contrast of 4.5 between text and ground, and of 3 between a chart's marks and ground."""
    features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    fresh.call("Emulation.setEmulatedMedia", media="screen", features=features)
    names = ("paper", "card", "text", "soft", "accent", "best", "faint", "warn")
    style = "getComputedStyle(document.documentElement).getPropertyValue"
    colours = {
        name: fresh.evaluate(f"{style}.call(getComputedStyle(document.documentElement), '--{name}')") for name in names
    }
    for ground in ("paper", "card"):
        for name in ("text", "soft", "accent", "best"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    assert contrast(colours["text"], colours["warn"]) >= 4.5
    fresh.call("Emulation.setEmulatedMedia", media="", features=[])


def contrast(one, other):
    """Return the contrast of two colours by the formula of WCAG 2."""

    def luminance(colour):
        digits = colour.strip().lstrip("#")
        digits = "".join(2 * each for each in digits) if len(digits) == 3 else digits
        shares = np.array([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])
        return np.where(shares <= 0.03928, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_a_phone_needs_no_sideways_scrolling(fresh):
    fresh.call("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
    fresh.settle()
    assert fresh.evaluate("document.documentElement.scrollWidth") <= 390
    fresh.call("Emulation.clearDeviceMetricsOverride")


def test_the_words_in_a_chart_end_within_its_figure(fresh):
    fresh.call("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
    fresh.set(env_step=1e15)  # The best UTD is the highest: its label stands at the right edge.
    assert "UTD" in fresh.evaluate("document.getElementById('edge').textContent")
    beyond = (
        "[...document.querySelectorAll('.chart svg text')].filter(text => text.getBoundingClientRect().right >"
        " text.closest('figure').getBoundingClientRect().right + 1).map(text => text.textContent)"
    )
    assert fresh.evaluate(beyond) == []
    assert fresh.evaluate("document.querySelectorAll('#cost svg text').length") > 5
    fresh.call("Emulation.clearDeviceMetricsOverride")


def test_the_forecast_ends_within_its_figure(fresh):
    fresh.set(task=1)
    right = "(part => part.getBoundingClientRect().right)"
    lines = fresh.evaluate(f"[...document.querySelectorAll('#runs svg [aria-label=line] path')].map({right})")
    assert len(lines) >= 1
    assert max(lines) <= fresh.evaluate(f"{right}(document.getElementById('runs'))")


def test_the_table_of_returns_fits_on_paper(fresh):
    fresh.call("Emulation.setEmulatedMedia", media="print", features=[])
    fresh.call("Emulation.setDeviceMetricsOverride", width=688, height=900, deviceScaleFactor=1, mobile=False)
    fresh.settle()
    cut = "(parent => parent.scrollWidth - parent.clientWidth)(document.getElementById('choices').parentElement)"
    assert fresh.evaluate(cut) <= 0
    fresh.call("Emulation.clearDeviceMetricsOverride")
    fresh.call("Emulation.setEmulatedMedia", media="", features=[])


def test_it_prints_on_five_pages_at_most(fresh, tmp_path):
    fresh.print(tmp_path / "report.pdf")
    pages = (tmp_path / "report.pdf").read_bytes().count(b"/Type /Page\n")
    assert 1 <= pages <= 5
