"""Errors that users meet. A message says in one sentence what is wrong and what to do next.

Each class holds the exit code that the command line returns.
"""


class BayeScaleError(Exception):
    """Base class of all errors that BayeScale raises on purpose."""

    exit_code = 1


class InputError(BayeScaleError, ValueError):
    """A file, table, argument or plan cannot be used."""

    exit_code = 2


class MissingExtra(BayeScaleError, ImportError):
    """An optional package is needed and is not installed."""

    exit_code = 2

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this call needs the package '{package}'; install it with: pip install 'bayescale[{extra}]'.")


class NotConverged(BayeScaleError):
    """The sampler's draws cannot be trusted.

    `parameters` names the parameters that failed the checks. `posterior` keeps the draws for a diagnosis: to look at,
    never to advise from.
    """

    exit_code = 3

    def __init__(self, message: str, parameters: tuple[str, ...] = (), posterior: object = None) -> None:
        super().__init__(message)
        self.parameters = parameters
        self.posterior = posterior


class Infeasible(BayeScaleError):
    """No configuration meets the request; the message names the cheapest feasible budget."""

    exit_code = 4
