"""The `Posterior` class: draws of a fitted model, predictions from these draws, and the file that keeps them.

The module imports no model: `Posterior` takes its model as an argument.
"""

import json
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Num

from bayescale.arguments import number
from bayescale.data.configurations import checked_configs, outside_range
from bayescale.data.observations import evaluation_intervals
from bayescale.data.tasks import naming_columns, require_fitted_tasks, with_task_names
from bayescale.data.thresholds import increasing_thresholds
from bayescale.errors import InputError, NotConverged
from bayescale.float64 import float64
from bayescale.inference.arviz_compat import inference_data
from bayescale.inference.compilation_cache import compiled_code_kept
from bayescale.inference.convergence import Status, diagnose, unconverged
from bayescale.inference.draws import Draws
from bayescale.inference.model import Model
from bayescale.posterior import netcdf, predictive
from bayescale.posterior.ceilings import Ceiling, ceilings
from bayescale.posterior.identifiability import not_converged
from bayescale.posterior.outcomes import ASSUMED, nothing_reached
from bayescale.posterior.prediction_table import (
    Evaluations,
    next_evaluations,
    predictions_by_threshold,
    with_evaluations,
)
from bayescale.posterior.summary import summary_of
from bayescale.posterior.swept_ranges import above_thresholds, joined, outside_sweep
from bayescale.summaries import Summarised, Summary

POPULATION = "(population mean)"  # label of the last row of parameters that vary by task
PREDICTION_DRAWS = 500  # evenly spaced draws for predictions; more move a quantile by about 1% of the spread in logs


