"""What can go wrong with a server, and with a training."""

from __future__ import annotations

from typing import Any, Optional

__all__ = [
    "ApiError", "Conflict", "Forbidden", "Invalid", "NotFound", "ServerAway", "TrainingFailed", "TrainingStopped", "TrainyardError",
]  # fmt: skip


class TrainyardError(Exception):
    """The base of all that the client raises."""


class ServerAway(TrainyardError):
    """The server cannot be reached, or does not answer."""


class ApiError(TrainyardError):
    """The server refused a request."""

    def __init__(self, status: int, error: str, message: str, remedy: Optional[str] = None, details: Any = None) -> None:
        super().__init__(f"{message}\n  {remedy}" if remedy else message)
        #: The HTTP status.
        self.status = status
        #: A stable name, such as `already-training`.
        self.error = error
        #: What was wrong and where, in one line.
        self.message = message
        #: What to do about it.
        self.remedy = remedy
        #: More of it.
        self.details = details


class Invalid(ApiError, ValueError):
    """400, 413, 415, 422: the request is wrong in itself."""


class Forbidden(ApiError):
    """401, 403: there is no token, or it may not do this."""


class NotFound(ApiError, LookupError):
    """404: what was named is not there."""


class Conflict(ApiError):
    """409: it does not go together with the state of things, such as a model that is being trained."""


_BY_STATUS = {400: Invalid, 401: Forbidden, 403: Forbidden, 404: NotFound, 409: Conflict, 413: Invalid, 415: Invalid, 422: Invalid}


def from_answer(status: int, body: Any) -> ApiError:
    """The exception for an answer that is not a good one."""
    body = body if isinstance(body, dict) else {}
    kind = _BY_STATUS.get(status, ApiError)
    message = body.get("message") or f"the server answered {status}"
    return kind(status, body.get("error") or "unknown", message, body.get("remedy"), body.get("details"))


class TrainingFailed(TrainyardError):
    """A training ended with an error. For a plugin in Python the text ends with the traceback of the author's code."""

    def __init__(self, message: str, traceback: Optional[str] = None, run: Any = None) -> None:
        super().__init__(f"{message}\n\n{traceback}" if traceback else message)
        #: One line.
        self.message = message
        #: As Python shows it; None where the plugin is not in Python.
        self.traceback = traceback
        #: The run.
        self.run = run


class TrainingStopped(TrainyardError):
    """Someone stopped a training before its end."""
