"""The client of a Trainyard server.

    from trainyard import Client

    client = Client("http://127.0.0.1:8080", token="ty_…")
    client.upload("my_algo.py")
    model = client.create_model("weather", plugin="my-algo")
    run = client.train(model, "weather.csv", target="temp_max", lookback=14, horizon=3)
    run.watch()
    print(run.metrics())
    forecast = run.predict("newer.csv")

`AsyncClient` has the same methods, to be awaited.
"""

from . import errors, models
from ._async import AsyncClient, AsyncRun, AsyncSweep
from ._sync import Client, Run, Sweep
from ._wire import Event
from .errors import *  # noqa: F403
from .errors import __all__ as _errors

__all__ = ["AsyncClient", "AsyncRun", "AsyncSweep", "Client", "Event", "Run", "Sweep", "errors", "models", *_errors]
