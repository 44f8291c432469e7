"""The original's tasks, as its own application has them: what stays in Python may share the queues with Trainyard."""

import os

from celery import Celery

app = Celery("application", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    timezone="Asia/Shanghai",
    enable_utc=True,
    task_acks_late=True,
    task_routes={
        "app.tasks.ai.train_model": {"queue": "ai_training"},
        "app.tasks.ai.evaluate_model": {"queue": "ai_evaluation"},
    },
)


@app.task(name="app.tasks.ai.train_model", bind=True)
def train_model(self, model_id, config):
    self.app.backend.client.rpush("done-by-celery", self.request.id)
    return {"model_id": model_id, "by": "celery"}
