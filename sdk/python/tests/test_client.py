"""The client against a real service."""

import asyncio
import builtins
import io
import json
import re
import time
import zipfile

import numpy
import pandas
import pytest
import trainyard
from conftest import FAILS, ROOT, WEATHER
from trainyard import AsyncClient, Client
from trainyard.client import Conflict, Invalid, NotFound, ServerAway, TrainingFailed, TrainingStopped, models


def test_from_a_file_to_a_forecast(client, run):
    row = run.status()
    assert row.state == "TRAINED" and row.progress == 100
    assert set(row.metrics) == {"mse", "mae", "r2"} and row.metrics["r2"] > 0
    assert client.model(run.model_id).metrics == row.metrics
    metrics = run.metrics()
    assert list(metrics.columns) == ["name", "step", "seconds", "value"]
    losses = metrics[metrics.name == "loss"].value
    assert len(losses) > 10 and losses.iloc[-5:].mean() < losses.iloc[:5].mean()
    assert list(run.metrics("loss").value) == list(losses)
    forecast = run.predict(WEATHER)
    assert list(forecast.columns) == ["date", "temp_max", "temp_min"] and len(forecast) == 3
    assert run.predict(WEATHER, rolling=True).forecast.nunique() > 100
    assert "weather" in run.logs()[0].message


def test_frames_and_rows_are_data(client, run):
    frame = pandas.read_csv(WEATHER)
    of_file, of_frame = run.predict(WEATHER), run.predict(frame)
    assert numpy.allclose(of_file.temp_max, of_frame.temp_max)
    of_rows = run.predict(frame.tail(40).to_dict("records"))
    assert numpy.allclose(of_file.temp_max, of_rows.temp_max)
    indexed = pandas.read_csv(WEATHER, parse_dates=["date"], index_col="date")
    again = client.train(run.model_id, indexed, target=["temp_max", "temp_min"], lookback=14, horizon=3, seed=1)
    assert again.wait().metrics == run.status().metrics
    # Without data, on what it was trained on last.
    other = client.train(run.model_id, target="wind", parameters={"steps": 2})
    assert other.wait().training_dataset.target == ["wind"]
    stored = client.upload_dataset(frame, "stored.csv")
    assert stored.rows == len(frame) and stored.name == "stored.csv"
    client.train(run.model_id, stored, target="wind", lookback=7, horizon=1, parameters={"steps": 2}).wait()


def test_without_pandas_there_are_dicts(run, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "pandas":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert set(run.metrics()[0]) == {"name", "step", "seconds", "value"}
    assert set(run.predict(WEATHER)[0]) == {"date", "temp_max", "temp_min"}


def test_parameters_go_into_pytorch(run):
    from safetensors.numpy import load

    arrays = load(run.artifact())
    assert arrays["layers.1.weight"].shape == (16, 14 * 4)
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(56, 16), torch.nn.ReLU(), torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Linear(16, 6)
    )
    net.load_state_dict({name.removeprefix("layers."): value for name, value in run.load_state_dict().items()})
    assert json.loads(run.artifact("model.json"))["plugin"]["name"] == "forecast-mlp"


def test_watching_shows_progress_and_log(client, run, capsys):
    again = client.train(run.model_id, WEATHER, target="wind", lookback=14, horizon=3, parameters={"steps": 30})
    row = again.watch()
    shown = capsys.readouterr()
    assert row.state == "TRAINED"
    assert "100%" in shown.err and "trained" in shown.err and "loss" in shown.err
    assert "columns of text were left out" in shown.out


def test_what_the_authors_code_raises_reaches_the_caller(client):
    assert client.upload(FAILS).name == "fails"
    model = client.create_model("fails", plugin="fails")
    run = client.train(model, WEATHER, target="wind")
    with pytest.raises(TrainingFailed) as caught:
        run.watch()
    assert "ShapeError" in caught.value.message and "(fails.py, line 14, in product: `return x @ x`)" in caught.value.message
    lines = caught.value.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert re.match(r'  File ".*\.py", line 10, in train', lines[1]) and lines[2].strip() == "return product(data.train.targets())"
    assert re.match(r'  File ".*\.py", line 14, in product', lines[3]) and lines[4].strip() == "return x @ x"
    assert lines[-1].startswith("trainyard.errors.ShapeError: ")


