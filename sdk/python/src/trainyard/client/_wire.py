"""What is the same for both clients: addresses, retries, contents, live events, results."""

from __future__ import annotations

import io
import json
import os
import random
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union

from .errors import Invalid, TrainyardError, from_answer

#: Rows to learn from or to predict for: a file's path, its content, a pandas frame, or rows as dicts.
Data = Union[str, "os.PathLike[str]", bytes, Iterable[Mapping[str, Any]], Any]

API = "/api/v2/ai"
#: Statuses after which a request is tried again.
PASSING = {429, 502, 503, 504}
#: Tries of a request, all in all.
TRIES = 6
#: Seconds that a server may take to compile a plugin, and that an earlier try of a request may go on.
PATIENCE = 300.0
#: Seconds that a server may be silent. Live streams say more often that they are alive.
SILENCE = 60.0

_KINDS = {
    ".csv": "text/csv", ".tsv": "text/tab-separated-values", ".parquet": "application/vnd.apache.parquet",
    ".arrow": "application/vnd.apache.arrow.stream", ".arrows": "application/vnd.apache.arrow.stream",
    ".json": "application/json", ".py": "text/x-python", ".zip": "application/zip", ".wasm": "application/wasm",
}  # fmt: skip


def address(url: Optional[str]) -> str:
    """The server's address: said, in the environment, or this machine."""
    url = (url or os.environ.get("TRAINYARD_URL") or "http://127.0.0.1:8080").rstrip("/")
    if "://" not in url:
        url = f"http://{url}"
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url}: a server's address begins with http:// or https://")
    return url


