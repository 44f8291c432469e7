"""What an application that submits to the original's Celery worker does, done to Trainyard instead, by Celery itself.

The service runs already: BROKER and BACKEND are its Redis, API its address, and QUICK, SLOW and DATASET name two models that
can be trained and their data set. Prints what it looked at; the first thing that is not as with Celery ends it.
"""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult

from application import app

TRAIN, EVALUATE = "app.tasks.ai.train_model", "app.tasks.ai.evaluate_model"
QUICK, SLOW = int(os.environ["QUICK"]), int(os.environ["SLOW"])
PATIENCE = 60


def train(model, config=None, **options):
    return app.send_task(TRAIN, args=[model, config or {}], **options)


def api(path, method="GET", body=None):
    request = urllib.request.Request(
        os.environ["API"] + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)["data"]


def model(number):
    return api(f"/api/v2/ai/models/{number}")


def eventually(what, holds):
    end = time.monotonic() + PATIENCE
    while not (value := holds()):
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.05)
    return value


def same(actual, expected):
    assert actual == expected, f"{actual!r} is not {expected!r}"


@contextmanager
def busy():
    """The one slot is taken as long as this lasts."""
    running = train(SLOW)
    eventually("the slow training begins", lambda: model(SLOW)["status"] == "TRAINING")
    yield running
    running.revoke(terminate=True)
    # Not the model: by now another run may train it.
    eventually("it is stopped", lambda: running.state == "REVOKED")


def a_task_is_done_and_its_result_comes():
    result = train(QUICK, {"training_parameters": {"epochs": 2}})
    value = result.get(timeout=PATIENCE)
    same((value["model_id"], value["status"], result.state), (QUICK, "TRAINED", "SUCCESS"))
    assert value["metrics"]["mae"] > 0, value
    row = model(QUICK)
    same((row["task_id"], row["status"], row["progress"]), (result.id, "TRAINED", 100.0))
    # By name, and with what the application keeps as a text.
    config = json.dumps({"training_parameters": {"epochs": 1}})
    app.send_task(TRAIN, kwargs={"model_id": str(QUICK), "config": config}).get(timeout=PATIENCE)


def progress_is_told():
    with busy() as running:
        eventually("PROGRESS", lambda: running.state == "PROGRESS")
        assert 0 <= running.info["progress"] <= 100, running.info


def a_failure_has_type_message_and_traceback():
    for arguments, words in [
        ([QUICK, {"training_parameters": {"epochs": -1}}], "epochs"),
        ([QUICK, {"training_parameters": {"no_such": 1}}], "no_such"),
        ([QUICK, {"training_dataset": {"source": "upload", "dataset_id": "nothing"}}], "no data set"),
        ([4711, {}], "4711"),
        (["no number", {}], "no number"),
        ([QUICK, {"trainig_parameters": {}}], "trainig_parameters"),
        ([QUICK, [1]], "object"),
        ([], "model"),
    ]:
        result = app.send_task(TRAIN, args=arguments)
        try:
            value = result.get(timeout=PATIENCE)
        except RuntimeError as error:
            assert words in str(error), f"{arguments}: {error}"
        else:
            raise AssertionError(f"{arguments}: {value}")
        same(result.state, "FAILURE")
        assert words in result.traceback, result.traceback
    same(model(QUICK)["status"], "TRAINED")


def an_id_that_is_a_path_is_refused():
    result = train(QUICK, task_id="../../etc/x")
    try:
        result.get(timeout=PATIENCE)
        raise AssertionError("it was trained")
    except RuntimeError as error:
        assert "letters" in str(error), error


def submits_wait_for_their_turn_and_are_stopped_in_any_state():
    with busy():
        run = api(f"/api/v2/ai/models/{QUICK}/train", "POST", {})["task_id"]
        second = train(QUICK, priority=0)
        api(f"/api/v2/ai/models/{QUICK}/stop", "POST", {})
        same(AsyncResult(run, app=app).state, "REVOKED")
        third = train(SLOW, priority=9)
    second.get(timeout=PATIENCE)
    eventually("the third begins", lambda: model(SLOW)["task_id"] == third.id and model(SLOW)["status"] == "TRAINING")
    third.revoke(terminate=True)
    eventually("it is stopped", lambda: third.state == "REVOKED")


def what_runs_is_terminated_and_what_waits_is_dropped():
    with busy() as running:
        waits = train(QUICK)
        eventually("it is in the queue", lambda: app.backend.client and not waits.ready())
        waits.revoke()
        eventually("the waiting one is revoked", lambda: waits.state == "REVOKED")
    for result in (waits, running):
        try:
            result.get(timeout=PATIENCE)
            raise AssertionError("it was done")
        except TaskRevokedError:
            same(result.state, "REVOKED")


def a_run_that_was_submitted_over_rest_is_revoked_too():
    with busy():
        run = api(f"/api/v2/ai/models/{QUICK}/train", "POST", {})["task_id"]
        same(AsyncResult(run, app=app).state, "PENDING")
        app.control.revoke(run)
        eventually("the model is what it was", lambda: model(QUICK)["status"] == "TRAINED")
        same(AsyncResult(run, app=app).state, "REVOKED")


def inspect_answers():
    with busy() as running:
        inspect = app.control.inspect(timeout=1)
        (worker,) = inspect.ping()
        same(inspect.ping(), {worker: {"ok": "pong"}})
        (task,) = inspect.active()[worker]
        same((task["id"], task["name"], task["args"][0]), (running.id, TRAIN, SLOW))
        same(sorted(inspect.registered()[worker]), sorted([TRAIN, EVALUATE, "trainyard.train_trial"]))
        queues = {"ai_training", "ai_evaluation"}
        same({queue["name"] for queue in inspect.active_queues()[worker]}, queues | {name + "@gpu" for name in queues})
        assert inspect.stats()[worker]["pid"] > 0
        same((inspect.reserved(), inspect.scheduled(), inspect.revoked()), ({worker: []},) * 3)
        same(list(inspect.query_task(running.id)[worker]), [running.id])
        same(app.control.inspect(destination=["nobody@nowhere"], timeout=1).ping(), None)
        assert "error" in app.control.broadcast("no_such_method", reply=True, timeout=2)[0][worker]


