"""Compare the changes of a plan by hand."""

import numpy as np
import pandas as pd
import pytest

from bayescale.validation.design_verdict import changes_table
from bayescale.validation.expected_posterior import QUESTIONS
from bayescale.validation.plan_variants import Variant


def test_a_change_is_compared_on_the_data_sets_that_it_shares_with_the_plan():
    """The third data set of the plan, which the change lacks, is ten times as wide and must not count."""
    plan, seeds = (
        Variant(change, np.ones(1, int), np.ones(1), np.ones(1), runs, work)
        for change, runs, work in (("", 4.0, 8.0), ("twice as many seeds", 8.0, 16.0))
    )
    widths = [(0, 0, 1.0), (0, 1, 2.0), (0, 2, 20.0), (1, 0, 0.5), (1, 1, 1.0)]
    rows = [
        (f"{question}, {task}", variant, dataset, width)
        for variant, dataset, width in widths
        for question in QUESTIONS
        for task in ("A", "B, of a suite")
    ]
    table = pd.DataFrame(rows, columns=["quantity", "variant", "dataset", "sd"]).set_index("quantity")
    (change,) = changes_table([plan, seeds], table).to_dict("records")
    assert (change["change"], change["runs"], change["work"]) == ("twice as many seeds", 2.0, 2.0)
    assert change["gain"] == pytest.approx(0.5)
    assert change["helps"]
    assert [change[question] for question in QUESTIONS] == [0.75] * 4
