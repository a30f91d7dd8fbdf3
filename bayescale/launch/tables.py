"""Write recommendations as CSV, JSON and LaTeX."""

import re

import numpy as np
import pandas as pd

from bayescale.arguments import three_digits

LATEX_COLUMNS = {
    "env_id": "task",
    "threshold": "return",
    "utd": "UTD",
    "model_size": "$N$",
    "batch_size": "$B$",
    "learning_rate": r"$\eta$",
    "run_length": "run length",
    "env_steps": "env steps",
    "flops": "flops",
    "p_reach": "chance",
}
SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def csv(table: pd.DataFrame) -> str:
    """Return the table as CSV."""
    return table.to_csv(index=False)


def json(table: pd.DataFrame) -> str:
    """Return the table as a JSON list of rows, with null for inf."""
    return str(table.replace([np.inf, -np.inf], np.nan).to_json(orient="records", indent=2, double_precision=15)) + "\n"


def latex(table: pd.DataFrame) -> str:
    """Return a table for LaTeX with the package booktabs: medians and 90% intervals, the recommended rows in bold."""
    lines = [r"\begin{tabular}{l" + "r" * (len(LATEX_COLUMNS) - 1) + "}", r"\toprule"]
    lines += [" & ".join(LATEX_COLUMNS.values()) + r" \\", r"\midrule"]
    for _, row in table.iterrows():
        cells = [_cell(row, name) for name in LATEX_COLUMNS]
        lines.append(" & ".join(rf"\textbf{{{cell}}}" if row["recommended"] else cell for cell in cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _cell(row: pd.Series, name: str) -> str:
    if name == "env_id":
        return escaped(str(row[name]))
    if name == "p_reach":
        return rf"{100 * row[name]:.0f}\%"
    if name in row:
        return _number(row[name])
    low, middle, high = (_number(row[f"{name}_{q}"]) for q in ("q05", "q50", "q95"))
    return f"{middle} [{low}, {high}]"


def _number(value: float) -> str:
    """Return a number with three digits, its exponent in LaTeX's form."""
    if not np.isfinite(value):
        return r"$\infty$"
    mantissa, _, exponent = three_digits(float(value)).partition("e")
    return rf"${mantissa} \cdot 10^{{{int(exponent)}}}$" if exponent else mantissa


def escaped(text: str) -> str:
    """Return the text with LaTeX's special characters escaped."""
    return re.sub(r"[\\~^&%$#_{}]", lambda found: SPECIAL.get(found[0], "\\" + found[0]), text)