@dataclass(frozen=True, repr=False)
class Posterior(Summarised):
    """Draws from the posterior of a model, together with the data that it was fitted to.

    Attributes:
        model: the fitted model.
        draws: values by parameter name, chain axis first, then draw axis.
        statistics: the sampler's statistics by name, by chain and draw.
        crossings: the fitted observations, one row per run and threshold.
        status: the verdict on convergence; `status.value` is the sentence that users read.
        provenance: data hash, package versions, seed, sampling method and priors.
    """

    model: Model
    draws: dict[str, Float[np.ndarray, "chain draw ..."]]
    statistics: dict[str, np.ndarray]
    crossings: pd.DataFrame
    status: Status
    provenance: dict[str, str]

    @classmethod
    def from_draws(cls, model: Model, draws: Draws, crossings: pd.DataFrame, seed: int) -> "Posterior":
        """Return the posterior of these draws and record its provenance."""
        provenance = {
            "data_sha256": netcdf.table_hash(crossings),
            "seed": str(seed),
            "method": draws.method,
            "priors": json.dumps({name: asdict(prior) for name, prior in model.priors.items()}),
            **{package: version(package) for package in ("bayescale", "numpyro", "jax", "arviz", "numpy")},
        }
        return cls(model, draws.parameters, draws.statistics, crossings, draws.status, provenance)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the fitted tasks, in the order of the model."""
        return tuple(self.model.env_ids)

    @property
    def thresholds(self) -> Float[np.ndarray, " threshold"]:
        """The fitted thresholds, increasing, in the crossings' units: normalised or raw returns."""
        return np.asarray(self.model.thresholds)

    def summary(self) -> Summary:
        """Return what the posterior is, on which runs it rests, how sure it is, and what to do with it."""
        return summary_of(self)

    def of_task(self, env_id: str) -> pd.DataFrame:
        """Return the fitted crossings of a task, or all fitted crossings if the task has no runs."""
        own = self.crossings[self.crossings["env_id"] == env_id]
        return own if len(own) else self.crossings

    def model_size(self, env_id: str) -> int | None:
        """Return the critic parameters of a task's fitted runs, the middle size of several; None if not recorded."""
        if "model_size" not in self.crossings:
            return None
        return int(self.of_task(env_id)["model_size"].drop_duplicates().quantile(0.5, "lower"))

    def require_convergence(self) -> "Posterior":
        """Return this posterior if its chains converged.

        Raises:
            NotConverged: the status is not usable; the message names the worst parameters, the likely cause in the
                fitted crossings and a remedy, and the error keeps this posterior for a diagnosis.
        """
        if self.status.usable:
            return self
        names = unconverged(self.diagnostics(), len(next(iter(self.draws.values()))))
        worst = self.diagnostics().loc[list(names)]
        raise NotConverged(not_converged(self.model, self.crossings, self.draws, self.status, worst), names, self)

    @compiled_code_kept()
    @float64()
    def flat_draws(self, most: int | None = None, env_ids: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Return the draws with chains merged, plus one new task per draw, sampled from the population of tasks.

        The entry `attainable` is the chance that a task's runs can reach each threshold at all.

        Args:
            most: at most this many draws are returned, evenly spaced; None: all of them.
            env_ids: tasks to predict. If all are fitted, the new task is left out: sampling it takes a second.
        """
        total = len(next(iter(self._merged_draws.values())))
        keep = np.linspace(0, total - 1, min(most or total, total)).round().astype(int)
        kept = {name: values[keep] for name, values in self._merged_draws.items()}
        if env_ids is None or not set(env_ids) <= set(self.tasks):
            kept = self.model.add_task(kept, jax.random.PRNGKey(0))
        return {name: np.asarray(values) for name, values in kept.items()}

    @cached_property
    def _merged_draws(self) -> dict[str, Any]:
        merged = {name: values.reshape(-1, *values.shape[2:]) for name, values in self.draws.items()}
        return self.model.with_ceilings(merged, self.crossings)

    def threshold_number(self, threshold: float) -> int:
        """Return the index of a fitted threshold.

        Raises:
            InputError: the threshold was not fitted.
        """
        at = np.flatnonzero(self.thresholds == self.as_fitted(threshold))
        if not len(at):
            known = ", ".join(f"{value:g}" for value in self.thresholds)
            raise InputError(f"threshold {threshold:g} was not fitted; choose one of {known}, or fit again with it.")
        return int(at[0])

    def as_fitted(self, threshold: float) -> float:
        """Return the fitted threshold that equals the given one up to the rounding of printed tables, else the given.

        Raises:
            InputError: `threshold` is not a finite number.
        """
        wanted = number(threshold)
        if not np.isfinite(wanted):
            raise InputError(f"threshold must be a finite number; got {threshold!r}. Correct it.")
        nearest = self.thresholds[np.argmin(abs(self.thresholds - wanted))]
        return float(nearest if np.isclose(nearest, wanted, rtol=1e-4, atol=1e-9) else wanted)

    def predict(
        self,
        configs: pd.DataFrame,
        *,
        thresholds: Sequence[Any] | Num[np.ndarray, "..."] | None = None,
        ceiling: Ceiling | None = None,
        new_task: bool = False,
        evaluations: Evaluations | None = None,
    ) -> pd.DataFrame:
        """Return quantiles of the env steps until an evaluation first shows a new run (one seed) at each threshold.

        Args:
            configs: columns env_id, utd, batch_size, learning_rate, and model_size where that varies in the fitted
                runs. Further columns are kept.
            thresholds: increasing returns, none below the lowest fitted threshold; default: the fitted thresholds.
                Returns above the highest fitted threshold follow the law of `bayescale.posterior.extrapolation`.
            ceiling: the highest return that a task allows, in units of the thresholds; see
                `bayescale.posterior.ceilings`. No run exceeds it.
            new_task: True allows tasks without runs. Their predictions are those of a task sampled from the population
                of tasks, and `extrapolation` says so.
            evaluations: when the new run is evaluated: an interval, a list of increasing env steps, or "crossing" for
                the crossing itself, not rounded up to an evaluation. None: the interval at which the task's fitted runs
                evaluate; "crossing" if there is no such interval. A column `evaluation_interval` or
                `evaluation_steps` of `configs` serves as well.

        Returns:
            The table of `bayescale.posterior.prediction_table`: one row per configuration and threshold with the
            columns of `configs`, `evaluation_interval` (0: the crossing itself) or `evaluation_steps`, `threshold`,
            q05 ... q95 (env steps of a new run; inf where the quantile falls on runs that never reach the threshold, or
            after the last of a list), law_q05 law_q50 law_q95 (env steps of the median run, not rounded: parameter
            uncertainty alone), `p_reach`, `extrapolated` and `extrapolation`, on which axes and how far the row lies
            outside the fitted data. Warns of tasks on which no run reached any threshold.

        Raises:
            InputError: a task has no fitted runs and `new_task` is False, a column is missing, a value is not positive
                and finite, the thresholds or evaluations do not increase, a threshold lies below the lowest fitted
                one, or a ceiling is unusable.
        """
        configs = checked_configs(configs).reset_index(drop=True)
        named = self.named(configs)
        evaluated = with_evaluations(
            configs, evaluations, default=evaluation_intervals(self.crossings, named["env_id"])
        )
        self.require_tasks(named["env_id"], new_task=new_task)
        self.warn_of_nothing_reached(named["env_id"])
        draws = self.flat_draws(PREDICTION_DRAWS, named["env_id"])
        returns = self.thresholds if thresholds is None else increasing_thresholds(thresholds)
        if thresholds is None and ceiling is None:
            predicted = predictive.predict(self.model, draws, named)
        else:
            best = ceilings(ceiling, named["env_id"], self.crossings)
            predicted = predictive.predict_at(
                self.model, draws, named, fitted=self.thresholds, wanted=returns, ceiling=best
            )
        outside = outside_sweep(self.crossings, named)
        beyond = [above_thresholds(self.thresholds, threshold) for threshold in returns]
        return predictions_by_threshold(
            evaluated,
            returns,
            quantiles=next_evaluations(predicted.quantiles, evaluated),
            law_quantiles=predicted.law,
            p_reach=predicted.p_reach,
            extrapolation=np.array([[joined(o, b) for b in beyond] for o in outside], object),
        )

    def named(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table of runs or configurations with `env_id` replaced by the task names of the fit.

        Raises:
            InputError: the fit holds several suites or algorithms, and the table does not say which.
        """
        return with_task_names(table, naming_columns(self.crossings), self.tasks)

    def require_tasks(self, env_ids: Iterable[object], *, new_task: bool = False) -> None:
        """Raise InputError unless the fit has runs of every task, or `new_task` allows tasks without runs."""
        require_fitted_tasks(env_ids, self.tasks, new_task=new_task)

    @cached_property
    def _warned_of(self) -> set[str]:
        """Tasks that `warn_of_nothing_reached` has named."""
        return set()

    def warn_of_nothing_reached(self, env_ids: Iterable[str]) -> None:
        """Warn, in one line per task, of tasks on which no run reached the lowest fitted threshold."""
        clauses = nothing_reached(self.crossings, [name for name in env_ids if name not in self._warned_of])
        self._warned_of.update(clauses)
        if clauses:
            which = "it" if len(clauses) == 1 else "them"
            warnings.warn(f"{'; '.join(clauses.values())}: forecasts for {which} rest on {ASSUMED}.", stacklevel=3)

    def extrapolated(self, configs: pd.DataFrame) -> Bool[np.ndarray, " config"]:
        """Return True where UTD, batch size, learning rate or model size lies outside the task's fitted range."""
        return outside_range(self.crossings, configs)

    @cached_property
    def _diagnostics(self) -> pd.DataFrame:
        return diagnose(self.draws)

    def diagnostics(self) -> pd.DataFrame:
        """Return mean, sd, r_hat, ess_bulk and ess_tail of every scalar parameter, by name."""
        return self._diagnostics

    def groups(self) -> dict[str, Any]:
        """Return the xarray datasets posterior, sample_stats and observed_data, by name."""
        groups = {
            "posterior": netcdf.chains_dataset(
                self.draws,
                self.model.dimensions(),
                {name: {"units": u, "long_name": m} for name, (u, m) in self.model.descriptions().items()},
                {"task": [*self.tasks, POPULATION], "threshold": self.thresholds.tolist()},
            ),
            "sample_stats": netcdf.chains_dataset(self.statistics),
            "observed_data": netcdf.table_dataset(self.crossings),
        }
        groups["posterior"].attrs.update(
            model=json.dumps({"name": self.model.name, **self.model.fields()}),
            format=netcdf.FORMAT,
            status=self.status.name,
            provenance=json.dumps(self.provenance),
        )
        groups["posterior"].attrs[netcdf.HASH] = netcdf.content_hash(groups)
        return groups

    def to_arviz(self) -> Any:
        """Return ArviZ's InferenceData (ArviZ before 1.0) or xarray's DataTree (from 1.0)."""
        return inference_data(self.groups())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the posterior to one netCDF file; a failed write leaves an older file in place.

        Raises:
            InputError: the file cannot be written.
        """
        netcdf.write_groups(self.groups(), path)
