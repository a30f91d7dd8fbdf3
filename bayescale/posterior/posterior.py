"""The posterior: draws of a model fitted to crossings, what they predict, and the file that keeps both.

The model is an argument; `load` is told which models exist.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Num

from bayescale.arguments import number
from bayescale.data.configurations import checked_configs, outside_range
from bayescale.data.tasks import naming_columns, with_task_names
from bayescale.data.thresholds import increasing_thresholds
from bayescale.errors import InputError, NotConverged
from bayescale.inference.arviz_compat import inference_data
from bayescale.inference.sampling import Draws, Status, diagnose, unconverged
from bayescale.posterior import predictive
from bayescale.posterior.ceilings import Ceiling, ceilings
from bayescale.posterior.netcdf import content_hash, read_groups, storable, write_groups

LEVELS = np.array([0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95])
QUANTILES = tuple(f"q{round(100 * level):02d}" for level in LEVELS)
FORMAT = 2  # of saved files; raise it when what an older file holds would mean something else
PREDICTION_DRAWS = 500  # of the kept draws, evenly spaced; a quantile of log env steps moves by about 1% of its spread


@dataclass(frozen=True)
class Posterior:
    """Draws of a model given crossings.

    Attributes:
        model: the fitted model.
        draws: sites, chain axis first, then draw.
        statistics: the sampler's, by chain and draw.
        crossings: the observations, one row per run and threshold.
        status: whether the draws can be trusted; its value is the message for the user.
        provenance: data hash, versions, seed, priors.
    """

    model: Any
    draws: dict[str, Float[np.ndarray, "chain draw ..."]]
    statistics: dict[str, np.ndarray]
    crossings: pd.DataFrame
    status: Status
    provenance: dict[str, str]

    @classmethod
    def from_draws(cls, model: Any, draws: Draws, crossings: pd.DataFrame, seed: int) -> "Posterior":
        """The posterior with its provenance filled in."""
        provenance = {
            "data_sha256": data_hash(crossings),
            "seed": str(seed),
            "method": draws.method,
            "priors": json.dumps({name: asdict(prior) for name, prior in model.priors.items()}),
            **{package: version(package) for package in ("bayescale", "numpyro", "jax", "arviz", "numpy")},
        }
        return cls(model, draws.sites, draws.statistics, crossings, draws.status, provenance)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the fitted tasks."""
        return tuple(self.model.env_ids)

    @property
    def thresholds(self) -> Float[np.ndarray, " threshold"]:
        """The fitted thresholds, increasing, in normalised or raw return as the crossings were."""
        return np.asarray(self.model.thresholds)

    def of_task(self, env_id: str) -> pd.DataFrame:
        """The fitted crossings of a task; of all tasks for one without runs."""
        own = self.crossings[self.crossings["env_id"] == env_id]
        return own if len(own) else self.crossings

    def model_size(self, env_id: str) -> int | None:
        """Critic parameters of a task's fitted runs, if their table says so; of several sizes, the middle one."""
        if "model_size" not in self.crossings:
            return None
        return int(self.of_task(env_id)["model_size"].drop_duplicates().quantile(0.5, "lower"))

    def require_convergence(self) -> "Posterior":
        """This posterior.

        Raises:
            NotConverged: the status is not usable; the message names the worst parameters.
        """
        if self.status.usable:
            return self
        table = self.diagnostics()
        names = unconverged(table, len(next(iter(self.draws.values()))))
        worst = ", ".join(
            f"{row.Index} (R-hat {row.r_hat:.3f}, bulk ESS {row.ess_bulk:.0f}, tail ESS {row.ess_tail:.0f})"
            for row in table.loc[list(names[:5])].itertuples()
        )
        raise NotConverged(f"{self.status.value}{'; worst ' + worst if worst else ''}.", names)

    def flat_draws(self, most: int | None = None) -> dict[str, jax.Array]:
        """Sites with chains merged, with one more task from the population; at most `most` evenly spaced draws."""
        merged = {name: values.reshape(-1, *values.shape[2:]) for name, values in self.draws.items()}
        total = len(next(iter(merged.values())))
        if most is not None and total > most:
            keep = np.linspace(0, total - 1, most).round().astype(int)
            merged = {name: values[keep] for name, values in merged.items()}
        extended: dict[str, jax.Array] = self.model.with_new_task(merged, jax.random.PRNGKey(0))
        return extended

    def task_number(self, env_id: str) -> int:
        """The task's number; the one after the last stands for any task without runs."""
        return self.tasks.index(env_id) if env_id in self.tasks else len(self.tasks)

    def threshold_number(self, threshold: float) -> int:
        """The threshold's number.

        Raises:
            InputError: it was not fitted.
        """
        at = np.flatnonzero(self.thresholds == self.as_fitted(threshold))
        if not len(at):
            known = ", ".join(f"{value:g}" for value in self.thresholds)
            raise InputError(f"threshold {threshold:g} was not fitted; choose one of {known}, or fit again with it.")
        return int(at[0])

    def as_fitted(self, threshold: float) -> float:
        """The fitted threshold that a return, as tables print it, stands for; the return itself if there is none.

        Raises:
            InputError: it is no finite number.
        """
        wanted = number(threshold)
        if not np.isfinite(wanted):
            raise InputError(f"threshold must be a finite number; got {threshold!r}. Correct it.")
        nearest = self.thresholds[np.argmin(abs(self.thresholds - wanted))]
        return float(nearest if np.isclose(nearest, wanted, rtol=1e-4, atol=1e-9) else wanted)

    def predict(
        self,
        configs: pd.DataFrame,
        thresholds: Sequence[Any] | Num[np.ndarray, "..."] | None = None,
        ceiling: Ceiling | None = None,
    ) -> pd.DataFrame:
        """Quantiles of the env steps until a new run (one seed) is seen to reach each threshold.

        It is seen at an evaluation, so quantiles are rounded up to whole evaluation intervals.

        Args:
            configs: columns env_id, utd, batch_size, learning_rate, and model_size where that varies in the fitted
                runs; optional evaluation_interval, the env steps between evaluations of the new run, by default the
                median of the task's fitted runs. Further columns are kept. A task without runs gets the population's
                prediction.
            thresholds: increasing returns, from the lowest fitted on; default those fitted. Beyond the highest, the law
                of `bayescale.posterior.extrapolation` takes over.
            ceiling: the best return there is, in units of the thresholds, see `bayescale.posterior.ceilings`; no run gets beyond.

        Returns:
            One row per configuration and threshold: the columns of `configs`, `evaluation_interval`, `threshold`, q05
            ... q95 (env steps of a new run; inf where the quantile falls on runs that never get there), law_q05
            law_q50 law_q95 (of the median run, not rounded: parameter uncertainty alone), `p_reach`, `extrapolated`.

        Raises:
            InputError: a column is missing, a value is not positive and finite, or thresholds or a ceiling cannot be.
        """
        configs = checked_configs(configs).reset_index(drop=True)
        named = self.named(configs)
        draws = self.flat_draws(PREDICTION_DRAWS)
        returns = self.thresholds if thresholds is None else increasing_thresholds(thresholds)
        if thresholds is None and ceiling is None:
            predicted = predictive.predict(self.model, draws, named, LEVELS)
        else:
            best = ceilings(ceiling, named["env_id"], self.crossings)
            predicted = predictive.predict_at(self.model, draws, named, LEVELS, self.thresholds, returns, best)
        if "evaluation_interval" not in configs:
            configs = configs.assign(evaluation_interval=self._evaluation_intervals(named))
        levels = len(returns)
        table = configs.loc[configs.index.repeat(levels)].reset_index(drop=True)
        table["threshold"] = np.tile(returns, len(configs))
        every = table[["evaluation_interval"]].to_numpy(float)
        table[list(QUANTILES)] = np.ceil(predicted.quantiles.reshape(-1, len(LEVELS)) / every) * every
        table[["law_q05", "law_q50", "law_q95"]] = predicted.law.reshape(-1, 3)
        table["p_reach"] = predicted.p_reach.ravel()
        table["extrapolated"] = np.repeat(self.extrapolated(named), levels) | (table["threshold"] > self.thresholds[-1])
        return table

    def named(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table of rows of runs or configurations with the fit's names of its tasks as `env_id`.

        Raises:
            InputError: the fit holds several suites or algorithms, and the table does not say which.
        """
        return with_task_names(table, naming_columns(self.crossings), self.tasks)

    def extrapolated(self, configs: pd.DataFrame) -> Bool[np.ndarray, " config"]:
        """True where a configuration lies outside its task's range of UTD, batch size, rate or model size."""
        return outside_range(self.crossings, configs)

    def _evaluation_intervals(self, configs: pd.DataFrame) -> Float[np.ndarray, " config"]:
        """Env steps between evaluations: the median of the task's crossings, of all crossings for a new task."""
        seen = self.crossings[~self.crossings["censored"] & (self.crossings["env_steps_upper"] > 0)]
        widths = seen["env_steps_upper"] - seen["env_steps_lower"]
        by_task = widths.groupby(seen["env_id"]).median()
        return configs["env_id"].map(by_task).fillna(widths.median()).to_numpy(float)

    @cached_property
    def _diagnostics(self) -> pd.DataFrame:
        return diagnose(self.draws)

    def diagnostics(self) -> pd.DataFrame:
        """Mean, sd, r_hat, ess_bulk and ess_tail of every scalar parameter, by name."""
        return self._diagnostics

    def groups(self) -> dict[str, Any]:
        """The posterior as xarray datasets: posterior, sample_stats, observed_data."""
        import xarray as xr

        def dataset(arrays: Mapping[str, np.ndarray]) -> xr.Dataset:
            named = {
                name: (("chain", "draw", *(f"{name}_dim_{i}" for i in range(values.ndim - 2))), values)
                for name, values in arrays.items()
            }
            return xr.Dataset(named)

        table = self.crossings.reset_index(drop=True).rename_axis("observation")
        observed = {name: ("observation", storable(column)) for name, column in table.items() if isinstance(name, str)}
        groups = {
            "posterior": dataset(self.draws),
            "sample_stats": dataset(self.statistics),
            "observed_data": xr.Dataset(observed),
        }
        groups["posterior"].attrs.update(
            model=json.dumps({"name": self.model.name, **asdict(self.model)}),
            format=FORMAT,
            status=self.status.name,
            provenance=json.dumps(self.provenance),
            content_sha256=content_hash(groups),
        )
        return groups

    def to_arviz(self) -> Any:
        """ArviZ's InferenceData (ArviZ before 1.0) or xarray's DataTree (from 1.0)."""
        return inference_data(self.groups())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the posterior to one netCDF file, whole or not at all.

        Raises:
            InputError: the file cannot be written.
        """
        write_groups(self.groups(), path)


def load(path: str | os.PathLike[str], models: Mapping[str, Any]) -> Posterior:
    """The posterior in a file that `Posterior.save` wrote; its predictions equal those of the one saved.

    Args:
        path: netCDF file.
        models: for each model name, a function from the stored fields to the model.

    Raises:
        InputError: no such file, not a posterior of this package, or one in another format.
    """
    if not Path(path).is_file():
        raise InputError(f"{path} does not exist; give the file that `bayescale fit` wrote.")
    try:
        groups = read_groups(path, ("posterior", "sample_stats", "observed_data"))
        attributes = groups["posterior"].attrs
        provenance, stored = json.loads(attributes["provenance"]), json.loads(attributes["model"])
        if (form := int(attributes["format"])) != FORMAT:
            raise InputError(
                f"{path} was written by bayescale {provenance['bayescale']} in format {form}, not {FORMAT}; "
                "fit it again, or read it with that version."
            )
        model = models[stored.pop("name")](stored)
        status = Status[attributes["status"]]
    except InputError:
        raise
    except (OSError, RuntimeError, LookupError, AttributeError, ValueError, TypeError) as error:  # h5py's among them
        raise InputError(
            f"{path} holds no posterior that this version of bayescale reads ({type(error).__name__}); fit it again."
        ) from None
    if content_hash(groups) != attributes.get("content_sha256"):
        raise InputError(f"{path} is damaged: what it holds is not what was saved. Copy it again, or fit it again.")
    arrays = [{str(k): v.to_numpy() for k, v in groups[g].items()} for g in ("posterior", "sample_stats")]
    crossings = groups["observed_data"].to_dataframe().reset_index(drop=True)
    return Posterior(model, arrays[0], arrays[1], crossings, status, provenance)


def data_hash(crossings: pd.DataFrame) -> str:
    """SHA-256 of a crossings table: equal tables, equal hashes."""
    values = pd.util.hash_pandas_object(crossings, index=False).to_numpy()
    names = ",".join(map(str, crossings.columns)).encode()
    return hashlib.sha256(names + values.tobytes()).hexdigest()
