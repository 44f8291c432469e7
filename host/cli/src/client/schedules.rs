//! Schedules on a server: trainings at their times.

use super::http::{Client, new_key};
use super::plugins::read;
use super::{text, train};
use crate::args::{ClientOptions, ScheduleCommand};
use crate::failure::Result;
use crate::output;
use serde::Deserialize;
use serde_json::{Value, json};
use trainyard_parameters::one_line;

#[derive(Deserialize)]
struct Schedule {
    id: i64,
    name: String,
    model_id: i64,
    cron: String,
    time_zone: String,
    enabled: bool,
    missed: String,
    #[serde(default)]
    submission: Value,
    next_at: Option<String>,
    last_at: Option<String>,
    last_run: Option<String>,
    last_error: Option<String>,
}

/// Does what was asked for.
pub fn command(options: &ClientOptions, command: &ScheduleCommand) -> Result<()> {
    let client = Client::new(&options.server)?;
    let json = options.json;
    match command {
        ScheduleCommand::Create {
            model,
            cron,
            time_zone,
            name,
            missed,
            asked,
        } => {
            let model = client.model(model)?;
            let name = name.clone().unwrap_or_else(|| format!("{} at {cron}", model.name));
            let body = json!({
                "name": name,
                "model_id": model.id,
                "cron": cron,
                "time_zone": time_zone,
                "missed": missed,
                "submission": train::body(&client, asked, &model)?,
            });
            show(&client, client.post("/schedules", &body, Some(&new_key()))?, json)
        }
        ScheduleCommand::List => list(&client, json),
        ScheduleCommand::Show { id } => show(&client, client.get(&path(*id), &[])?, json),
        ScheduleCommand::Pause { id } => show(&client, client.patch(&path(*id), &json!({"enabled": false}))?, json),
        ScheduleCommand::Resume { id } => show(&client, client.patch(&path(*id), &json!({"enabled": true}))?, json),
        ScheduleCommand::Delete { id } => {
            let deleted: Value = client.delete(&path(*id))?;
            if json {
                output::print_json(&deleted);
            } else {
                output::print(&format!("schedule {id} is deleted; its trainings stay"));
            }
            Ok(())
        }
    }
}

fn path(id: i64) -> String {
    format!("/schedules/{id}")
}

fn list(client: &Client, json: bool) -> Result<()> {
    let all: Value = client.get("/schedules", &[])?;
    let items = all["items"].as_array().cloned().unwrap_or_default();
    if json {
        items.iter().for_each(output::print_json);
        return Ok(());
    }
    let mut table = text::table(["schedule", "name", "model", "times", "clock", "next (UTC)", "last"]);
    for schedule in read::<Schedule>(client, items)? {
        table.add_row([
            schedule.id.to_string(),
            one_line(&schedule.name),
            schedule.model_id.to_string(),
            one_line(&schedule.cron),
            one_line(&schedule.time_zone),
            next(&schedule),
            last(&schedule),
        ]);
    }
    text::right(&mut table, 0);
    output::print(&if table.is_empty() {
        format!(
            "{} has no schedules; `trainyard schedule create MODEL --cron \"30 2 * * *\"` makes one",
            client.url()
        )
    } else {
        table.to_string()
    });
    Ok(())
}

fn show(client: &Client, schedule: Value, json: bool) -> Result<()> {
    if json {
        output::print_json(&schedule);
        return Ok(());
    }
    let schedule = read::<Schedule>(client, vec![schedule])?.remove(0);
    let mut lines = vec![
        format!("schedule {}: {}", schedule.id, one_line(&schedule.name)),
        format!("  model    {}", schedule.model_id),
        format!(
            "  times    {} by the clock of {}",
            one_line(&schedule.cron),
            one_line(&schedule.time_zone)
        ),
        format!("  next     {}", next(&schedule)),
        format!("  missed   {}", one_line(&schedule.missed)),
        format!("  last     {}", last(&schedule)),
    ];
    if schedule.submission.as_object().is_some_and(|asked| !asked.is_empty()) {
        lines.push(format!("  asks for {}", one_line(&schedule.submission.to_string())));
    }
    output::print(&lines.join("\n"));
    Ok(())
}

fn next(schedule: &Schedule) -> String {
    match &schedule.next_at {
        Some(next) => text::time(next),
        None if schedule.enabled => "never".into(),
        None => "off".into(),
    }
}

fn last(schedule: &Schedule) -> String {
    match (&schedule.last_at, &schedule.last_error, &schedule.last_run) {
        (None, ..) => "-".into(),
        (Some(at), Some(error), _) => format!("{}: {}", text::time(at), one_line(error)),
        (Some(at), None, Some(run)) => format!("{}: run {}", text::time(at), one_line(run)),
        (Some(at), None, None) => text::time(at),
    }
}
