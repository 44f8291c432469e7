use super::layers::{Flags, Gathered, Origin, gather, variable};
use super::*;
use std::ffi::OsString;
use std::fs;

/// What comes of a file's text, variables and flags.
fn gathered(text: &str, variables: &[(&str, &str)], flags: Flags) -> Gathered {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trainyard.toml");
    fs::write(&path, text).unwrap();
    let variables = variables
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    gather(flags, variables, Some(&path)).unwrap()
}

fn mistakes(text: &str) -> Vec<String> {
    let cut = |line: &String| {
        line.split_once("trainyard.toml:")
            .map_or(line.clone(), |(_, rest)| rest.to_owned())
    };
    gathered(text, &[], Flags::default()).mistakes.iter().map(cut).collect()
}

#[test]
fn the_documented_file_says_the_defaults_and_every_setting() {
    let documented = gathered(DOCUMENTED, &[], Flags::default());
    assert_eq!(documented.mistakes, Vec::<String>::new());
    assert_eq!(documented.config, Config::default());

    let mut section = String::new();
    let mut documented = Vec::new();
    for line in DOCUMENTED.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
        } else if let Some((name, _)) = line.strip_prefix("# ").unwrap_or(line).split_once(" = ")
            && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        {
            documented.push(format!("{section}{name}"));
        }
    }
    let all: Vec<String> = settings().into_iter().map(|(name, _)| name).collect();
    assert_eq!(documented, all, "documented, in the order of the code, each once");
}

#[test]
fn the_settings_that_are_commented_out_are_right_too() {
    let text: String = DOCUMENTED
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.contains(" = ") && !rest.contains('`') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let all = gathered(&text, &[], Flags::default());
    assert_eq!(all.mistakes, Vec::<String>::new());
    assert_eq!(all.config.worker.slots, Some(2));
    assert_eq!(all.config.data_dir, Path::new("/var/lib/trainyard"));
    assert!(settings().iter().all(|(name, _)| *all.origin(name) != Origin::Default));
}

#[test]
fn flags_go_over_variables_over_the_file_over_defaults() {
    let text = "[worker]\nslots = 3\nthreads = 5\nwarm = 7\n";
    let variables = [("TRAINYARD_WORKER_SLOTS", "4"), ("TRAINYARD_WORKER_THREADS", "6")];
    let all = gathered(
        text,
        &variables,
        Flags::default().with("--slots", "worker.slots", Some(9)),
    );
    assert_eq!(all.mistakes, Vec::<String>::new());
    let worker = &all.config.worker;
    assert_eq!(
        (worker.slots, worker.threads, worker.warm, worker.open_models),
        (Some(9), 6, 7, 4)
    );
    assert_eq!(*all.origin("worker.slots"), Origin::Option("--slots"));
    assert_eq!(
        *all.origin("worker.threads"),
        Origin::Variable("TRAINYARD_WORKER_THREADS".into())
    );
    assert!(all.origin("worker.warm").to_string().ends_with("trainyard.toml:4"));
    assert_eq!(*all.origin("worker.open_models"), Origin::Default);
}

#[test]
fn variables_take_the_form_of_their_setting() {
    let variables = [
        ("TRAINYARD_SERVER_LISTEN", "[::1]:9"),
        ("TRAINYARD_WORKER_NAME", "7"),
        ("TRAINYARD_WORKER_QUEUES", "a, b"),
        ("TRAINYARD_WORKER_DEVICES", "cuda:0,cuda:1"),
        ("TRAINYARD_WORKER_DATA_ROOTS", "/data"),
        ("TRAINYARD_LOG_FORMAT", "json"),
        ("TRAINYARD_S3_PRESIGN", "true"),
        ("TRAINYARD_URL", "https://yard.example"),
        ("TRAINYARD_TOKEN", "ty_x"),
        ("TRAINYARD_LOG_LEVEL", ""),
    ];
    let all = gathered("", &variables, Flags::default());
    assert_eq!(all.mistakes, Vec::<String>::new());
    assert_eq!(all.config.server.listen.to_string(), "[::1]:9");
    assert_eq!(all.config.worker.name.as_deref(), Some("7"));
    assert_eq!(all.config.worker.queues, ["a", "b"]);
    assert_eq!(all.config.worker.devices, "cuda:0,cuda:1");
    assert_eq!(all.config.worker.data_roots, [Path::new("/data")]);
    assert_eq!(all.config.log.format, LogFormat::Json);
    assert!(all.config.s3.presign);
    assert_eq!(all.config.client.url, "https://yard.example");
    assert_eq!(all.config.client.token.as_deref(), Some("ty_x"));
    assert_eq!(all.config.log.level, LogLevel::Info, "an empty variable is none");
}

