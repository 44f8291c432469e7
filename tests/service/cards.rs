//! Trainings on cards. Without a card these run on an emulator of one (`tests/cuda-emulator`), with a program that is built for
//! cards; `TRAINYARD_TEST_CUDA_EMULATOR` names the folder of the one and `TRAINYARD_TEST_CUDA_PROGRAM` the other.

use crate::harness::{Service, program};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// The emulator and a program that can use it; without them a test says that it skips.
struct Bench {
    libraries: PathBuf,
    program: Option<PathBuf>,
    folder: tempfile::TempDir,
}

impl Bench {
    /// With a program for cards.
    fn whole() -> Option<Self> {
        let bench = Self::libraries()?;
        if bench.program.is_none() {
            println!("skipped: TRAINYARD_TEST_CUDA_PROGRAM names no program that is built for cards");
        }
        bench.program.is_some().then_some(bench)
    }

    fn libraries() -> Option<Self> {
        let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let libraries =
            named("TRAINYARD_TEST_CUDA_EMULATOR").filter(|folder| folder.join("libnvidia-ml.so.1").exists());
        if libraries.is_none() {
            println!("skipped: TRAINYARD_TEST_CUDA_EMULATOR names no folder of emulated libraries");
        }
        Some(Bench {
            libraries: libraries?,
            program: named("TRAINYARD_TEST_CUDA_PROGRAM").filter(|program| program.is_file()),
            folder: tempfile::tempdir().unwrap(),
        })
    }

    /// The file whose presence means that the cards are lost.
    fn lost(&self) -> PathBuf {
        self.folder.path().join("lost")
    }

    /// Loses one card of several.
    fn lose_one(&self, number: usize) {
        std::fs::write(self.folder.path().join(format!("lost.{number}")), "").unwrap();
    }

    /// The file as long as which is there the driver answers nothing.
    fn hanging(&self) -> PathBuf {
        self.folder.path().join("hang")
    }

    fn lose(&self) {
        std::fs::write(self.lost(), "").unwrap();
    }

    fn find(&self) {
        std::fs::remove_file(self.lost()).unwrap();
    }

    fn settings(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        // The one folder, besides its own, that a process on a card may write to while its driver starts.
        let cache = self.folder.path().join("cache");
        std::fs::create_dir_all(&cache).unwrap();
        let mut settings = vec![
            ("LD_LIBRARY_PATH".to_owned(), text(&self.libraries)),
            ("CUDA_CACHE_PATH".to_owned(), text(&cache)),
            ("CUDA_EMULATOR_SHARE".to_owned(), text(&cache.join("share"))),
            ("CUDA_EMULATOR_LOST".to_owned(), text(&self.lost())),
            ("CUDA_EMULATOR_HANG".to_owned(), text(&self.hanging())),
            ("TRAINYARD_WORKER_CARD_CHECK_SECONDS".to_owned(), "1".to_owned()),
        ];
        settings.extend(
            self.program
                .iter()
                .map(|program| ("TRAINYARD_TEST_PROGRAM".to_owned(), text(program))),
        );
        settings
    }

    fn service(&self, more: &[(&str, &str)]) -> Service {
        let settings = self.settings();
        let mut settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
        settings.extend(more);
        Service::with(&settings)
    }
}

/// A worker over a service's folder. Killed when it goes out of scope.
struct Worker(Child);

