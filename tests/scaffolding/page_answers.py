"""The answers of a report's page, computed in Python from the numbers in the page: the slow, obvious twin."""

import base64
import gzip
import json
import re

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from bayescale.decisions.candidates import flops_per_step
from bayescale.decisions.records import mean_and_quantiles
from bayescale.decisions.utility import expected_cost, parse_risk
from bayescale.run_length_distribution import RunLengthDistribution


class Page:
    """The data of a page: `data` as its scripts read it, and the draws of each task."""

    def __init__(self, html):
        self.data = json.loads(re.search(r'id="page-data">(.*?)</script>', html)[1])
        self._buffer = gzip.decompress(base64.b64decode(re.search(r'id="page-arrays">(.*?)</script>', html)[1]))

    def array(self, place):
        """Return one array of the page."""
        kind = np.dtype(place["type"]).newbyteorder("<")
        return np.frombuffer(self._buffer, kind, place["length"], place["at"]).astype(float)

    def settings(self, task):
        """Return the task's candidate settings."""
        return pd.DataFrame(task["settings"])

    def run_lengths(self, task):
        """Return the task's run lengths; axes draw, setting, threshold."""

        def unpacked(name):
            mean, components, scores = (self.array(task[name][part]) for part in ("mean", "components", "scores"))
            components, scores = components.reshape(-1, len(mean)), scores.reshape(-1, task["draws"])
            values = mean + scores.T * task[name]["score_step"] @ components * task[name]["step"]
            return np.moveaxis(values.reshape(task["draws"], len(task["thresholds"]), -1), 1, 2)

        location, log_scale, skewness, log_p_reach = map(unpacked, ("location", "log_scale", "skewness", "log_p_reach"))
        return RunLengthDistribution(location, np.exp(log_scale), skewness, np.exp(np.minimum(log_p_reach, 0)))

    def answer(self, number, *, prices, risk, threshold=None, budget=None):
        """Return the answer about task `number` under the names of an allocation."""
        task = self.data["tasks"][number]
        settings, lengths, measure = self.settings(task), self.run_lengths(task), parse_risk(risk)
        step_flops = flops_per_step(settings)
        step_cost = prices.cost(step_flops, np.ones(len(settings)))
        steps = np.exp(lengths.location)
        cost = expected_cost(steps, step_cost=step_cost[:, None], p_reach=lengths.p_reach)
        for k, failed in enumerate(task["failed"]):
            cost[:, failed, k] = np.inf
        chosen = None
        for k in range(len(task["thresholds"])) if threshold is None else [task["thresholds"].index(threshold)]:
            risks = measure(cost[:, :, k])
            if measure.one_run:
                risks = step_cost * [_quantile(lengths, setting, k, measure.level) for setting in range(len(settings))]
            setting = int(risks.argmin())
            feasible = budget is None or risks[setting] <= budget
            if chosen is None or feasible:
                chosen = k, setting, feasible, risks[setting]
            if not feasible:
                break
        k, setting, feasible, least = chosen
        one = RunLengthDistribution(*(part[:, setting, k] for part in lengths))
        limit = np.inf if budget is None else np.log(budget / step_cost[setting])
        return {
            "env_id": task["name"],
            "threshold": task["thresholds"][k],
            **settings.iloc[setting].to_dict(),
            "feasible": bool(feasible),
            "risk": least,
            "p_success": one.reached_by(limit).mean(),
            "env_steps": mean_and_quantiles(steps[:, setting, k]),
            "flops": mean_and_quantiles(step_flops[setting] * steps[:, setting, k]),
            "budget": mean_and_quantiles(cost[:, setting, k]),
            "regret": mean_and_quantiles(cost[:, setting, k] / cost[:, :, k].min(axis=1) - 1),
        }

    def over_utd(self, number, *, prices, threshold):
        """Return the candidate of least expected cost at each UTD, with its median env steps and its cost."""
        task = self.data["tasks"][number]
        settings, lengths, k = self.settings(task), self.run_lengths(task), task["thresholds"].index(threshold)
        step_cost, steps = (
            prices.cost(flops_per_step(settings), np.ones(len(settings))),
            np.exp(lengths.location[:, :, k]),
        )
        cost = expected_cost(steps, step_cost=step_cost, p_reach=lengths.p_reach[:, :, k]).mean(axis=0)
        cost[task["failed"][k]] = np.inf
        table = settings.assign(env_steps=np.median(steps, axis=0), cost=cost)
        return table.loc[table.groupby("utd")["cost"].idxmin()].reset_index(drop=True)


def _quantile(lengths, setting, k, level):
    """Return the env steps within which a new run reaches the threshold with this probability."""
    one = RunLengthDistribution(*(part[:, setting, k] for part in lengths))
    if one.p_reach.mean() <= level:
        return np.inf
    low, high = one.location.min() - 50 * one.scale.max(), one.location.max() + 50 * one.scale.max()
    return np.exp(brentq(lambda log_steps: one.reached_by(log_steps).mean() - level, low, high, xtol=1e-12, rtol=1e-14))