def test_mistakes_are_told(client, run):
    with pytest.raises(Invalid, match="do you mean target"):
        client.train(run.model_id, WEATHER, targt="wind")
    with pytest.raises(Invalid, match="has no column `wnd`"):
        client.train(run.model_id, WEATHER, target="wnd", lookback=3, horizon=1)
    with pytest.raises(Invalid, match="hiden"):
        client.create_model("x", plugin="forecast-mlp", parameters={"hiden": 3})
    with pytest.raises(NotFound):
        client.model(10**9)
    with pytest.raises(Invalid, match="there is no plugin `nothing`"):
        client.create_model("x", plugin="nothing")
    with pytest.raises(ValueError, match="ending"):
        client.upload_dataset("data.xyz")
    with pytest.raises(FileNotFoundError):
        client.upload_dataset("nowhere.csv")
    with pytest.raises(Invalid) as caught:
        client.upload(b"import trainyard\n\nclass A(trainyard.Algorithm)\n    pass\n")
    assert "line 3" in str(caught.value)
    with pytest.raises(LookupError, match="has not been trained"):
        client.run(client.create_model("new", plugin="forecast-mlp"))


def test_stopping(client, run):
    long = client.train(run.model_id, WEATHER, target="wind", lookback=14, horizon=3, parameters={"steps": 1_000_000})
    with pytest.raises(Conflict):
        client.train(run.model_id, WEATHER, target="wind", lookback=14, horizon=3)
    while long.status().state != "TRAINING":
        time.sleep(0.05)
    long.stop()
    with pytest.raises(TrainingStopped):
        long.wait()


def test_a_sweep_finds_the_best(client, run):
    model = client.create_model("swept", plugin="forecast-mlp", parameters={"steps": 30})
    sweep = client.sweep(
        model, {"hidden": [4, 8, 16]}, method="grid", data=WEATHER, seed=1, target="wind", lookback=14, horizon=3
    )
    row = sweep.wait()
    assert (row.state, row.trials, row.ended) == ("FINISHED", 3, 3)
    trials = sweep.trials()
    assert list(trials.columns) == ["run_id", "state", "hidden", "value", "steps"]
    assert list(trials.hidden) == [4, 8, 16] and set(trials.state) == {"TRAINED"}
    best = trials.sort_values("value").iloc[0]
    assert sweep.best().id == row.best_run == best.run_id == client.model(model).trained_run
    other = trials.run_id[trials.run_id != row.best_run].iloc[0]
    assert sweep.adopt(other).id == client.model(model).trained_run == other
    with pytest.raises(Conflict):
        sweep.stop()
    with pytest.raises(Invalid, match="hiden"):
        client.sweep(model, {"hiden": [4]}, method="grid")


