//! Celery's own clients and tools, pointed at a service of ours: `tests/celery/check.py` says what they expect.

use crate::harness::{Service, plugin, root};
use serde_json::json;
use std::process::Command;
use trainyard_test_servers::Redis;

#[test]
fn an_application_that_submits_to_celery_goes_on_working() {
    let Some(python) = std::env::var_os("TRAINYARD_PYTHON") else {
        println!("skipped: no Python with Celery is there; `cargo xtask test` makes one");
        return;
    };
    let (Some(redis), Some(_)) = (Redis::start().unwrap(), plugin("dlinear")) else {
        return;
    };
    let service = Service::with(&[
        ("TRAINYARD_REDIS_URL", &redis.url(0)),
        ("TRAINYARD_REDIS_RATE_LIMIT", "0"),
        ("TRAINYARD_WORKER_SLOTS", "1"),
        ("TRAINYARD_WORKER_QUEUES", "ai_training,ai_evaluation"),
        ("TRAINYARD_WORKER_LABELS", "gpu"),
    ]);
    let quick = service.create_weather(2).unwrap();
    let slow = service.create_slow_weather(1000).unwrap();
    let dataset = service.model(quick)["training_dataset"].clone();
    let many: Vec<String> = (0..30)
        .map(|number| {
            let model = service.create_model(&format!("m{number}"), "dlinear", &dataset, &json!({"epochs": 1}));
            model.to_string()
        })
        .collect();
    let folder = root().join("tests/celery");
    let status = Command::new(python)
        .arg(folder.join("check.py"))
        .current_dir(&folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("BROKER", redis.url(0))
        .env("BACKEND", redis.url(1))
        .env("API", format!("http://{}", service.address))
        .env("QUICK", quick.to_string())
        .env("SLOW", slow.to_string())
        .env("MANY", many.join(","))
        .env("FLOWER_PORT", trainyard_test_servers::free_port().unwrap().to_string())
        .status()
        .unwrap();
    assert!(status.success());
}
