"""Decide what counts as one setting, and refuse tables in which a setting differs without being part of the model.

- Values of UTD or learning rate that differ by rounding are one value (1e-3 and 0.00099999994).
- A UTD, batch size or learning rate that changes while the env steps of a training go on is a schedule, and its rows
  are no runs of one evaluation each.
- A further column may be a setting that the sweep varied too. Runs that differ in it are no seeds of one configuration.

A further column is such a setting if it is constant within every run of two evaluations or more, and differs between
runs of one configuration. These columns are none:

- columns that differ in almost every run, such as the name of a run, or that correspond one to one to the seed,
  unless their name is that of a common hyperparameter such as tau;
- dates;
- columns whose name says that they hold an outcome, a cost, a place, a time, a person or a remark, such as flops,
  seconds, loss, host, gpu, started, user or notes (`NO_SETTINGS` lists the words).
"""

import re
import warnings
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from bayescale.data.run_order import first_rows
from bayescale.errors import InputError

ROUNDING = 1e-6  # relative difference up to which two values of a setting are one
SCHEDULED = ("learning_rate", "batch_size", "utd")  # settings that trainers change during a run
SHORT = 2  # evaluations up to which a part of a training is short
SCHEDULE_VALUES = 5  # env steps at which short parts begin, from which they are a schedule
COMMON_VALUES = 3  # the same, if several groups of runs share values and env steps
ALMOST_ALL = 0.9  # share of the runs with different values from which a column names the runs
SHOWN = 4  # values of a setting that a message shows

# Hyperparameters that count as settings even if they differ in every run, as in a random search.
HYPERPARAMETERS = {
    "tau", "polyak", "gamma", "discount", "alpha", "ent_coef", "buffer_size", "learning_starts", "weight_decay",
    "dropout", "n_step", "nstep", "hidden", "width", "depth", "layers", "grad_clip", "epsilon", "momentum",
    "actor_lr", "critic_lr", "policy_delay", "target_update_interval", "train_freq", "n_envs", "num_envs",
}  # fmt: skip
# Words in a column's name that mark an outcome, a cost, a place, a time, a person or a remark.
NO_SETTINGS = {
    "flop", "flops", "second", "seconds", "minute", "minutes", "hour", "hours", "time", "walltime", "runtime",
    "date", "timestamp", "started", "ended", "finished", "created", "updated", "duration", "fps", "sps", "updates",
    "loss", "losses", "return", "returns", "score", "scores", "success", "accuracy", "best", "final", "last",
    "total", "cost", "price", "ram", "cpu", "cpus", "gpu", "gpus", "host", "hostname", "machine", "node", "device",
    "hardware", "cluster", "partition", "worker", "rank", "pid", "job", "slurm", "user", "username", "author",
    "note", "notes", "comment", "comments", "remark", "remarks", "tag", "tags", "description", "run", "id", "uid",
    "uuid", "hash", "commit", "git", "sha", "branch", "version", "path", "file", "folder", "dir", "logdir", "url",
    "link", "trial", "state", "status", "seed", "index", "unnamed", "row", "line", "repeat", "replicate", "fold",
    "exit", "reason", "message",
}  # fmt: skip
DATE = re.compile(r"\d{4}-\d\d-\d\d")  # beginning of a date in text
NO_SETTING_NAMES = {"name", "exp_name", "display_name"}