#[test]
fn unknown_variables_are_warned_of_and_the_known_others_are_not() {
    let variables = [
        ("TRAINYARD_WORKER_SLOT", "4"),
        ("TRAINYARD_PLUGINS", "x"),
        ("TRAINYARD_CACHE", "y"),
        ("PATH", "z"),
    ];
    let all = gathered("", &variables, Flags::default());
    assert_eq!(
        all.warnings,
        ["the variable TRAINYARD_WORKER_SLOT means nothing; did you mean TRAINYARD_WORKER_SLOTS?"]
    );
    assert_eq!(variable("data_dir"), "TRAINYARD_DATA_DIR");
    assert_eq!(variable("client.token"), "TRAINYARD_TOKEN");
}

#[test]
fn every_mistake_is_told_with_its_line_and_the_nearest_name() {
    let text = "\
listen = \"127.0.0.1:1\"
[server]
listn = \"127.0.0.1:1\"
max_plugin_mb = \"big\"
listen = 8080
[wroker]
slots = 2
[worker]
queues = \"a\"
slots = 0
[log]
level = \"loud\"
";
    let expected = [
        "1: there is no setting listen; did you mean server.listen?",
        "3: there is no setting server.listn; did you mean server.listen?",
        "4: server.max_plugin_mb: it is the text \"big\", expected a whole number of at least 0",
        "5: server.listen: it is the number `8080`, expected an address and a port such as 127.0.0.1:8080",
        "6: there is no section [wroker]; did you mean [worker]?",
        "9: worker.queues: it is the text \"a\", expected a list such as [\"a\", \"b\"]",
        "10: worker.slots: 0 is not between 1 and 1024",
        "12: log.level: it is `loud`, expected one of `error`, `warn`, `info`, `debug`, `trace`",
    ];
    assert_eq!(mistakes(text), expected);
}

#[test]
fn a_mistake_of_form_is_told_by_its_line() {
    let found = mistakes("[server]\nlisten = \n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("2: "), "{found:?}");
    assert!(mistakes("server = 3")[0].contains("is a section"));
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let refused = |text: &str, expected: &str| {
        let found = mistakes(text);
        assert!(
            found.iter().any(|line| line.contains(expected)),
            "{expected:?} is not in {found:?}"
        );
    };
    refused("[worker]\nlease_seconds = 3", "renew_seconds");
    refused("[worker]\nlabels = [\"A b\"]", "worker.labels");
    refused("[worker]\nqueues = []", "there is none");
    refused(
        "[worker]\ndevices = \"gpu\"",
        "auto, none, or a list such as cuda:0,cuda:1",
    );
    refused("[worker]\ncard_check_seconds = 0", "is not between 1 and");
    refused("[worker]\ncard_patience_seconds = 0", "is not between 1 and");
    refused("[limits]\nmax_gpu_memory_mb = 1", "is not between 64 and");
    refused("[s3]\npresign = \"yes\"", "expected true or false");
    refused("[worker]\nname = \"a b\"", "is not 1 to 100");
    refused("[limits]\nmax_memory_mb = 1024", "limits.memory_mb: is more than");
    refused("data_dir = \"~/x\"", "write the home folder out");
    refused("[client]\nurl = \"ftp://x\"", "client.url");
    refused("[worker]\nslots = -1", "worker.slots");
    refused("[tdengine]\nconnect_timeout = 8", "is not between 1 and 7");
    refused("[tdengine]\ndsn = \"db:6041\"", "does not begin with ws://");
    refused("[tdengine]\nwrite_dsn = \"ws://db\"", "no tdengine.dsn to read with");
}

#[test]
fn folders_in_a_file_are_relative_to_it() {
    let all = gathered(
        "data_dir = \"data\"\n[worker]\ndata_roots = [\"/a\", \"b\"]",
        &[],
        Flags::default(),
    );
    let file = all.file.unwrap();
    let folder = file.parent().unwrap();
    assert_eq!(all.config.data_dir, folder.join("data"));
    assert_eq!(all.config.worker.data_roots, [PathBuf::from("/a"), folder.join("b")]);
}

#[test]
fn the_first_mistake_is_the_error_of_a_command() {
    let error = gathered("a = 1\nb = 2", &[], Flags::default()).whole().unwrap_err();
    assert!(error.to_string().contains("trainyard.toml:1:"), "{error}");
    assert!(error.to_string().contains("1 more"), "{error}");
}
