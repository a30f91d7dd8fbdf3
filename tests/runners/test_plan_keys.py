"""The documentation of plan keys covers every key, and the examples are plans."""

import re
import tomllib

import pytest

from bayescale.errors import InputError
from bayescale.runners import describe, make_plan
from bayescale.runners.config import ALGORITHMS
from bayescale.runners.plan_keys import PLAN_KEYS, default_of, example_plan, keys_of, toml


def test_every_key_of_every_algorithm_is_documented_and_no_other() -> None:
    known = {"algorithm"} | {field.name for config in ALGORITHMS.values() for field in config.arguments()}
    assert set(PLAN_KEYS) == known
    for name, key in PLAN_KEYS.items():
        assert key.meaning, name
        assert key.choose.endswith("."), name


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_example_names_every_key_and_is_a_plan(algorithm: str) -> None:
    text = example_plan(algorithm)
    named = re.findall(r"^(?:# )?(\w+) = ", text, re.MULTILINE)
    assert named == list(keys_of(algorithm))
    plan = make_plan(tomllib.loads(text))
    assert {run.algorithm for run in plan.runs} == {algorithm}
    assert len({run.utd for run in plan.runs}) >= 4


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_commented_lines_of_an_example_are_the_defaults(algorithm: str) -> None:
    text = example_plan(algorithm)
    everything = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert len(tomllib.loads(everything)) == len(keys_of(algorithm)) > len(tomllib.loads(text))
    assert make_plan(tomllib.loads(everything)) == make_plan(tomllib.loads(text))
    assert describe(make_plan(tomllib.loads(text))).runs > 20


def test_keys_without_a_default_are_those_that_a_plan_must_have() -> None:
    required = [name for name in keys_of("SAC") if default_of("SAC", name) is None]
    assert required == ["env_id", "utd", "batch_size", "learning_rate", "seed", "env_steps"]


def test_values_are_written_as_toml_reads_them() -> None:
    value = {"a": [1, 10_000, 0.5, float("inf"), True, 'x"y'], "b": {"0.5": 12_000}}
    lines = "\n".join(f"{name} = {toml(part)}" for name, part in value.items())
    assert tomllib.loads(lines) == value


def test_an_unknown_algorithm_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="Did you mean 'SAC'"):
        example_plan("sacc")
