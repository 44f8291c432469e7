//! Whatever a plugin does, its job ends in one clear line, and the host goes on.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{hostile, small, train_hostile};
use std::time::{Duration, Instant};
use trainyard_sandbox::{Event, Limits, SandboxError};

/// Trains in a mode that fails; the error's code and the parts of its line.
macro_rules! fails {
    ($($test:ident: $mode:literal $(with $limits:expr)? => $code:literal, $($part:literal),+;)*) => {
        $(#[test]
        fn $test() {
            #[allow(unused_mut, unused_assignments)]
            let mut limits = small();
            $(limits = $limits;)?
            let Some((outcome, _)) = train_hostile($mode, limits) else { return };
            let error = outcome.expect_err("it should have failed");
            let line = error.to_string();
            println!("{line}");
            assert_eq!(error.code(), $code, "{line}");
            assert!(!line.contains('\n') && line.len() < 3_000, "{line}");
            $(assert!(line.contains($part), "{line}");)+
        })*
    };
}

fn seconds(n: f64) -> Limits {
    Limits {
        wall_time: Duration::from_secs_f64(n),
        ..small()
    }
}

fails! {
    an_endless_loop_runs_out_of_time: "endless-loop" with seconds(0.2)
        => "timeout", "`train` was stopped", "ran longer than 0.2 s (--timeout)";
    endless_calls_of_the_host_run_out_of_time: "endless-calls" with seconds(0.2)
        => "timeout", "ran longer than 0.2 s";
    endless_work_in_the_host_runs_out_of_time: "endless-work" with seconds(0.2)
        => "timeout", "ran longer than 0.2 s";
    endless_recursion_overflows_its_stack: "endless-recursion"
        => "trap", "`train` crashed", "stack overflow", "deeper";
    endless_recursion_with_calls_of_the_host_overflows_its_stack: "endless-recursion-with-calls"
        => "trap", "stack overflow";
    its_own_memory_is_bounded: "guest-memory"
        => "guest-memory", "needed more than 32 MiB of its own memory";
    the_memory_of_tensors_is_bounded: "tensor-memory"
        => "out-of-memory", "tensor.full", "tensor memory", "256 MiB";
    one_giant_tensor_is_refused: "one-giant-tensor"
        => "out-of-memory", "tensor.full", "29.8 GiB asked for";
    a_shape_whose_product_overflows_is_refused: "shape-overflow"
        => "out-of-memory", "tensor.full";
    a_random_shape_whose_product_overflows_is_refused: "shape-overflow-random"
        => "out-of-memory", "tensor.random-normal";
    a_broadcast_shape_whose_product_overflows_is_refused: "shape-overflow-broadcast"
        => "shape", "tensor.broadcast-to";
    a_giant_range_is_refused: "giant-range" => "out-of-memory", "tensor.arange";
    a_giant_identity_is_refused: "giant-identity" => "out-of-memory", "tensor.eye";
    a_giant_repetition_is_refused: "giant-repeat" => "out-of-memory", "tensor.repeat";
    a_shape_of_a_million_dimensions_is_refused: "giant-rank"
        => "invalid-argument", "tensor.full: 1000000 dimensions, more than 64";
    a_million_handles_are_too_many: "million-handles"
        => "limit", "tensor.full", "over the limit of handles", "20000";
    a_hundred_thousand_optimizers_are_too_many: "many-optimizers"
        => "limit", "over the limit of optimizers";
    a_million_parameters_are_too_many: "million-parameters" => "limit", "over the limit of handles";
    a_giant_list_does_not_fit_a_message: "giant-list" with Limits { guest_memory: 256 << 20, ..small() }
        => "limit", "over the limit of 64 MiB for message size";
    a_giant_read_does_not_fit_a_message: "giant-read"
        => "limit", "tensor.to-f32", "message size";
    a_giant_error_is_cut: "giant-error" with Limits { guest_memory: 256 << 20, ..small() }
        => "algorithm", "why", "…";
    there_may_be_no_data: "unknown-data" => "invalid-argument", "dataset.batches.open";
    a_handle_cannot_be_used_after_it_was_dropped: "use-after-drop"
        => "trap", "`train` crashed: it used a handle that it had dropped, or never had";
    a_handle_cannot_be_dropped_twice: "double-drop" => "trap", "a handle that it had dropped";
    a_handle_cannot_be_made_up: "forged-handle" => "trap", "or never had (unknown handle index 12345)";
    a_handle_of_another_kind_is_refused: "foreign-handle" => "trap", "a handle of another kind";
    unreachable_code_is_a_crash: "unreachable" => "trap", "it gave up";
    a_wild_pointer_is_a_crash: "wild-pointer" => "trap", "it used memory that it does not have";
    a_panic_is_told_in_its_own_words: "panic" => "trap", "`train` crashed: panic:", "the answer", "lib.rs";
    a_silent_panic_is_told_too: "silent-panic" => "trap", "a panic or an abort without a message";
    progress_is_a_number: "nan-progress" => "numerical", "run.progress: the metric `loss` is NaN";
    progress_is_finite: "infinite-progress" => "numerical", "the metric `loss` is inf";
    progress_ends_at_its_end: "progress-past-the-end"
        => "invalid-argument", "run.progress: step 3 of 2 does not exist";
    progress_is_of_something: "progress-of-nothing" => "invalid-argument", "step 0 of 0";
    metrics_are_bounded: "many-metrics" => "limit", "metrics", "100000 asked for";
    a_metric_has_a_plain_name: "metric-name" => "invalid-argument", "the metric's name `a b`";
    a_long_name_is_refused: "long-name" => "limit", "autograd.parameter", "name length", "1048576 asked for";
    an_empty_name_is_refused: "empty-name" => "invalid-argument", "a name cannot be empty";
    a_name_is_given_once: "same-name" => "invalid-argument", "there is a parameter `w` already";
    a_huge_checkpoint_is_refused: "huge-checkpoint"
        => "limit", "run.checkpoint", "checkpoint size", "419430400 asked for";
    a_checkpoint_names_its_tensors_once: "checkpoint-names" => "invalid-argument", "two tensors `w`";
    a_checkpoint_has_a_short_note: "checkpoint-note" => "limit", "note size";
    a_graph_is_walked_once: "backward-twice" => "invalid-argument", "an earlier backward pass has freed";
    a_parameter_that_the_loss_does_not_know_is_named: "no-gradient" => "missing-gradient", "`unused`";
    a_loss_depends_on_something: "backward-on-nothing" => "invalid-argument", "autograd.backward";
    a_model_holds_no_nan: "nan-model"
        => "invalid-result", "`train` gave back something that cannot be used: the model's tensor `w` holds NaN";
    a_model_names_its_tensors_once: "same-names" => "invalid-result", "two tensors `w`";
    a_model_has_short_names: "long-model-name" => "invalid-result", "the name `xxxx", "200 bytes";
    a_model_has_not_too_many_tensors: "many-tensors" with Limits { handles: 100_000, ..small() }
        => "invalid-result", "20000 tensors, more than 10000";
    a_models_note_is_json: "note-not-json" => "invalid-result", "note is not JSON";
    it_cannot_pretend_to_be_cancelled: "says-cancelled" => "algorithm", "it says that it was cancelled, and it was not";
}

