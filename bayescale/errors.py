"""The errors that users meet: one sentence each, with its remedy, and the exit code of the command line."""


class BayeScaleError(Exception):
    """Any error that BayeScale raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class InputError(BayeScaleError, ValueError):
    """A file, table, argument or plan that cannot be used as it is."""

    exit_code = 2


class MissingExtra(BayeScaleError, ImportError):
    """An optional dependency is needed and not installed."""

    exit_code = 2

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs the package '{package}'; install it with: pip install 'bayescale[{extra}]'.")


class NotConverged(BayeScaleError):
    """The sampler's draws cannot be trusted; `parameters` names where."""

    exit_code = 3

    def __init__(self, message: str, parameters: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.parameters = parameters


class Infeasible(BayeScaleError):
    """No setting meets the request; the message names the cheapest that would."""

    exit_code = 4
