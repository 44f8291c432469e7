"""A real service for the tests: the program that `TRAINYARD` names, with the engine that `TRAINYARD_PYTHON_ENGINE` names."""

import os
import pathlib
import socket
import subprocess
import threading

import pytest
from trainyard import Client

ROOT = pathlib.Path(__file__).resolve().parents[3]
WEATHER = ROOT / "examples/data/seattle-weather.csv"

FAILS = b'''from trainyard import Algorithm


class Fails(Algorithm):
    """Multiplies what does not fit."""

    tasks = ["regression"]

    def train(self, data):
        return product(data.train.targets())


def product(x):
    return x @ x
'''


@pytest.fixture(scope="session")
def url(tmp_path_factory):
    program = os.environ.get("TRAINYARD")
    if program is None:
        pytest.exit("TRAINYARD does not name the program: run `cargo xtask client --test`", 2)
    folder = tmp_path_factory.mktemp("service")
    environment = {**os.environ, "TRAINYARD_LOG_LEVEL": "warn"}
    command = [program, "up", "--listen", "127.0.0.1:0", "--data-dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            _, found, address = line.partition("at http://")
            if found:
                break
        else:
            pytest.exit("the service did not start", 2)
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield f"http://{address.strip()}"
        process.terminate()


@pytest.fixture(scope="session")
def client(url):
    with Client(url) as client:
        client.upload(ROOT / "examples/python/forecast_mlp.py")
        yield client


@pytest.fixture(scope="session")
def run(client):
    """A training that has gone well."""
    model = client.create_model("weather", plugin="forecast-mlp", parameters={"steps": 60, "hidden": 16})
    run = client.train(model, WEATHER, target=["temp_max", "temp_min"], lookback=14, horizon=3, seed=1)
    run.wait()
    return run


class Proxy:
    """Stands before the service, and breaks connections: `cut` is asked with each request's head and the number of bytes that have come
    back; where it says so, the connection is closed at once."""

    def __init__(self, url, cut):
        host, port = url.removeprefix("http://").split(":")
        self._target, self._cut = (host, int(port)), cut
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, socket.create_connection(self._target) as server:
            head = client.recv(1 << 20)
            if not head:
                return
            # One request a connection, so that each can be judged.
            head = head.replace(b"Connection: keep-alive", b"Connection: close")
            self.requests.append(head)
            number = len(self.requests)
            if self._cut(number, head, 0):
                return
            server.sendall(head)

            def forward():
                try:
                    while more := client.recv(1 << 16):
                        server.sendall(more)
                except OSError:
                    pass

            threading.Thread(target=forward, daemon=True).start()
            came = 0
            while back := server.recv(1 << 16):
                came += len(back)
                if self._cut(number, head, came):
                    # The other thread still reads from it, so that closing alone would not be heard.
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(back)
            client.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._listener.close()


@pytest.fixture
def proxy(url):
    proxies = []

    def make(cut):
        proxies.append(Proxy(url, cut))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()