def a_queue_of_labels_is_served_by_who_has_them():
    value = train(QUICK, queue="ai_training@gpu").get(timeout=PATIENCE)
    same(value["status"], "TRAINED")
    nobodys = train(QUICK, queue="ai_training@large")
    time.sleep(1)
    same(nobodys.state, "PENDING")


def priorities_go_first():
    with busy():
        results = [
            train(QUICK, {"training_parameters": {"epochs": 1}, "seed": seed}, priority=priority)
            for seed, priority in [(1, 9), (2, 0), (3, 5), (4, 0)]
        ]
    for result in results:
        result.get(timeout=PATIENCE)
    ended = [result.date_done for result in results]
    order = sorted(range(4), key=lambda index: ended[index])
    same(order, [1, 3, 2, 0])


def an_eta_is_waited_for_and_what_expires_is_not_done():
    start = time.monotonic()
    later = train(QUICK, {"training_parameters": {"epochs": 1}}, countdown=3)
    with busy():
        expired = train(QUICK, expires=0.5)
        time.sleep(1)
    later.get(timeout=PATIENCE)
    assert time.monotonic() - start >= 3
    eventually("it expires", lambda: expired.state == "REVOKED")


def an_evaluation_is_done():
    value = app.send_task(EVALUATE, args=[QUICK, {}]).get(timeout=PATIENCE)
    same(value["model_id"], QUICK)
    assert value["metrics"]["mae"] > 0, value
    try:
        app.send_task(EVALUATE, args=[4711, {}]).get(timeout=PATIENCE)
        raise AssertionError("it was judged")
    except RuntimeError as error:
        assert "4711" in str(error), error


def nobody_wants_some_results():
    result = train(QUICK, {"training_parameters": {"epochs": 1}}, ignore_result=True)
    eventually("it is done", lambda: model(QUICK)["task_id"] == result.id and model(QUICK)["status"] == "TRAINED")
    same(app.backend.client.get(f"celery-task-meta-{result.id}"), None)


def events_are_sent():
    heard = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": heard.append})
        listening = threading.Thread(target=lambda: receiver.capture(limit=None, timeout=8, wakeup=False), daemon=True)
        listening.start()
        time.sleep(0.5)
        result = train(QUICK, {"training_parameters": {"epochs": 1}})
        result.get(timeout=PATIENCE)
        kinds = lambda: {event["type"] for event in heard if event.get("uuid") == result.id}
        eventually("events of the task", lambda: kinds() >= {"task-received", "task-started", "task-succeeded"})
        eventually("a heartbeat", lambda: any(event["type"] == "worker-heartbeat" for event in heard))


def a_worker_of_celery_shares_the_queue():
    command = [sys.executable, "-m", "celery", "-A", "application", "worker", "-Q", "ai_training", "-c", "2",
               "-n", "original@here", "-l", "WARNING", "--without-gossip"]
    worker = subprocess.Popen(command, env={**os.environ, "C_FORCE_ROOT": "1"}, stderr=subprocess.DEVNULL)
    try:
        eventually("the worker of Celery answers", lambda: "original@here" in (app.control.inspect(timeout=1).ping() or {}))
        models = [int(number) for number in os.environ["MANY"].split(",")]
        results = [train(number, {"training_parameters": {"epochs": 1}}) for number in models]
        values = [result.get(timeout=PATIENCE) for result in results]
        by_celery = {result.id for result, value in zip(results, values) if value.get("by") == "celery"}
        done = [entry.decode() for entry in app.backend.client.lrange("done-by-celery", 0, -1)]
        same(sorted(done), sorted(by_celery))
        for result, number in zip(results, models):
            trained = model(number)["task_id"] == result.id
            assert trained != (result.id in by_celery), f"{number}: done twice, or not at all"
        print(f"    {len(by_celery)} of {len(models)} by the worker of Celery")
        assert 0 < len(by_celery) < len(models), "only one of the two did anything"
    finally:
        worker.terminate()
        worker.wait()


def flower_lists_the_worker_and_its_tasks():
    port = os.environ["FLOWER_PORT"]
    command = [sys.executable, "-m", "celery", "-A", "application", "flower", f"--port={port}", "--address=127.0.0.1"]
    env = {**os.environ, "FLOWER_UNAUTHENTICATED_API": "true"}
    flower = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None

    try:
        (name,) = app.control.inspect(timeout=5).ping()
        eventually("Flower lists the worker", lambda: name in (ask("/api/workers?refresh=1") or {}))
        result = train(QUICK, {"training_parameters": {"epochs": 1}})
        result.get(timeout=PATIENCE)
        task = eventually("Flower lists the task", lambda: (ask("/api/tasks") or {}).get(result.id))
        same((task["name"], task["worker"]), (TRAIN, name))
        eventually("as done", lambda: ask("/api/tasks")[result.id]["state"] == "SUCCESS")
    finally:
        flower.terminate()
        flower.wait()


for check in [value for value in list(globals().values()) if callable(value) and value.__module__ == __name__
              and value not in (train, api, model, eventually, same, busy)]:
    start = time.monotonic()
    print(check.__name__.replace("_", " "), flush=True)
    check()
    print(f"    {time.monotonic() - start:.1f} s", flush=True)