#[test]
fn a_flood_of_lines_is_dropped_and_counted() {
    let Some((outcome, events)) = train_hostile("log-flood", small()) else {
        return;
    };
    outcome.unwrap();
    let events = events.lock().unwrap();
    let (mut shown, mut dropped) = (0, 0);
    for event in events.iter() {
        match event {
            Event::Log { .. } => shown += 1,
            Event::LogDropped { lines } => dropped += lines,
            _ => {}
        }
    }
    assert_eq!(shown + dropped, 100_000);
    assert!(shown < 5_000, "{shown}");
}

#[test]
fn a_line_of_ten_megabytes_is_cut() {
    let Some((outcome, events)) = train_hostile("log-line", small()) else {
        return;
    };
    outcome.unwrap();
    match &events.lock().unwrap()[..] {
        [Event::Log { message, .. }] => {
            assert!(message.len() < 9_000);
            assert!(message.ends_with("… (cut, 10485760 bytes)"));
        }
        other => panic!("{} events", other.len()),
    }
}

#[test]
fn a_line_cannot_command_the_terminal() {
    let Some((outcome, events)) = train_hostile("log-escape", small()) else {
        return;
    };
    outcome.unwrap();
    let lines: Vec<_> = events
        .lock()
        .unwrap()
        .iter()
        .map(|event| match event {
            Event::Log { message, .. } => message.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lines, ["\u{fffd}[2J\u{fffd}first", "second"]);
}

#[test]
fn long_graphs_are_let_go_without_a_crash() {
    for mode in ["deep-backward", "drop-what-is-trained"] {
        let Some((outcome, _)) = train_hostile(mode, small()) else {
            return;
        };
        outcome.unwrap();
    }
}

#[test]
fn a_graph_of_a_million_steps_counts_against_the_memory() {
    let Some((outcome, _)) = train_hostile("deep-graph", small()) else {
        return;
    };
    let error = outcome.unwrap_err();
    assert_eq!(error.code(), "out-of-memory", "{error}");
    assert!(error.to_string().contains("tensor memory"), "{error}");
}

#[test]
fn a_job_is_cancelled_from_outside() {
    for mode in ["endless-loop", "endless-calls", "endless-work"] {
        let Some((_, _)) = hostile(mode, small()) else {
            return;
        };
        let plugin = common::guest("hostile").unwrap();
        let control = trainyard_sandbox::Control::new();
        let job = trainyard_sandbox::Job {
            parameters: serde_json::json!({ "mode": mode }),
            limits: small(),
            control: control.clone(),
            ..Default::default()
        };
        let mut runner = trainyard_sandbox::Runner::new(&plugin, job, |_| {}).unwrap();
        let started = Instant::now();
        let watcher = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            control.cancel();
        });
        let error = runner.train().unwrap_err();
        watcher.join().unwrap();
        assert_eq!(error.code(), "cancelled", "{error}");
        assert!(matches!(error, SandboxError::Cancelled { .. }));
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_job_that_is_asked_to_stop_ends_by_itself_with_its_model() {
    let Some(plugin) = common::guest("hostile") else {
        return;
    };
    let control = trainyard_sandbox::Control::new();
    let job = trainyard_sandbox::Job {
        parameters: serde_json::json!({ "mode": "until-stopped" }),
        limits: small(),
        control: control.clone(),
        ..Default::default()
    };
    let mut runner = trainyard_sandbox::Runner::new(&plugin, job, |_| {}).unwrap();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        control.stop();
    });
    assert_eq!(runner.train().unwrap().tensors.len(), 1);
}

