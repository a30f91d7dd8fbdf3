"""Say in about ten lines what a result is, what it rests on, how sure it is, and what to do next.

Results of a fit hold thousands of numbers. A terminal and a notebook show their `Summary` instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from math import isfinite
from textwrap import fill

from bayescale.arguments import three_digits

TEXT_WIDTH = 100  # characters of a line in a terminal
MOST_NAMES = 5  # names that a line lists before it counts the others


@dataclass(frozen=True)
class Summary:
    """A title and some labelled sentences: all that a person first sees of a result.

    Attributes:
        title: what it is, in one line.
        lines: sentences by label.
    """

    title: str
    lines: dict[str, str]

    def text(self) -> str:
        """Return the summary for a terminal: the labels in a column, long sentences wrapped."""
        width = max(len(label) for label in self.lines) + 4
        rows = (
            fill(f"  {label:<{width - 2}}{said}", TEXT_WIDTH, subsequent_indent=" " * width, break_on_hyphens=False)
            for label, said in self.lines.items()
        )
        return "\n".join((self.title, *rows))

    def html(self) -> str:
        """Return the summary for a notebook: a small table, with all text escaped."""
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left;vertical-align:top">{escape(label)}</th>'
            f'<td style="text-align:left">{escape(said)}</td></tr>'
            for label, said in self.lines.items()
        )
        return f"<div><strong>{escape(self.title)}</strong><table>{rows}</table></div>"


class Summarised:
    """Base of results that a terminal and a notebook show by their summary."""

    def summary(self) -> Summary:
        """Return what a person sees of this result."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.summary().text()

    def _repr_html_(self) -> str:
        return self.summary().html()


def with_interval(values: Mapping[str, float], unit: str) -> str:
    """Return the median with its unit and its 90% interval, from values named q05, q50 and q95."""
    low, median, high = (_reached(values[name]) for name in ("q05", "q50", "q95"))
    return f"{median} {unit} (90% interval {low} to {high})"


def listed(names: tuple[str, ...]) -> str:
    """Return the names separated by commas; of many, the first and the number of the others."""
    shown = ", ".join(names[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES:,} more"


def _reached(value: float) -> str:
    return three_digits(value) if isfinite(value) else "never"
