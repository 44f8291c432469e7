use super::*;

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    let matches = command().try_get_matches_from(std::iter::once("trainyard").chain(line.split(' ')))?;
    Arguments::from_arg_matches(&matches)
}

#[test]
fn the_command_line_is_sound() {
    command().debug_assert();
}

#[test]
fn help_lists_every_command_in_one_group() {
    let command = command();
    let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let mut all: Vec<&str> = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(clap::Command::get_name)
        .filter(|name| *name != "help")
        .collect();
    grouped.sort_unstable();
    all.sort_unstable();
    assert_eq!(grouped, all);
    let help = self::command().render_help().to_string();
    for text in ["On this machine", "  train ", "  up ", "Exit codes", "--version"] {
        assert!(help.contains(text), "`{text}` is not in:\n{help}");
    }
}

#[test]
fn which_server_can_be_said_before_and_after_the_command() {
    for line in ["model --url http://a --json list", "model list --url http://a --json"] {
        let arguments = parse(line).unwrap();
        assert!(arguments.json(), "{line}");
        let Command::Model { client, .. } = arguments.command else {
            panic!("{line}");
        };
        assert_eq!(client.server.url.as_deref(), Some("http://a"), "{line}");
    }
}

#[test]
fn every_command_of_the_client_takes_the_same_options() {
    for line in [
        "train 1",
        "logs 1",
        "stop 1",
        "report 1",
        "runs 1",
        "download 1",
        "model show 1",
        "dataset list",
        "data preview --dataset a.json",
        "plugin push a",
        "plugin list --server",
        "plugin delete a 1.0.0",
        "predict 1 --data a.csv",
        "predict 1 --dataset a.json --score --sink plant.anomalies",
    ] {
        let line = format!("{line} --url http://a --token t --config c --json");
        assert!(parse(&line).is_ok_and(|arguments| arguments.json()), "{line}");
    }
}

#[test]
fn a_training_takes_its_data_once() {
    assert!(parse("train 1 --data a.csv --target y --lookback 8 --horizon 2 --param a=1 --seed 3 --watch").is_ok());
    for wrong in [
        "train 1 --data a.csv --dataset d",
        "train 1 --watch --detach",
        "train 1 --memory 0",
        "train 1 --split 1/x",
        "logs 1 --follow --run r",
        "predict 1",
        "predict 1 --data a.csv --dataset a.json",
        "predict 1 --data a.csv --sink t",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn options_of_the_service_are_settings() {
    let Command::Up(options) = parse("up --listen 127.0.0.1:0 --slots 3 --data-dir /d --data-root /a --data-root /b")
        .unwrap()
        .command
    else {
        panic!("no `up`");
    };
    let flags = format!("{:?}", options.flags());
    for text in ["server.listen", "worker.slots", "data_dir", "worker.data_roots", "/b"] {
        assert!(flags.contains(text), "{flags}");
    }
}

#[test]
fn a_device_is_read_without_looking_for_one() {
    for (line, choice) in [
        ("run dlinear --data a.csv", DeviceChoice::Auto),
        ("run dlinear --data a.csv --device cuda:3", DeviceChoice::Card(3)),
    ] {
        let Command::Run(options) = parse(line).unwrap().command else {
            panic!("{line}");
        };
        assert_eq!(options.limits.device, choice, "{line}");
    }
    let Err(refused) = parse("run dlinear --data a.csv --device gpu") else {
        panic!()
    };
    assert!(refused.to_string().contains("auto, cpu, cuda or cuda:N"), "{refused}");
}
