"""Run the command that explains sweep plans."""

import json
from typing import Annotated

import typer

from bayescale.errors import InputError


def plan(
    example: Annotated[
        bool, typer.Option("--example", help="Print a plan with every key explained; redirect it to a file and edit.")
    ] = False,
    keys: Annotated[
        bool, typer.Option("--keys", help="List the keys of a plan: meaning, unit, default, how to choose.")
    ] = False,
    algorithm: Annotated[str, typer.Option(metavar="SAC|BRO|PQL", help="The algorithm that the plan trains.")] = "SAC",
    as_json: Annotated[bool, typer.Option("--json", help="With --keys: print a JSON object.")] = False,
) -> None:
    """Print a commented sweep plan, or the keys that a plan can have.

    `bayescale plan --example > plan.toml` writes a plan that `bayescale sweep plan.toml --out DIR` trains.
    """
    if example == keys:
        raise InputError("choose one of --example and --keys. --example prints a plan to start from.")
    if as_json and example:
        raise InputError("--json goes with --keys; a plan is TOML. Leave --json out.")
    from bayescale.runners.plan_keys import default_of, example_plan, keys_of, toml

    if example:
        print(example_plan(algorithm), end="")
        return
    documented = {
        name: {"meaning": key.meaning, "unit": key.unit, "default": default_of(algorithm, name), "choose": key.choose}
        for name, key in keys_of(algorithm).items()
    }
    if as_json:
        finite = {name: each | {"default": _jsonable(each["default"])} for name, each in documented.items()}
        print(json.dumps(finite, indent=2, allow_nan=False))
        return
    for name, each in documented.items():
        default = "required" if each["default"] is None else f"default {toml(each['default'])}"
        unit = f"; {each['unit']}" if each["unit"] else ""
        print(f"{name} ({default}{unit}): {each['meaning']}. {each['choose']}")


def _jsonable(default: object) -> object:
    return "inf" if default == float("inf") else default