def with_merged_settings(curves: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    """Return the table with one value for values of a setting that differ by rounding, and warn of them.

    Values within 1e-6 of the smallest one, relative to it, are one. It is the shortest decimal among them and the
    float32 numbers that they hold.
    """
    for name in names:
        all_values = curves[name].to_numpy()
        values = np.unique(all_values[np.append(True, all_values[1:] != all_values[:-1])])
        if len(values) < 2 or (values[1:] > values[:-1] * (1 + ROUNDING)).all():
            continue
        merged: dict[float, float] = {}
        group: list[float] = []
        for value in [*values.tolist(), np.inf]:
            if group and value > group[0] * (1 + ROUNDING):
                merged |= dict.fromkeys(group, _shortest(group))
                group = []
            group.append(value)
        changed = {value: one for value, one in merged.items() if value != one}
        curves = curves.assign(**{name: curves[name].replace(changed)})
        shown = ", ".join(f"{value!r} as {one!r}" for value, one in list(changed.items())[:SHOWN])
        warnings.warn(
            f"{name}: values that differ by rounding count as one: {shown}{', ...' if len(changed) > SHOWN else ''}.",
            stacklevel=2,
        )
    return curves


def runs_of(curves: pd.DataFrame, run: Int[np.ndarray, " row"], run_columns: list[str]) -> pd.DataFrame:
    """Return a row for each run: its settings, its first and its last env steps, and the number of its evaluations.

    Args:
        curves: a learning-curve table.
        run: number of each row's run; all numbers from 0 on occur.
        run_columns: the columns that identify a run.
    """
    env_steps = curves["env_steps"].to_numpy()
    starts = first_rows(run)
    number = run[starts]
    row = np.zeros(number.max() + 1, np.int64)
    row[number[::-1]] = starts[::-1]
    evaluations, first, last = np.zeros_like(row), env_steps[row], env_steps[row]
    np.add.at(evaluations, number, np.diff(np.append(starts, len(run))))
    np.minimum.at(first, number, np.minimum.reduceat(env_steps, starts))
    np.maximum.at(last, number, np.maximum.reduceat(env_steps, starts))
    return curves[run_columns].take(row).assign(first=first, last=last, evaluations=evaluations)


def refuse_schedules(runs: pd.DataFrame, run_columns: list[str]) -> None:
    """Raise InputError if a setting changes while the env steps of a training go on.

    A group holds the runs that differ only in that setting. They are the parts of trainings if one of these holds:

    - Their stretches of env steps follow one another, and a part has two evaluations or more.
    - Most have one or two evaluations, and they begin at five env steps or more; three are enough if other groups have
      the same values at the same env steps. One evaluation at the end of each run is no schedule.
    - A part begins late, and at the next evaluation after another part ends.

    The table is refused if this is so in half of the groups of several runs.

    Args:
        runs: a row for each run, as `runs_of` returns it.
        run_columns: the columns that identify a run.
    """
    for size in range(1, len(SCHEDULED) + 1):
        for names in combinations(SCHEDULED, size):
            found = _schedule(runs, list(names), [name for name in run_columns if name not in names])
            if found is not None:
                raise InputError(_schedule_message(found, names))


def _schedule(runs: pd.DataFrame, names: list[str], others: list[str]) -> pd.DataFrame | None:
    """Return the parts of the first trainings whose settings `names` change during them, or None."""
    if not all(runs[name].nunique() > 1 for name in names):
        return None
    parts = runs.assign(group=runs.groupby(others, sort=False, observed=True).ngroup())
    parts = parts.sort_values(["group", "first", "last"], kind="stable")
    group, first, last = (parts[name].to_numpy() for name in ("group", "first", "last"))
    inside = np.append(False, group[1:] == group[:-1])
    parts["follows"] = ~inside | (first > np.append(0, last[:-1]))
    by_group = parts.groupby("group")
    several = by_group.size() > 1
    short = several & (by_group["evaluations"].median() <= SHORT)
    begins = by_group["first"].nunique()
    in_short = parts[short.to_numpy()[group] & (begins >= COMMON_VALUES).to_numpy()[group]]
    shared = 2 * len(in_short.drop_duplicates(["first", *names])) <= len(in_short)
    scheduled = several & by_group["follows"].all() & (by_group["evaluations"].max() > 1)
    scheduled |= short & (begins >= (COMMON_VALUES if shared else SCHEDULE_VALUES))
    scheduled |= several & _continued(parts, len(several))
    if not scheduled.any() or 2 * scheduled.sum() < several.sum():
        return None
    for number in scheduled.index[scheduled]:
        own: pd.DataFrame = parts[group == number]
        if (own["first"] > own["last"].min()).any():
            return own
    return None


def _continued(parts: pd.DataFrame, groups: int) -> Bool[np.ndarray, " group"]:
    """Return True for each group in which a part begins late, where another part has just ended."""
    interval = (parts["last"] - parts["first"]) / (parts["evaluations"] - 1).clip(lower=1)
    late = parts.assign(earliest=parts["first"] - 1.5 * interval)
    late = late[(parts["evaluations"] > 1) & (parts["first"] > 2 * interval)].sort_values("first", kind="stable")
    ends = parts[["group", "last"]].rename(columns={"last": "end"}).sort_values("end", kind="stable")
    before = pd.merge_asof(
        late, ends, left_on="first", right_on="end", by="group", allow_exact_matches=False, direction="backward"
    )
    found = np.zeros(groups, bool)
    found[before["group"][before["end"] >= before["earliest"]]] = True
    return found


def _schedule_message(parts: pd.DataFrame, names: tuple[str, ...]) -> str:
    first = parts.iloc[int(parts["last"].argmin())]
    second = parts[parts["first"] > first["last"]].iloc[0]
    what = " and ".join(names)
    before, after = (" and ".join(f"{part[name]:g}" for name in names) for part in (first, second))
    return (
        f"{what} changes during a run: {before} at env step {first['last']:,}, {after} at env step "
        f"{second['first']:,} ({first['env_id']}, seed {first['seed']}). A run has one {what}: state the initial one "
        "as one number in all its rows. If these are separate runs, give each a seed."
    )


def refuse_other_settings(
    curves: pd.DataFrame, run: Int[np.ndarray, " row"], run_columns: list[str], further: list[str]
) -> None:
    """Raise InputError if a further column is a setting that differs between runs of one configuration.

    Args:
        curves: a table sorted by run.
        run: number of each row's run, from 0, increasing.
        run_columns: the columns that identify a run.
        further: the columns that may be settings.
    """
    starts = first_rows(run)
    runs = curves.take(starts)
    configuration = [name for name in run_columns if name != "seed"]
    number = runs.groupby(configuration, sort=False, observed=True).ngroup().to_numpy()
    if number.max(initial=0) + 1 == len(runs):
        return
    evaluations = np.diff(np.append(starts, len(run)))
    for name in further:
        if not may_be_setting(curves, name):
            continue
        codes = value_codes(curves[name])
        changes = (np.diff(codes) != 0) & (np.diff(run) == 0)
        of_run = codes[starts]
        if changes.any() or (evaluations == 1).all() or not _differs(of_run, number):
            continue
        distinct = len(np.unique(of_run))
        is_name = distinct >= ALMOST_ALL * len(runs) or _one_to_one(of_run, runs["seed"].to_numpy())
        if is_name and not _words(name) & HYPERPARAMETERS and str(name).lower() not in HYPERPARAMETERS:
            continue
        raise InputError(_other_setting_message(runs, of_run, number, name))


def differing_settings(curves: pd.DataFrame, pairs: Int[np.ndarray, "pair two"], further: list[str]) -> str:
    """Return the remedy if further columns that may be settings differ between the rows of all pairs, otherwise ""."""
    columns = []
    for name in filter(lambda name: may_be_setting(curves, name), further):
        codes = value_codes(curves[name])
        if (codes[pairs[:, 0]] != codes[pairs[:, 1]]).all() and 2 * (codes.max() + 1) <= len(curves):
            columns.append(str(name))
    if not columns:
        return ""
    return (
        f"The rows differ in {' and '.join(columns)}, which may be a setting: fit each value by itself or write it "
        "into algorithm."
    )


def may_be_setting(curves: pd.DataFrame, name: str) -> bool:
    """Return True unless the name or the type of a further column says that it is no setting."""
    small = str(name).lower()
    if small in HYPERPARAMETERS:
        return True
    if small in NO_SETTING_NAMES or _words(name) & NO_SETTINGS or curves[name].dtype.kind in "mM":
        return False
    known = curves[name].dropna()
    return not (len(known) and DATE.match(str(known.iloc[0])))


def value_codes(values: pd.Series) -> Int[np.ndarray, " row"]:
    """Return a whole number for each value, equal for equal values; missing values are -1."""
    try:
        return np.asarray(pd.factorize(values)[0])
    except TypeError:  # lists and dicts have no hash
        return np.asarray(pd.factorize(values.map(repr))[0])


def _other_setting_message(
    runs: pd.DataFrame, of_run: Int[np.ndarray, " run"], number: Int[np.ndarray, " run"], name: str
) -> str:
    mixed = next(i for i in range(number.max() + 1) if len(np.unique(of_run[number == i])) > 1)
    own = runs[number == mixed]
    values = [f"{value:g}" if isinstance(value, float) else str(value) for value in own[name].drop_duplicates()]
    shown = ", ".join(value[:30] for value in values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")
    first = own.iloc[0]
    return (
        f"the column {name} differs between runs of one configuration ({shown} at {first['algorithm']}, "
        f"{first['env_id']}, UTD {first['utd']:g}, batch size {first['batch_size']}), which would count as seeds. Fit "
        f"each value by itself or write {name} into algorithm; ignore=('{name}',) (--ignore {name}) pools the runs."
    )


def _differs(of_run: Int[np.ndarray, " run"], number: Int[np.ndarray, " run"]) -> bool:
    """Return True if runs of one configuration have different values."""
    pairs = pd.DataFrame({"configuration": number, "value": of_run}).drop_duplicates()
    return bool(pairs["configuration"].duplicated().any())


def _one_to_one(of_run: Int[np.ndarray, " run"], seed: Int[np.ndarray, " run"]) -> bool:
    """Return True if each value comes with one seed and each seed with one value."""
    pairs = pd.DataFrame({"value": of_run, "seed": seed}).drop_duplicates()
    return not pairs["value"].duplicated().any() and not pairs["seed"].duplicated().any()


def _words(name: str) -> set[str]:
    """Return the words of a column's name in small letters: `wallTime_s` holds wall, time and s."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", str(name))}


def _shortest(values: list[float]) -> float:
    """Return the shortest decimal among the values and the float32 numbers that they hold."""
    decimals = [*values, *(float(str(np.float32(value))) for value in values if float(np.float32(value)) == value)]
    return min(decimals, key=lambda value: (len(repr(value)), value))
