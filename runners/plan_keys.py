"""Document each key of a sweep plan once: meaning, unit, default, and how to choose it.

`PLAN_KEYS` is the one place of these texts. `bayescale plan --keys` prints them, `example_plan` writes them as
comments, and the page of the documentation is made from them. Types and defaults come from the classes in
`bayescale.runners.config`.
"""

import json
import math
import textwrap
from dataclasses import MISSING, dataclass
from typing import Any

from bayescale.errors import InputError
from bayescale.runners.config import ALGORITHMS, RunConfig, closest

COMMENT_WIDTH = 96  # characters of a line of comments in an example


@dataclass(frozen=True)
class Key:
    """The documentation of one key of a plan.

    Attributes:
        meaning: a noun phrase.
        unit: unit of the value; empty for names and switches.
        choose: how to choose the value, in sentences.
    """

    meaning: str
    unit: str
    choose: str


PLAN_KEYS: dict[str, Key] = {
    "algorithm": Key("algorithm to train, or a list of them", "", "SAC, BRO or PQL. Default: SAC."),
    "env_id": Key(
        "task, as its suite names it; a list of tasks; or a table of tasks by suite",
        "",
        "Several tasks in one sweep inform each other: the fit pools what they share.",
    ),
    "utd": Key(
        "updates-to-data ratio: gradient updates per env step",
        "updates per env step",
        "A list of four or more values, a factor of two apart, on both sides of the UTD that you use today. Two values "
        "cannot show that the gain levels off.",
    ),
    "batch_size": Key(
        "transitions per gradient update",
        "transitions",
        "A list of three values, a factor of two apart, around your usual one. The best batch size falls as UTD rises, "
        "so let the list reach below the usual value.",
    ),
    "learning_rate": Key(
        "learning rate of all networks and of the temperature",
        "",
        "A list of three values, a factor of two to three apart, around your usual one. The best rate falls as UTD "
        "rises. If the best of a pilot lies at an end of the list, move the list.",
    ),
    "seed": Key(
        "number that starts all random numbers of a run",
        "",
        "A list such as [0, 1, 2, 3]. Three or four seeds show the seed noise; further runs are better spent on "
        "further settings.",
    ),
    "env_steps": Key(
        "length of a run, or a table of lengths by UTD",
        "env steps",
        "Long enough for most runs to reach the return that you care about; about twice the median time is good. Runs "
        "at low UTD need more steps, so give them longer lengths in a table. Runs that end earlier count as "
        "right-censored, not as failures.",
    ),
    "suite": Key(
        "benchmark suite of the tasks",
        "",
        "gym (Gymnasium), dmc (DeepMind Control, extra dmc) or playground (MuJoCo Playground, extra playground).",
    ),
    "action_repeat": Key(
        "simulator steps per env step",
        "simulator steps",
        "1 unless your baseline repeats actions. All lengths and the UTD count env steps; one is one decision.",
    ),
    "hidden_width": Key(
        "width of the hidden layers of the critics (with SAC and PQL of the actor too), or a list of widths",
        "units",
        "A list varies the model size. The column model_size of the curves counts the parameters of both critics "
        "(weights and biases of the twins together), without target critics and actor: two critics of 256 x 256 units "
        "have about 1.5e5.",
    ),
    "depth": Key(
        "hidden layers of each critic; residual blocks for BRO",
        "layers",
        "Keep the default unless your baseline differs.",
    ),
    "gamma": Key("discount per env step", "", "0.99 suits episodes of hundreds of env steps."),
    "tau": Key(
        "share by which the target critics move to the critics after each update",
        "",
        "Keep the default; it is tied to the algorithm.",
    ),
    "warmup_steps": Key(
        "env steps with random actions and no updates, at the start of a run",
        "env steps",
        "At least the batch size, and well below the first crossing that you want to measure: the warm-up is part of "
        "every run's env steps, so 1,000 steps of warm-up hide differences below 1,000 env steps.",
    ),
    "buffer_size": Key(
        "transitions that the replay buffer keeps; the oldest leave first",
        "transitions",
        "As long as the run if memory allows.",
    ),
    "evaluation_interval": Key(
        "env steps between evaluations; step 0 and the last step are always evaluated",
        "env steps",
        "A run's time to a return is known up to this interval, so take a twentieth of the shortest time that you "
        "expect, or less. Evaluations cost time: evaluation_episodes whole episodes each.",
    ),
    "evaluation_episodes": Key(
        "episodes per evaluation, without exploration, in environments apart from those of training",
        "episodes",
        "10 for tasks with random start states; 1 or 2 where episodes hardly differ.",
    ),
    "stop_return": Key(
        "return at which a run may stop early, or a table of returns by task",
        "return",
        "Leave it out for whole runs. To save compute, choose a return somewhat above your highest threshold.",
    ),
    "stop_patience": Key(
        "evaluations at stop_return before a run stops",
        "evaluations",
        "Raise it for tasks with noisy returns.",
    ),
    "device": Key(
        "device of the networks and the replay buffer",
        "",
        "cpu, cuda or cuda:NUMBER. Many small runs train faster on cores; a GPU pays off for wide networks or many "
        "members.",
    ),
    "actor_width": Key("width of the actor's hidden layers", "units", "Keep the authors' value."),
    "actor_depth": Key("residual blocks of the actor", "blocks", "Keep the authors' value."),
    "quantiles": Key(
        "quantiles of the return that each critic predicts",
        "quantiles",
        "Keep the authors' value. It counts in model_size through the last layer.",
    ),
    "weight_decay": Key("weight decay of AdamW, for actors and critics", "", "Keep the authors' value."),
    "reset_interval": Key(
        "gradient updates between fresh starts of all networks and optimisers",
        "updates",
        "Keep it above the updates of a run for curves without resets; give the same number to `fit --reset-period` if "
        "runs are longer.",
    ),
    "optimistic": Key("true for a second, optimistic actor that explores", "", "Keep the authors' value."),
    "num_envs": Key(
        "parallel environments; all of them step together",
        "environments",
        "env_steps, warmup_steps and evaluation_interval must be multiples of it. With k updates per step of all "
        "environments, the UTD is k / num_envs.",
    ),
    "n_step": Key("env steps of rewards before the next value in a target", "env steps", "Keep the authors' value."),
    "critic_actor_ratio": Key("updates of the critics per update of the actor", "updates", "Keep the authors' value."),
    "noise_low": Key("standard deviation of exploration noise in the first environment", "action", "0.05 is usual."),
    "noise_high": Key("standard deviation of exploration noise in the last environment", "action", "0.8 is usual."),
    "target_noise": Key("standard deviation of noise on target actions, before clipping", "action", "0.8 is usual."),
    "target_noise_bound": Key("bound that clips the noise on target actions", "action", "0.2 is usual."),
    "gradient_norm": Key("largest norm of a gradient; larger gradients are scaled down", "", "0.5 is usual."),
}