def headers(token: Optional[str]) -> Dict[str, str]:
    """What every request says."""
    token = token or os.environ.get("TRAINYARD_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def wait(tried: int, answer: Any = None) -> float:
    """Seconds until a request is tried once more: what the server said, or twice as long each time, up to ten seconds."""
    said = answer.headers.get("Retry-After") if answer is not None else None
    if said is not None and said.isdigit():
        return min(float(said), 60.0)
    return min(0.2 * 2**tried, 10.0) * random.uniform(0.8, 1.2)


def is_passing(answer: Any) -> bool:
    """Whether an answer says that the same request may fare better in a moment. An earlier try of it may still be at work."""
    if answer.status_code in PASSING:
        return True
    return answer.status_code == 409 and answer.headers.get("Retry-After") is not None


def opened(answer: Any) -> Any:
    """What is in an answer's envelope; an exception where it is an error."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    if answer.status_code >= 400:
        raise from_answer(answer.status_code, body)
    if not isinstance(body, dict) or "data" not in body:
        raise TrainyardError(f"{answer.request.url}: that is no answer of Trainyard's; is the address right?")
    return body["data"]


class Content(NamedTuple):
    """A file to send."""

    name: str
    kind: str
    content: bytes


def content(data: Data, name: Optional[str] = None, kind: Optional[str] = None) -> Content:
    """Reads what is to be sent. A pandas frame goes as CSV."""
    if isinstance(data, (str, os.PathLike)):
        path = Path(data)
        known = kind or _KINDS.get(path.suffix.lower())
        if known is None:
            raise ValueError(f"{path}: the ending does not say what it is; known are {', '.join(_KINDS)}")
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder")
        return Content(name or path.name, known, path.read_bytes())
    if isinstance(data, (bytes, bytearray, memoryview)):
        return Content(name or "data.csv", kind or _KINDS.get(Path(name or "").suffix) or "text/csv", bytes(data))
    if hasattr(data, "to_csv"):
        text = io.StringIO()
        has_times = getattr(data.index, "name", None) is not None
        data.to_csv(text, index=has_times)
        return Content(name or "frame.csv", "text/csv", text.getvalue().encode())
    rows = [dict(row) for row in data]
    return Content(name or "rows.json", "application/json", json.dumps(rows, default=str).encode())


def plugin_content(source: Data) -> Content:
    """A plugin's file, or a folder of Python with a `pyproject.toml`, zipped."""
    if isinstance(source, (str, os.PathLike)) and Path(source).is_dir():
        return Content(f"{Path(source).resolve().name}.zip", "application/zip", zipped(Path(source)))
    if isinstance(source, (bytes, bytearray)):
        if source[:4] == b"\0asm":
            return content(source, "plugin.wasm")
        return content(source, "plugin.zip" if source[:2] == b"PK" else "plugin.py")
    return content(source)


def zipped(folder: Path) -> bytes:
    """The Python files of a folder, without what is hidden or compiled."""
    import zipfile

    files = [path for path in sorted(folder.rglob("*.py")) if not _hidden(path.relative_to(folder))]
    if not files:
        raise ValueError(f"{folder}: there are no Python files in this folder")
    project = folder / "pyproject.toml"
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in [project, *files] if project.is_file() else files:
            # The same files give the same bytes, whenever they were written.
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return target.getvalue()


def _hidden(path: Path) -> bool:
    aside = ("tests", "venv", "env", "build", "dist")
    return path.parts[0] in aside or any(part.startswith(".") or part == "__pycache__" for part in path.parts)


class Event(NamedTuple):
    """Something that happened in a run: `log`, `status`, `progress`, `usage`, `gap` or `end`."""

    name: str
    data: Dict[str, Any]


class Events:
    """Server-sent events out of lines, as the HTML standard has it."""

    def __init__(self) -> None:
        #: The id of the last event that had one.
        self.last_id: Optional[str] = None
        self._name, self._data = "", []  # type: Tuple[str, List[str]]

    def take(self, line: str) -> Iterator[Event]:
        """The event that a line ends, if it does."""
        line = line.rstrip("\r\n")
        if line:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "id":
                self.last_id = value
            elif field == "event":
                self._name = value
            elif field == "data":
                self._data.append(value)
            return
        name, data = self._name or "log", self._data
        self._name, self._data = "", []
        if data:
            yield Event(name, json.loads("\n".join(data)))


def traceback_of(lines: Iterable[Mapping[str, Any]]) -> Optional[str]:
    """The last traceback among the lines of a log."""
    errors = [line["message"] for line in lines if line["level"] == "ERROR"]
    starts = [at for at, message in enumerate(errors) if message.startswith("Traceback (most recent call last)")]
    if not starts:
        return None
    # The last line is the run's own, and says the same in one line.
    return "\n".join(errors[starts[-1] : -1] or errors[starts[-1] :])


def dataset(given: Any, options: Mapping[str, Any]) -> Dict[str, Any]:
    """A `training_dataset` with options over it."""
    said = given.model_dump(mode="json", exclude_none=True, exclude_unset=True) if hasattr(given, "model_dump") else dict(given or {})
    said.update({key: value for key, value in options.items() if value is not None})
    return said


def is_dataset(data: Any) -> bool:
    """Whether it says where rows are, rather than being rows."""
    return (isinstance(data, Mapping)) or type(data).__name__ == "TrainingDataset"


def table(columns: List[str], rows: List[Any]) -> Any:
    """A pandas frame where there is pandas; else a list of dicts."""
    try:
        import pandas
    except ImportError:
        return [dict(zip(columns, row)) for row in rows]
    return pandas.DataFrame(rows, columns=columns)


def state_dict(content: bytes) -> Dict[str, Any]:
    """PyTorch tensors out of a `model.safetensors`."""
    try:
        from safetensors.torch import load
    except ImportError as error:
        raise ImportError("load_state_dict needs PyTorch and safetensors: pip install 'trainyard[torch]'") from error
    return load(content)


def refuse_unknown(options: Mapping[str, Any], known: Iterable[str]) -> None:
    """An option that does not exist is a mistake of spelling."""
    import difflib

    for name in options:
        if name not in known:
            close = difflib.get_close_matches(name, list(known), 1)
            hint = f"; do you mean {close[0]}?" if close else f"; there are {', '.join(sorted(known))}"
            raise Invalid(400, "unknown-option", f"there is no option {name} of a data set{hint}")
