"""Make requests to W&B's service that survive a busy service, and say in a sentence why it refuses.

The client itself waits and tries again when the service limits the rate of requests or is away, with growing pauses.
What fails after that, or after a timeout, is tried again here.
"""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from bayescale.errors import InputError
from bayescale.importers.run_logs import shown

TRIES = 3  # requests until one succeeds
PAUSE = 5.0  # seconds before the second try; doubled for each further one
BUSY = {408, 425, 429, 500, 502, 503, 504}  # HTTP status codes of a service that is busy or away
CLIENT = ("wandb", "requests")  # packages whose errors the client raises
T = TypeVar("T")


class Refused(InputError):
    """The service refuses a request, and would do so again."""


def answered(request: Callable[[], T], what: str) -> T:
    """Return the result of a request, which is tried again while the service is busy or away.

    Args:
        request: function that makes the request through the client.
        what: what is asked for, in messages.

    Raises:
        Refused: the service refuses the request.
        InputError: the service does not answer after all tries.
    """
    for number in range(1, TRIES + 1):
        try:
            return request()
        except Exception as error:
            if not isinstance(error, ValueError | OSError) and type(error).__module__.split(".")[0] not in CLIENT:
                raise
            status = _status(error)
            if status not in (None, *BUSY) or isinstance(error, ValueError) or type(error).__name__ == "UsageError":
                raise Refused(f"W&B refuses {what}: {_sentence(error)} {_remedy(status)}") from None
            if number == TRIES:
                raise InputError(
                    f"W&B does not answer for {what} after {TRIES} tries: {_sentence(error)} Check the network and "
                    "WANDB_BASE_URL, or try again later."
                ) from None
            time.sleep(PAUSE * 2 ** (number - 1))
    raise AssertionError("the last try returns or raises")


def _status(error: BaseException | None) -> int | None:
    """Return the HTTP status of the answer that an error of the client reports, None if there was no answer."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return getattr(response, "http_status", None) or getattr(response, "status_code", None) or HTTPStatus.OK
        error = getattr(error, "exc", None) or error.__cause__
    return None


def _sentence(error: Exception) -> str:
    return f"{shown(error, 200).rstrip('. ')}."


def _remedy(status: int | None) -> str:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return "Log in with `wandb login`, or set WANDB_API_KEY."
    return (
        "No file or folder has this name, so it was taken for ENTITY/PROJECT. Check it, the filter and `wandb login`."
    )