# Values of the keys that an example gives: small sweeps, of an hour or two on two cores.
EXAMPLES: dict[str, dict[str, Any]] = {
    "SAC": {
        "env_id": "Pendulum-v1",
        "utd": [0.5, 1.0, 2.0, 4.0],
        "batch_size": [64, 128, 256],
        "learning_rate": [1e-3, 3e-3, 1e-2],
        "seed": [0, 1, 2],
        "env_steps": {"0.5": 14_000, "1": 10_000, "2": 7_000, "4": 5_000},
        "hidden_width": 64,
        "warmup_steps": 300,
        "buffer_size": 20_000,
        "evaluation_interval": 100,
    },
    "BRO": {
        "env_id": "Pendulum-v1",
        "utd": [0.5, 1.0, 2.0, 4.0],
        "batch_size": [64, 128],
        "learning_rate": [3e-4, 1e-3],
        "seed": [0, 1],
        "env_steps": 4_000,
        "hidden_width": 64,
        "warmup_steps": 300,
        "evaluation_interval": 100,
        "actor_width": 64,
    },
    "PQL": {
        "env_id": "Pendulum-v1",
        "utd": [0.0625, 0.125, 0.25, 0.5],
        "batch_size": [128, 256, 512],
        "learning_rate": [5e-4, 1e-3, 2e-3],
        "seed": [0, 1, 2],
        "env_steps": 65_536,
        "hidden_width": 64,
        "warmup_steps": 2_048,
        "evaluation_interval": 1_024,
        "num_envs": 64,
    },
}


def config_of(algorithm: str) -> type[RunConfig]:
    """Return the class of an algorithm's settings.

    Raises:
        InputError: the algorithm is unknown.
    """
    if algorithm not in ALGORITHMS:
        known = ", ".join(ALGORITHMS)
        raise InputError(f"algorithm must be one of {known}; got '{algorithm}'. {closest(algorithm, ALGORITHMS)}")
    return ALGORITHMS[algorithm]


def keys_of(algorithm: str) -> dict[str, Key]:
    """Return the keys that a plan of this algorithm can have, in the order of its settings."""
    names = ("algorithm", *(each.name for each in config_of(algorithm).arguments()))
    return {name: PLAN_KEYS[name] for name in names}


def default_of(algorithm: str, name: str) -> Any:
    """Return the value of a key that a plan leaves out, or None for keys that a plan must have."""
    if name == "algorithm":
        return "SAC"
    (default,) = (each.default for each in config_of(algorithm).arguments() if each.name == name)
    return None if default is MISSING else default


def example_plan(algorithm: str = "SAC") -> str:
    """Return a plan in TOML that names and explains every key; keys at their defaults are commented out.

    Raises:
        InputError: the algorithm is unknown.
    """
    keys, given = keys_of(algorithm), {"algorithm": algorithm} | EXAMPLES.get(algorithm, {})
    lines = [
        f"# A sweep of {algorithm}. Every list multiplies the number of runs.",
        "# Look before you train:  bayescale sweep PLAN.toml --out DIR --dry-run",
        "# Lines such as `# gamma = 0.99` show a default; remove the # to change it.",
    ]
    for name, key in keys.items():
        head = f"{key.meaning[0].upper()}{key.meaning[1:]}{f' ({key.unit})' if key.unit else ''}. {key.choose}"
        lines += ["", *textwrap.wrap(head, COMMENT_WIDTH, initial_indent="# ", subsequent_indent="# ")]
        default = default_of(algorithm, name)
        lines.append(f"{name} = {toml(given[name])}" if name in given else f"# {name} = {toml(default)}")
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """Return the value as TOML writes it; whole numbers from 10,000 on have their thousands apart."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:_}" if value >= 10_000 else str(value)
    if isinstance(value, float):
        return "inf" if value == math.inf else repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(key)} = {toml(part)}' for key, part in value.items())} }}"
    return json.dumps(value)
