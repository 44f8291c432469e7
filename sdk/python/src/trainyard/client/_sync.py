"""The client, with methods that block. Made of `_async.py` by `sdk/python/generate.py`: change it there."""

from __future__ import annotations

import time
import uuid
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Union

import httpx

from . import _wire, models
from ._watching import Bar
from ._wire import API, Data, Event
from .errors import ServerAway, TrainingFailed, TrainingStopped, from_answer

__all__ = ["Client", "Run", "Sweep"]

#: Seconds between two looks at a sweep that is waited for.
_LOOK = 0.5


class Client:
    """A Trainyard server. Without arguments: `TRAINYARD_URL` and `TRAINYARD_TOKEN`, or else this machine.

    Requests are tried again when the connection breaks or the server is busy; those that make something carry a key by which the
    server knows a repetition, so that nothing is made twice.
    """

    def __init__(self, url: Optional[str] = None, token: Optional[str] = None, timeout: float = _wire.SILENCE) -> None:
        #: The server's address.
        self.url = _wire.address(url)
        self._http = httpx.Client(base_url=self.url, headers=_wire.headers(token), timeout=timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request, tried again while the server is away."""
        if method == "POST":
            options["headers"] = {"Idempotency-Key": str(uuid.uuid4()), **options.get("headers", {})}
        tried, until = 0, time.monotonic() + _wire.PATIENCE
        while True:
            try:
                answer = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                tried += 1
                if tried == _wire.TRIES:
                    raise ServerAway(f"{self.url} cannot be reached ({error or type(error).__name__}); is the server up?") from error
                time.sleep(_wire.wait(tried))
                continue
            tried += answer.status_code != 409
            if not _wire.is_passing(answer) or tried == _wire.TRIES or time.monotonic() > until:
                return answer
            time.sleep(_wire.wait(tried, answer))

    def _call(self, method: str, path: str, **options: Any) -> Any:
        return _wire.opened(self._send(method, API + path, **options))

    # Plugins

    def upload(self, source: Data) -> models.PluginVersion:
        """Uploads a plugin: a `.py` or `.wasm` file, a zip, a folder of Python with a `pyproject.toml`, or a file's bytes.

        The same content again is no error; other content under the same name and version is.
        """
        file = _wire.plugin_content(source)
        headers = {"Content-Type": file.kind}
        answer = self._call("POST", "/plugins", content=file.content, headers=headers, timeout=_wire.PATIENCE)
        return models.PluginVersion(**answer)

    def plugins(self) -> List[models.PluginVersion]:
        """The newest version of every plugin."""
        return [models.PluginVersion(**item) for item in (self._call("GET", "/plugins"))["items"]]

    def plugin(self, name: str, version: Optional[str] = None) -> models.PluginVersion:
        """One plugin: its newest version, or the one that is named."""
        path = f"/plugins/{name}" + (f"/versions/{version}" if version else "")
        return models.PluginVersion(**self._call("GET", path))

    # Data

    def upload_dataset(self, data: Data, name: Optional[str] = None) -> models.StoredDataset:
        """Uploads rows: a file's path, its content, a pandas frame (its index goes along when it has a name), or rows as dicts."""
        file = _wire.content(data, name)
        answer = self._call(
            "POST", "/datasets", params={"name": file.name}, content=file.content, headers={"Content-Type": file.kind}
        )
        return models.StoredDataset(**answer)

    # Models

    def create_model(
        self,
        name: str,
        plugin: Union[str, models.PluginVersion],
        parameters: Optional[Mapping[str, Any]] = None,
        description: Optional[str] = None,
        plugin_version: Optional[str] = None,
    ) -> models.Model:
        """A model that a plugin will train. `parameters` are what each training begins with."""
        body = {
            "name": name,
            "plugin": plugin if isinstance(plugin, str) else plugin.name,
            "plugin_version": plugin_version if isinstance(plugin, str) else plugin_version or plugin.version,
            "training_parameters": dict(parameters) if parameters is not None else None,
            "description": description,
        }
        body = {key: value for key, value in body.items() if value is not None}
        return models.Model(**self._call("POST", "/models", json=body))

    def models(self, name: Optional[str] = None, plugin: Optional[str] = None) -> Iterator[models.Model]:
        """All models, the newest first, page by page as they are asked for."""
        cursor: Optional[str] = None
        while True:
            wanted = {"name": name, "plugin": plugin, "cursor": cursor}
            page = self._call("GET", "/models", params={key: value for key, value in wanted.items() if value is not None})
            for item in page["items"]:
                yield models.Model(**item)
            cursor = page.get("next")
            if cursor is None:
                return

    def model(self, model: Union[int, models.Model]) -> models.Model:
        """A model as it is now."""
        return models.Model(**self._call("GET", f"/models/{_id(model)}"))

    def delete_model(self, model: Union[int, models.Model]) -> None:
        """Deletes a model and all of its runs."""
        self._call("DELETE", f"/models/{_id(model)}")

    # Trainings

    def train(
        self,
        model: Union[int, models.Model],
        data: Optional[Data] = None,
        parameters: Optional[Mapping[str, Any]] = None,
        seed: Optional[int] = None,
        time_limit: Optional[int] = None,
        memory_limit_mb: Optional[int] = None,
        labels: Optional[Sequence[str]] = None,
        device: Optional[str] = None,
        tf32: Optional[bool] = None,
        **dataset: Any,
    ) -> Run:
        """Starts a training.

        `data` is rows (a file's path, bytes, a pandas frame, dicts), a data set that was uploaded, or a dict or `TrainingDataset` that
        says where rows are, such as `{"source": "tdengine", "device_id": "machine-7"}`; None takes what the model was trained on last.
        Everything else about the data goes by its name: `target`, `lookback`, `horizon`, `task`, `time`, `columns`, `split`, and so on.
        `time_limit` is in seconds, `memory_limit_mb` in MiB. Only a worker that has all `labels` takes it.
        `device` is `"auto"` (a card where the worker has one that works), `"cpu"`, `"cuda"` or `"cuda:N"`; with `tf32` a card may be
        faster and less exact.
        """
        limits = {"seed": seed, "time_limit": time_limit, "memory_limit_mb": memory_limit_mb, "labels": labels}
        limits.update(device=device, tf32=tf32)
        body = self._submission(model, data, parameters, limits, dataset)
        submitted = models.Submitted(**self._call("POST", f"/models/{_id(model)}/train", json=body))
        return Run(self, submitted.model_id, submitted.task_id)

    def _submission(
        self,
        model: Union[int, models.Model],
        data: Optional[Data],
        parameters: Optional[Mapping[str, Any]],
        limits: Mapping[str, Any],
        dataset: Mapping[str, Any],
    ) -> Dict[str, Any]:
        _wire.refuse_unknown(dataset, models.TrainingDataset.model_fields)
        body: Dict[str, Any] = dict(limits)
        if parameters is not None:
            body["training_parameters"] = dict(parameters)
        if data is None:
            row = self.model(model)
            last = row.training_dataset
            if last is None and row.task_id is not None:
                last = (Run(self, row.id, row.task_id).status()).training_dataset
            if last is not None:
                body["training_dataset"] = _wire.dataset(last, dataset)
        elif _wire.is_dataset(data):
            body["training_dataset"] = _wire.dataset(data, dataset)
        else:
            stored = data if isinstance(data, models.StoredDataset) else self.upload_dataset(data)
            body["training_dataset"] = _wire.dataset({"source": "upload", "dataset_id": stored.id}, dataset)
        return {key: value for key, value in body.items() if value is not None}

    def sweep(
        self,
        model: Union[int, models.Model],
        space: Mapping[str, Any],
        trials: Optional[int] = None,
        method: str = "random",
        metric: Optional[str] = None,
        goal: Optional[str] = None,
        asha: Optional[Mapping[str, int]] = None,
        adopt: bool = True,
        data: Optional[Data] = None,
        parameters: Optional[Mapping[str, Any]] = None,
        seed: Optional[int] = None,
        time_limit: Optional[int] = None,
        memory_limit_mb: Optional[int] = None,
        labels: Optional[Sequence[str]] = None,
        device: Optional[str] = None,
        tf32: Optional[bool] = None,
        **dataset: Any,
    ) -> Sweep:
        """Tries a space of parameters: many trainings, spread over all workers.

        `space` has for each parameter a list of values or a range `{"min": 1e-4, "max": 0.1, "log": True}`, in a grid with `points`.
        `method` is `"random"` or `"asha"` (which ends the worse early, by `asha={"min_steps": 500, "reduction": 3}`) with so many
        `trials`, or `"grid"`. They are judged by `metric`, `validation_loss` where it is None; with `adopt` the model gets the best
        result. Everything else is as in `train`.
        """
        limits = {"seed": seed, "time_limit": time_limit, "memory_limit_mb": memory_limit_mb, "labels": labels}
        limits.update(device=device, tf32=tf32)
        body: Dict[str, Any] = {
            "space": dict(space),
            "trials": trials,
            "method": method,
            "metric": metric,
            "goal": goal,
            "asha": None if asha is None else dict(asha),
            "adopt": adopt,
            "seed": seed,
            "submission": self._submission(model, data, parameters, limits, dataset),
        }
        body = {key: value for key, value in body.items() if value is not None}
        made = models.Sweep(**self._call("POST", f"/models/{_id(model)}/sweep", json=body))
        return Sweep(self, made.model_id, made.id)

    def run(self, model: Union[int, models.Model], run: Optional[str] = None) -> Run:
        """A run of a model: the current or last one, or the one that is named."""
        row = self.model(model)
        if (run or row.task_id) is None:
            raise LookupError(f"model {row.id} ({row.name}) has not been trained yet")
        return Run(self, row.id, run or str(row.task_id))


class Run:
    """A training that was submitted."""

    def __init__(self, client: Client, model_id: int, id: str) -> None:
        self._client = client
        #: The model's number.
        self.model_id = model_id
        #: The run's name.
        self.id = id

    def __repr__(self) -> str:
        return f"Run(model {self.model_id}, {self.id})"

    def _get(self, path: str, **parameters: Any) -> Any:
        return self._client._call("GET", f"/models/{self.model_id}{path}", params={"run": self.id, **parameters})

    def status(self) -> models.Run:
        """The run as it is now: `state`, `progress`, `metrics`, `resource_usage`, and more."""
        return models.Run(**self._client._call("GET", f"/models/{self.model_id}/runs/{self.id}"))

    def events(self) -> Iterator[Event]:
        """What happens, as it happens, until the run is over; over lost connections. What came before is given first, as far as the
        server remembers it."""
        reader, tried = _wire.Events(), 0
        path = f"{API}/models/{self.model_id}/logs/stream"
        while True:
            headers = {"Accept": "text/event-stream"}
            if reader.last_id is not None:
                headers["Last-Event-ID"] = reader.last_id
            try:
                with self._client._http.stream("GET", path, headers=headers) as answer:
                    if answer.status_code >= 400 and answer.status_code not in _wire.PASSING:
                        answer.read()
                        _wire.opened(answer)
                    for line in answer.iter_lines():
                        for event in reader.take(line):
                            tried = 0
                            if event.data.get("run_id", self.id) == self.id:
                                yield event
                                if event.name == "end":
                                    return
            except httpx.TransportError as error:
                if tried >= _wire.TRIES:
                    raise ServerAway(f"{self._client.url} cannot be reached ({error or type(error).__name__})") from error
            # The stream may have lost the end; the row has not.
            if (self.status()).state in _OVER:
                return
            time.sleep(_wire.wait(tried))
            tried += 1

    def wait(self) -> models.Run:
        """Waits for the end, in silence. `TrainingFailed` or `TrainingStopped` where it was not a good one."""
        for _ in self.events():
            pass
        return self._outcome()

    def watch(self, logs: bool = True) -> models.Run:
        """Shows progress, metrics and log until the end, in a terminal or a notebook. Raises as `wait` does; an interrupt ends the
        watching, not the training."""
        bar = Bar(f"model {self.model_id}", logs)
        state: Any = "detached; the training goes on"
        try:
            for event in self.events():
                bar.show(event)
            state = (self.status()).state.value
        finally:
            bar.end(state)
        return self._outcome()

    def _outcome(self) -> models.Run:
        row = self.status()
        if row.state == models.RunState.CANCELLED:
            raise TrainingStopped(f"run {self.id} of model {self.model_id} was stopped")
        if row.state == models.RunState.ERROR:
            lines = (self._get("/logs", limit=200))["items"]
            raise TrainingFailed(row.error_log or "the training failed", _wire.traceback_of(lines), self)
        return row

    def metrics(self, name: Optional[str] = None) -> Any:
        """Every figure that was reported while it trained, such as the loss: columns `name`, `step`, `seconds` (since it began),
        `value`. A pandas frame where there is pandas, else a list of dicts. The figures on the test rows are in `status().metrics`."""
        wanted = {} if name is None else {"name": name}
        series = (self._get("/metrics", **wanted))["items"]
        rows = [[item["name"], int(step), seconds, value] for item in series for step, seconds, value in item["points"]]
        return _wire.table(["name", "step", "seconds", "value"], rows)

    def logs(self, limit: int = 1000) -> List[models.LogLine]:
        """The last lines of its log, oldest first."""
        return [models.LogLine(**item) for item in (self._get("/logs", limit=limit))["items"]]

    def stop(self) -> models.Run:
        """Asks it to stop. The model goes back to what it was before."""
        return models.Run(**self._client._call("POST", f"/models/{self.model_id}/stop"))

    def predict(self, data: Data, rolling: bool = False) -> Any:
        """Predicts for rows (as in `train`), or for a data set such as `{"device_id": "machine-7", "start_time": "-7d"}`. `rolling`
        forecasts from every window that the rows have, not from the last one alone. A pandas frame where there is pandas, else a
        list of dicts. Warnings of the server become Python's."""
        import warnings

        options: Dict[str, Any] = {"params": {"run": self.id, "rolling": "true" if rolling else "false"}}
        if _wire.is_dataset(data):
            options["json"] = {"dataset": _wire.dataset(data, {})}
        else:
            file = _wire.content(data)
            options.update(content=file.content, headers={"Content-Type": file.kind})
        answer = models.Predicted(**self._client._call("POST", f"/models/{self.model_id}/predict", **options))
        for warning in answer.warnings:
            warnings.warn(warning, stacklevel=2)
        return _wire.table(answer.columns, answer.rows)

    def artifact(self, file: str = "model.safetensors") -> bytes:
        """One file of the result: `model.safetensors`, `model.json`, `log.jsonl`, and so on."""
        path = f"{API}/models/{self.model_id}/artifact"
        answer = self._client._send("GET", path, params={"run": self.id, "file": file})
        if answer.status_code >= 400:
            try:
                body = answer.json()
            except ValueError:
                body = None
            raise from_answer(answer.status_code, body)
        return answer.content

    def load_state_dict(self) -> Dict[str, Any]:
        """The trained parameters as PyTorch tensors, by PyTorch's names: `net.load_state_dict(run.load_state_dict())`."""
        return _wire.state_dict(self.artifact("model.safetensors"))


_OVER = {models.RunState.TRAINED, models.RunState.ERROR, models.RunState.CANCELLED}


def _id(model: Union[int, models.Model]) -> int:
    return model if isinstance(model, int) else model.id


class Sweep:
    """A sweep that was submitted."""

    def __init__(self, client: Client, model_id: int, id: int) -> None:
        self._client = client
        #: The model's number.
        self.model_id = model_id
        #: The sweep's number.
        self.id = id

    def __repr__(self) -> str:
        return f"Sweep({self.id} of model {self.model_id})"

    def status(self) -> models.Sweep:
        """The sweep as it is now: `state`, `trials`, `ended`, `best_run`, and more."""
        return models.Sweep(**self._client._call("GET", f"/sweeps/{self.id}"))

    def trials(self) -> Any:
        """A row for each trial: `run_id`, `state`, the parameters that are varied, `value` (the best so far of what is judged by),
        `steps`. A pandas frame where there is pandas, else a list of dicts."""
        answer = models.Trials(**self._client._call("GET", f"/sweeps/{self.id}/trials"))
        varied = list((self.status()).space)
        rows = [
            [trial.run_id, trial.state.value, *(trial.parameters.get(name) for name in varied), trial.value, trial.steps]
            for trial in answer.items
        ]
        return _wire.table(["run_id", "state", *varied, "value", "steps"], rows)

    def wait(self) -> models.Sweep:
        """Waits for the end."""
        while (row := self.status()).state not in ("FINISHED", "STOPPED"):
            time.sleep(_LOOK)
        return row

    def best(self) -> Run:
        """The best trial, when the sweep is over."""
        row = self.status()
        if row.best_run is None:
            raise LookupError(f"sweep {self.id} is {row.state} and has no best trial: {row.note or 'it goes on'}")
        return Run(self._client, self.model_id, row.best_run)

    def stop(self) -> models.Sweep:
        """Stops the trials that are not over. The results of the others stay."""
        return models.Sweep(**self._client._call("POST", f"/sweeps/{self.id}/stop"))

    def adopt(self, run: Optional[str] = None) -> models.Run:
        """Gives the model a trial's result: the best one's, or that which is named."""
        body = {} if run is None else {"run_id": run}
        return models.Run(**self._client._call("POST", f"/sweeps/{self.id}/adopt", json=body))