#[test]
fn an_evaluation_is_checked() {
    for (mode, expected) in [
        ("evaluate-nan", "the metric `mse` is NaN"),
        (
            "evaluate-undeclared",
            "the metric `speed`, which `describe` does not name",
        ),
        ("evaluate-twice", "two metrics `mse`"),
    ] {
        let Some((mut runner, _)) = hostile(mode, small()) else {
            return;
        };
        let model = runner.train().unwrap();
        let error = runner.evaluate(&model).unwrap_err();
        assert_eq!(error.code(), "invalid-result");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn an_evaluation_has_what_time_the_training_left() {
    let Some((mut runner, _)) = hostile("evaluate-loop", seconds(0.3)) else {
        return;
    };
    let model = runner.train().unwrap();
    let error = runner.evaluate(&model).unwrap_err();
    assert_eq!(error.code(), "timeout", "{error}");
    assert!(error.to_string().contains("`evaluate` was stopped"), "{error}");
}

#[test]
fn an_evaluation_cannot_change_the_model_or_its_checkpoint() {
    let Some((mut runner, _)) = hostile("evaluate-spoils", small()) else {
        return;
    };
    let model = runner.train().unwrap();
    runner.evaluate(&model).unwrap();
    assert!((model.tensors[0].1.item().unwrap() - 0.8).abs() < 1e-6);

    let (mut runner, events) = hostile("evaluate-checkpoint", small()).unwrap();
    let model = runner.train().unwrap();
    let error = runner.evaluate(&model).unwrap_err();
    assert!(error.to_string().contains("only `train` makes checkpoints"), "{error}");
    assert!(events.lock().unwrap().is_empty());
}

#[test]
fn jobs_side_by_side_do_not_meet() {
    if common::guest("hostile").is_none() {
        return;
    }
    let modes = [
        "fine",
        "panic",
        "guest-memory",
        "endless-loop",
        "fine",
        "million-handles",
    ];
    let jobs = modes.map(|mode| {
        std::thread::spawn(move || {
            let limits = if mode == "endless-loop" { seconds(0.3) } else { small() };
            let (mut runner, _) = hostile(mode, limits).unwrap();
            runner.train().map(drop).map_err(|error| error.code())
        })
    });
    let outcomes = jobs.map(|job| job.join().unwrap());
    assert_eq!(
        outcomes,
        [
            Ok(()),
            Err("trap"),
            Err("guest-memory"),
            Err("timeout"),
            Ok(()),
            Err("limit"),
        ]
    );
}

#[test]
fn a_listener_that_panics_is_a_fault_of_the_host_and_no_more() {
    let Some(plugin) = common::guest("hostile") else {
        return;
    };
    let job = trainyard_sandbox::Job {
        parameters: serde_json::json!({ "mode": "log-line" }),
        ..Default::default()
    };
    let mut runner = trainyard_sandbox::Runner::new(&plugin, job, |_| panic!("the listener fell over")).unwrap();
    let error = runner.train().unwrap_err();
    assert_eq!(error.code(), "host-panic");
    assert!(error.to_string().contains("the listener fell over"), "{error}");
    train_hostile("fine", small()).unwrap().0.unwrap();
}

#[test]
fn the_same_job_gives_the_same_bytes() {
    let Some(_) = common::guest("hostile") else {
        return;
    };
    let bytes = || {
        let (mut runner, _) = hostile("fine", small()).unwrap();
        runner.train().unwrap().tensors[0].1.to_bytes().unwrap()
    };
    assert_eq!(bytes(), bytes());
}
