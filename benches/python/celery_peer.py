"""A worker of Celery whose one task does nothing, as the original's would be set up for long jobs."""

import os

from celery import Celery

app = Celery("peer", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    task_acks_late=True,
    worker_hijack_root_logger=False,
)


@app.task(name="app.tasks.ai.evaluate_model")
def evaluate_model(model_id, config):
    return None
