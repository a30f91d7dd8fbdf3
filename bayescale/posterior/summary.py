"""Say what a posterior is, in about ten lines."""

from typing import TYPE_CHECKING

from bayescale.arguments import counted, three_digits
from bayescale.summaries import Summary, listed

if TYPE_CHECKING:
    from bayescale.posterior.posterior import Posterior


def summary_of(posterior: "Posterior") -> Summary:
    """Return what the posterior is, on which runs it rests, how sure it is, and what to do with it."""
    thresholds, crossings, provenance = posterior.thresholds, posterior.crossings, posterior.provenance
    count, ends = len(thresholds), [three_digits(value) for value in thresholds[[0, -1]]]
    chains, draws = next(iter(posterior.draws.values())).shape[:2]
    asked = f"posterior, env_id={posterior.tasks[0]!r}, threshold={thresholds[-1]:g}"
    runs = f"{len(crossings) // count:,}; {crossings['censored'].mean():.0%} of their crossings are right-censored"
    sampled = f"method {provenance.get('method', 'unknown')}, seed {provenance.get('seed', 'unknown')}"
    calls = f"bs.allocate({asked}); bs.frontier({asked}); posterior.predict(configs); bs.report(posterior, PATH)"
    return Summary(
        f"Posterior of {counted(len(posterior.tasks), 'task')} at {counted(count, 'threshold')}",
        {
            "tasks": listed(posterior.tasks),
            "thresholds": f"returns {ends[0]} to {ends[1]}" if count > 1 else f"return {ends[0]}",
            "runs": runs,
            "axes": f"{', '.join(posterior.model.varying) or 'none'}; other settings did not vary",
            "draws": f"{counted(chains, 'chain')} of {draws:,}, {sampled}",
            "how sure": posterior.status.value,
            "next": calls,
        },
    )
