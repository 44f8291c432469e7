"""Exceptions as Python shows them, without the frames of engine and SDK."""

from __future__ import annotations

import traceback

from wit_world.exports.loader import Raised

#: Characters of a traceback, and of a message.
LONGEST = 16_000
MESSAGE = 2_000


def raised(error: BaseException, files) -> Raised:
    """What is told of an exception; `files` are the paths of the author's own."""
    try:
        return _raised(error, files)
    except BaseException as again:  # the memory may be full, or the author's `__str__` may be at fault
        kind = type(error).__name__
        text = f"{kind} (it cannot be shown: {type(again).__name__})"
        return Raised(kind=kind, message="", file=None, line=None, function=None, code=None, traceback=text)


def _raised(error: BaseException, files) -> Raised:
    shown = traceback.TracebackException.from_exception(error, compact=True)
    _keep(shown, files, set())
    text = "".join(shown.format(chain=True)).rstrip("\n")
    if len(text) > LONGEST:
        text = text[: LONGEST // 2] + "\n  ...\n" + text[-LONGEST // 2 :]
    kind = type(error).__name__
    try:
        message = str(error)[:MESSAGE]
    except Exception:
        message = "<exception str() failed>"  # what Python shows in the traceback
    file = line = function = code = None
    if isinstance(error, SyntaxError) and error.filename in files:
        message = error.msg
        file, line = error.filename, error.lineno
        code = (error.text or "").strip() or None
    elif shown.stack:
        last = shown.stack[-1]
        file, line, function, code = last.filename, last.lineno, last.name, (last.line or "").strip() or None
    return Raised(
        kind=kind, message=message, file=file, line=line, function=function, code=code, traceback=text
    )


def _keep(shown: traceback.TracebackException, files, seen: set[int]) -> None:
    """Leaves the author's frames alone in an exception and all that led to it."""
    if shown is None or id(shown) in seen:
        return
    seen.add(id(shown))
    own = [frame for frame in shown.stack if frame.filename in files]
    shown.stack[:] = own
    _keep(shown.__cause__, files, seen)
    _keep(shown.__context__, files, seen)
    for inner in shown.exceptions or ():
        _keep(inner, files, seen)