impl Worker {
    fn start(service: &Service, settings: &[(String, String)]) -> Self {
        let mut command = program(service.folder.path(), &["worker"], settings);
        Worker(command.stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn workers(service: &Service) -> Vec<Value> {
    service.get("/api/v2/ai/workers").data()["items"]
        .as_array()
        .unwrap()
        .clone()
}

/// The first card of each worker.
fn cards(service: &Service) -> Vec<Value> {
    workers(service)
        .iter()
        .map(|worker| worker["cards"][0].clone())
        .collect()
}

fn works(service: &Service) {
    service.eventually("a card works", || {
        cards(service).iter().any(|card| card["healthy"] == true)
    });
}

fn log(service: &Service, model: i64) -> String {
    service
        .get(&format!("/api/v2/ai/models/{model}/logs"))
        .data()
        .to_string()
}

/// A model that has been trained on this device. What a run used is told a moment after its end.
fn trained_on(service: &Service, model: i64, device: &str) -> Value {
    service.wait_for(model, &["TRAINED"]);
    let used = |model: &Value| {
        let used = model["resource_usage"]["device"].as_str();
        used.is_some_and(|used| used.starts_with(device))
    };
    service.eventually(device, || used(&service.model(model)));
    service.model(model)
}

fn attempt(service: &Service, model: i64, run: &str) -> i64 {
    service.run(model, run)["attempt"].as_i64().unwrap()
}

#[test]
fn without_a_card_auto_is_the_processor_and_cuda_waits_for_one() {
    let service = Service::start();
    let Some(id) = service.create_weather(1) else { return };
    let run = service.train(id, &json!({}));
    let model = trained_on(&service, id, "cpu");
    assert!(model["resource_usage"]["gpu_memory_mb"].is_null());
    let run = service.run(id, &run);
    assert_eq!(
        (&run["limits"]["device"], &run["limits"]["tf32"]),
        (&json!("auto"), &json!(false))
    );
    assert_eq!(run["labels"], json!([]));

    // As clients of the original can say it.
    let run = service.train(id, &json!({"training_parameters": {"device": "cuda:1", "tf32": true}}));
    let waiting = service.run(id, &run);
    assert_eq!(
        (&waiting["limits"]["device"], &waiting["limits"]["tf32"]),
        (&json!("cuda:1"), &json!(true))
    );
    assert_eq!(
        (&waiting["labels"], &waiting["state"]),
        (&json!(["gpu"]), &json!("PENDING"))
    );
    assert!(waiting["training_parameters"]["device"].is_null());
    assert!(log(&service, id).contains("has the labels gpu"));
    service.stop(id).data();

    // Whoever names labels gets them, and an answer of the worker that has them.
    let refused = service.post(&format!("/api/v2/ai/models/{id}/train"), &json!({"device": "gpu"}));
    assert_eq!(refused.error(422), "invalid-body");
    assert!(
        refused.json()["message"]
            .as_str()
            .unwrap()
            .contains("auto, cpu, cuda or cuda:N")
    );
}

#[test]
fn a_worker_that_is_told_of_a_card_it_does_not_have_says_so() {
    let service = Service::with(&[("TRAINYARD_WORKER_LABELS", "gpu")]);
    let Some(id) = service.create_weather(1) else { return };
    service.train(id, &json!({"device": "cuda"}));
    let model = service.wait_for(id, &["ERROR"]);
    let error = model["error_log"].as_str().unwrap();
    assert!(
        error.starts_with("device: cuda is asked for, and this worker has no card"),
        "{error}"
    );
    // What asks for the label alone is served as ever.
    service.train(id, &json!({"labels": ["gpu"]}));
    service.wait_for(id, &["TRAINED"]);
}

#[test]
fn what_a_card_does_is_read_and_a_build_without_cuda_does_not_use_it() {
    let Some(bench) = Bench::libraries() else { return };
    let bench = Bench { program: None, ..bench };
    let service = bench.service(&[]);
    service.eventually("the card is listed", || {
        cards(&service).iter().any(|card| card["memory_used_mb"].is_number())
    });
    let card = cards(&service).remove(0);
    assert_eq!((&card["index"], &card["healthy"]), (&json!(0), &json!(false)), "{card}");
    assert!(card["problem"].as_str().unwrap().contains("has no CUDA"), "{card}");
    assert!(card["name"].as_str().unwrap().contains("mulated"), "{card}");
    assert!(
        card["temperature_c"].as_f64().unwrap() > 0.0 && card["memory_mb"].as_u64().unwrap() > 0,
        "{card}"
    );
    assert_eq!(workers(&service)[0]["labels"], json!([]));
}

#[test]
fn a_training_runs_on_the_card_and_says_what_it_used() {
    let Some(bench) = Bench::whole() else { return };
    let service = bench.service(&[]);
    works(&service);
    assert_eq!(workers(&service)[0]["labels"], json!(["gpu"]));
    let Some(id) = service.create_slow_weather(2) else {
        return;
    };
    let run = service.train(id, &json!({"device": "cuda", "memory_limit_mb": 512}));
    let model = trained_on(&service, id, "cuda:0 (");
    assert!(
        log(&service, id).contains("training on cuda:0 ("),
        "{}",
        log(&service, id)
    );
    let usage = &model["resource_usage"];
    assert!(usage["gpu_memory_mb"].as_f64().unwrap() > 0.0, "{usage}");
    assert!(
        usage["gpu_temperature_c"].as_f64().unwrap() > 0.0 && usage["gpu_power_w"].as_f64().unwrap() > 0.0,
        "{usage}"
    );
    assert_eq!(service.run(id, &run)["labels"], json!(["gpu"]));
    let metrics = service.get("/metrics").bytes;
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(
        metrics
            .lines()
            .any(|line| line.starts_with("trainyard_card_healthy{") && line.ends_with(" 1.0")),
        "{metrics}"
    );

    let listed = service.cli(&["workers"]).stdout;
    let listed = String::from_utf8(listed).unwrap();
    assert!(
        listed.contains("cuda:0 (Emulated card)") && listed.contains("works"),
        "{listed}"
    );

    // The same numbers as the processor's, as near as f32 is.
    let on_card = model["metrics"]["mse"].as_f64().unwrap();
    service.train(id, &json!({"device": "cpu", "seed": service.run(id, &run)["seed"]}));
    let model = service.wait_for(id, &["TRAINED"]);
    let on_processor = model["metrics"]["mse"].as_f64().unwrap();
    assert!((on_card / on_processor - 1.0).abs() < 0.05, "{on_card} {on_processor}");
}

#[test]
fn jobs_share_a_card_while_all_that_they_may_hold_fits() {
    let Some(bench) = Bench::whole() else { return };
    let memory = (2_u64 << 30).to_string();
    let service = bench.service(&[("CUDA_EMULATOR_MEMORY", &memory), ("TRAINYARD_WORKER_SLOTS", "3")]);
    works(&service);
    let asked = json!({"device": "cuda", "memory_limit_mb": 512});
    let Some(first) = service.create_slow_weather(1000) else {
        return;
    };
    let others = [(); 2].map(|()| service.create_slow_weather(1000).unwrap());
    service.train(first, &asked);
    service.train(others[0], &asked);
    service.eventually("two share the card", || {
        cards(&service)[0]["running"].as_array().unwrap().len() == 2
    });
    // They know what the driver has to know, and nothing of the service.
    let variables = service
        .runners()
        .into_iter()
        .filter_map(|pid| std::fs::read(format!("/proc/{pid}/environ")).ok());
    let on_card: Vec<String> = variables
        .map(|variables| String::from_utf8(variables).unwrap())
        .filter(|variables| variables.contains("CUDA_VISIBLE_DEVICES=GPU-"))
        .collect();
    assert_eq!(on_card.len(), 2, "{on_card:?}");
    for variable in on_card
        .iter()
        .flat_map(|all| all.split('\0'))
        .filter(|one| !one.is_empty())
    {
        let known = ["CUDA_", "NVIDIA_", "LD_LIBRARY_PATH=", "TMPDIR=", "CANDLE_NUM_THREADS="];
        assert!(known.iter().any(|known| variable.starts_with(known)), "{variable}");
    }
    service.train(others[1], &asked);
    service.eventually("the third waits", || {
        log(&service, others[1]).contains("waits for a card")
    });
    assert_eq!(cards(&service)[0]["running"].as_array().unwrap().len(), 2);
    // What fits no card at all is an error, or is done by the processor.
    let Some(large) = service.create_weather(1) else { return };
    service.stop(others[0]).data();
    service.eventually("the third is on the card", || {
        log(&service, others[1]).contains("training on cuda:0")
    });
    service.train(large, &json!({"device": "cuda", "memory_limit_mb": 4096}));
    let model = service.wait_for(large, &["ERROR"]);
    assert!(
        model["error_log"].as_str().unwrap().contains("memory_limit_mb"),
        "{model}"
    );
    service.train(large, &json!({"device": "auto", "memory_limit_mb": 4096}));
    trained_on(&service, large, "cpu");
    assert!(log(&service, large).contains("training on the processor"));
    for id in [first, others[1]] {
        service.stop(id).data();
    }
}

#[test]
fn a_lost_card_costs_no_training() {
    let Some(bench) = Bench::whole() else { return };
    let service = Service::serving(&[]);
    let _worker = Worker::start(&service, &bench.settings());
    works(&service);
    let Some(id) = service.create_slow_weather(1000) else {
        return;
    };
    let run = service.train(id, &json!({"device": "cuda", "memory_limit_mb": 512}));
    service.wait_for(id, &["TRAINING"]);
    bench.lose();
    // No other worker has a card: it waits for one.
    service.wait_for(id, &["PENDING"]);
    service.eventually("the card is reported", || {
        let worker = &workers(&service)[0];
        let card = &worker["cards"][0];
        worker["labels"] == json!([]) && card["healthy"] == false && card["problem"].is_string()
    });
    assert_eq!(attempt(&service, id, &run), 1);
    // One comes.
    let other = Bench {
        folder: tempfile::tempdir().unwrap(),
        libraries: bench.libraries.clone(),
        program: bench.program.clone(),
    };
    let second = Worker::start(&service, &other.settings());
    service.wait_for(id, &["TRAINING"]);
    let taken = service.run(id, &run);
    assert_eq!(taken["attempt"], 2);
    assert!(
        taken["worker"].as_str().unwrap().contains(&second.0.id().to_string()),
        "{taken}"
    );
    service.stop(id).data();
    // The first is of use again as soon as its card is.
    bench.find();
    service.eventually("both cards work", || {
        cards(&service).iter().filter(|card| card["healthy"] == true).count() == 2
    });
}

#[test]
fn auto_goes_on_on_the_processor_when_the_card_is_lost() {
    let Some(bench) = Bench::whole() else { return };
    let service = bench.service(&[]);
    works(&service);
    let Some(id) = service.create_slow_weather(1) else {
        return;
    };
    let run = service.train(id, &json!({"device": "auto", "memory_limit_mb": 512}));
    service.wait_for(id, &["TRAINING"]);
    bench.lose();
    trained_on(&service, id, "cpu");
    assert_eq!(attempt(&service, id, &run), 2);
}

#[test]
fn a_training_that_fails_on_cards_again_and_again_is_given_up() {
    let Some(bench) = Bench::whole() else { return };
    // An address that is not the kernel's to use: nothing more can be done in that process, and the card is as good as before.
    let service = bench.service(&[("CUDA_EMULATOR_FAIL", "launch:500:700")]);
    works(&service);
    let Some(id) = service.create_slow_weather(5) else {
        return;
    };
    let run = service.train(id, &json!({"device": "cuda", "memory_limit_mb": 512}));
    let model = service.wait_for(id, &["ERROR"]);
    let error = model["error_log"].as_str().unwrap();
    assert!(
        error.starts_with("device: in 3 attempts, the last time because") && error.contains("cuda:0 failed"),
        "{error}"
    );
    assert_eq!(attempt(&service, id, &run), 3);
    let letters = service.get("/api/v2/ai/dead-letters").data();
    assert_eq!(letters["items"][0]["run_id"], json!(run), "{letters}");
    works(&service);
}

#[test]
fn a_training_whose_card_is_lost_goes_on_on_the_other() {
    let Some(bench) = Bench::whole() else { return };
    let service = bench.service(&[("CUDA_EMULATOR_CARDS", "2")]);
    let both = || -> Vec<Value> {
        let workers = workers(&service);
        let cards = workers.first().and_then(|worker| worker["cards"].as_array());
        cards.cloned().unwrap_or_default()
    };
    service.eventually("both cards work", || {
        let cards = both();
        cards.len() == 2 && cards.iter().all(|card| card["healthy"] == true)
    });
    let Some(id) = service.create_slow_weather(1000) else {
        return;
    };
    let run = service.train(id, &json!({"device": "cuda", "memory_limit_mb": 512}));
    service.wait_for(id, &["TRAINING"]);
    assert!(log(&service, id).contains("training on cuda:0 ("));
    bench.lose_one(0);
    service.eventually("it goes on on the other card", || {
        log(&service, id).contains("training on cuda:1 (")
    });
    service.wait_for(id, &["TRAINING"]);
    assert_eq!(attempt(&service, id, &run), 2);
    service.eventually("the worker says so", || {
        let cards = both();
        cards[0]["healthy"] == false && cards[1]["healthy"] == true && cards[1]["running"] == json!([run])
    });
    // One card that works is enough to be asked for any.
    assert_eq!(workers(&service)[0]["labels"], json!(["gpu"]));
    service.stop(id).data();
}

#[test]
fn a_list_of_cards_does_not_reach_beyond_what_the_environment_names() {
    let Some(bench) = Bench::whole() else { return };
    let service = bench.service(&[
        ("CUDA_EMULATOR_CARDS", "2"),
        ("CUDA_VISIBLE_DEVICES", "1"),
        ("TRAINYARD_WORKER_DEVICES", "cuda:0,cuda:1"),
    ]);
    works(&service);
    let cards = workers(&service)[0]["cards"].as_array().unwrap().clone();
    assert_eq!(
        (&cards[1]["healthy"], &cards[1]["problem"]),
        (&json!(false), &json!("CUDA_VISIBLE_DEVICES names only 1 card")),
        "{cards:?}"
    );
}

#[test]
fn a_driver_that_hangs_costs_the_worker_nothing_and_is_of_use_again_afterwards() {
    let Some(bench) = Bench::whole() else { return };
    let service = bench.service(&[("TRAINYARD_WORKER_CARD_PATIENCE_SECONDS", "2")]);
    works(&service);
    std::fs::write(bench.hanging(), "").unwrap();
    service.eventually("the card is reported", || {
        let card = &cards(&service)[0];
        let problem = card["problem"].as_str().unwrap_or_default();
        card["healthy"] == false && (problem.contains("did not answer") || problem.contains("still hangs"))
    });
    // The worker goes on with what needs no card.
    let Some(id) = service.create_weather(1) else { return };
    service.train(id, &json!({"device": "auto"}));
    trained_on(&service, id, "cpu");
    std::fs::remove_file(bench.hanging()).unwrap();
    works(&service);
    service.train(id, &json!({"device": "cuda", "memory_limit_mb": 512}));
    trained_on(&service, id, "cuda:0");
}

#[test]
fn a_driver_that_hangs_at_the_start_is_looked_for_again() {
    let Some(bench) = Bench::whole() else { return };
    std::fs::write(bench.hanging(), "").unwrap();
    let service = bench.service(&[("TRAINYARD_WORKER_CARD_PATIENCE_SECONDS", "1")]);
    service.eventually("the worker is there", || workers(&service).len() == 1);
    assert_eq!(workers(&service)[0]["cards"], json!([]));
    std::fs::remove_file(bench.hanging()).unwrap();
    works(&service);
    assert_eq!(workers(&service)[0]["labels"], json!(["gpu"]));
}

#[test]
fn auto_ends_on_the_processor_where_a_card_fails_it_and_checks_fine() {
    let Some(bench) = Bench::whole() else { return };
    let service = bench.service(&[("CUDA_EMULATOR_FAIL", "launch:500:700")]);
    works(&service);
    let Some(id) = service.create_slow_weather(1) else {
        return;
    };
    let run = service.train(id, &json!({"device": "auto", "memory_limit_mb": 512}));
    trained_on(&service, id, "cpu");
    assert_eq!(attempt(&service, id, &run), 2);
    assert!(
        log(&service, id).contains("training on the processor: it failed on cuda:0"),
        "{}",
        log(&service, id)
    );
    works(&service);
}

#[test]
fn doctor_says_which_cards_compute_and_what_is_missing() {
    let Some(bench) = Bench::whole() else { return };
    let examined = |settings: &[(String, String)]| {
        let output = program(bench.folder.path(), &["doctor"], settings).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .find(|line| line.contains(" cards "))
            .unwrap_or_default()
            .to_owned()
    };
    let mut settings = bench.settings();
    let found = examined(&settings);
    assert!(
        found.starts_with("ok") && found.contains("cuda:0 (Emulated card)"),
        "{found}"
    );
    let output = program(bench.folder.path(), &["doctor", "--no-cards"], &settings)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains(" cards "), "{text}");
    bench.lose();
    let found = examined(&settings);
    assert!(found.starts_with("warning"), "{found}");
    settings.retain(|(name, _)| name != "LD_LIBRARY_PATH");
    settings.push(("LD_LIBRARY_PATH".into(), String::new()));
    let found = examined(&settings);
    assert!(
        found.starts_with("warning") && found.contains("libcuda.so.1 cannot be loaded"),
        "{found}"
    );
}