def test_a_folder_of_modules_is_a_plugin(client, tmp_path):
    folder = tmp_path / "windy"
    (folder / "parts").mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "windy"\nversion = "2.0.1"\ndescription = "Of parts."\n')
    (folder / "parts/__init__.py").write_text("VALUE = 3.0\n")
    (folder / "plugin.py").write_text(
        "import trainyard\nfrom parts import VALUE\n\n\nclass Windy(trainyard.Algorithm):\n    tasks = ['regression']\n\n"
        "    def train(self, data):\n        return {'w': trainyard.tensor([VALUE])}\n\n    def forward(self, model, x):\n"
        "        return x[:, :1] * 0 + model['w']\n"
    )
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/x.py").write_text("nonsense(")
    version = client.upload(folder)
    assert (version.name, version.version, version.summary) == ("windy", "2.0.1", "Of parts.")
    assert client.upload(folder).digest == version.digest
    model = client.create_model("windy", plugin=version)
    assert client.train(model, WEATHER, target="wind").wait().state == "TRAINED"


def test_everything_can_be_awaited(url, run):
    async def both():
        async with AsyncClient(url) as client:
            model = await client.create_model("awaited", plugin="forecast-mlp", parameters={"steps": 20})
            first = await client.train(model, WEATHER, target="wind", lookback=14, horizon=3)
            names = [event.name async for event in first.events()]
            assert names[-1] == "end" and "progress" in names
            # Two at once.
            other = await client.create_model("other", plugin="forecast-mlp", parameters={"steps": 20})
            runs = [await client.train(each, WEATHER, target="wind", lookback=14, horizon=3) for each in (model, other)]
            rows = await asyncio.gather(*(each.wait() for each in runs))
            assert all(row.state == "TRAINED" for row in rows)
            forecast = await runs[0].predict(WEATHER)
            assert len(forecast) == 3
            newest = [model.name async for model in client.models()]
            assert newest[:2] == ["other", "awaited"] and "weather" in newest

    asyncio.run(both())


def test_the_client_that_blocks_has_the_same_methods():
    of = trainyard.client
    for awaited, blocks in [(AsyncClient, Client), (of.AsyncRun, of.Run), (of.AsyncSweep, of.Sweep)]:
        public = {name.replace("aclose", "close") for name in vars(awaited) if not name.startswith("_")}
        assert public == {name for name in vars(blocks) if not name.startswith("_")}


def test_broken_connections_are_mended_without_doing_anything_twice(client, proxy):
    # The first try never arrives; the answer to the second is lost; the third gives what the second has made.
    through = proxy(lambda number, head, came: number == 1 or (number == 2 and came > 0))
    with Client(through.url) as broken:
        model = broken.create_model("only-once", plugin="forecast-mlp")
    assert len(through.requests) == 3
    keys = {re.search(rb"Idempotency-Key: (\S+)", request, re.I).group(1) for request in through.requests}
    assert len(keys) == 1
    assert [found.id for found in client.models(name="only-once")] == [model.id]


def test_live_events_go_on_after_a_lost_connection(client, run, proxy):
    streams = []

    def cut(number, head, came):
        if b"/logs/stream" not in head:
            return False
        if number not in streams:
            streams.append(number)
        return streams.index(number) < 2 and came > 1_000

    through = proxy(cut)
    with Client(through.url) as broken:
        again = broken.train(run.model_id, WEATHER, target="wind", lookback=14, horizon=3, parameters={"steps": 1_000})
        steps = [event.data["current"] for event in again.events() if event.name == "progress"]
    assert len(streams) >= 3
    resumed = [request for request in through.requests if b"last-event-id" in request.lower()]
    assert len(resumed) >= 2
    # Nothing twice, nothing backwards.
    assert steps == sorted(set(steps)) and steps[-1] == 1_000


def test_a_server_that_is_not_there(monkeypatch):
    monkeypatch.setattr(trainyard.client._wire, "wait", lambda *_: 0.0)
    with pytest.raises(ServerAway, match="cannot be reached"):
        Client("http://127.0.0.1:9").plugins()
    with pytest.raises(ValueError, match="begins with http"):
        Client("ftp://127.0.0.1")


def test_something_else_that_answers(proxy, url):
    import http.server
    import threading

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(trainyard.client.TrainyardError, match="is the address right"):
            Client(f"http://127.0.0.1:{server.server_port}").plugins()
        server.shutdown()


def test_a_zip_is_the_same_whenever_it_is_made(tmp_path):
    (tmp_path / "a.py").write_text("A = 1\n")
    (tmp_path / ".hidden.py").write_text("B = 1\n")
    first = trainyard.client._wire.zipped(tmp_path)
    (tmp_path / "a.py").touch()
    assert trainyard.client._wire.zipped(tmp_path) == first
    assert zipfile.ZipFile(io.BytesIO(first)).namelist() == ["a.py"]


def test_types_are_those_of_the_document():
    fields = models.TrainingDataset.model_fields
    assert {"source", "target", "lookback", "horizon", "device_id"} <= set(fields)
    assert (ROOT / "sdk/python/src/trainyard/py.typed").is_file()
