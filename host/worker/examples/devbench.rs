//! Interim.
use std::fs::File;
use std::os::fd::AsFd;
use std::time::Instant;
use trainyard_worker::process::Launcher;
use trainyard_worker::protocol::*;
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let root = tempfile::tempdir().unwrap();
    let launcher = Launcher::new(args[1].clone().into(), root.path().to_owned()).unwrap();
    for _ in 0..8 {
        let t = Instant::now();
        let r = launcher.start().await.unwrap();
        let e = t.elapsed();
        let u = r.usage();
        println!("ready {e:?} {u:?} {:?}", r.isolation());
        r.kill().await;
        println!("killed after {:?}", t.elapsed());
    }
    let plugin = File::open(&args[2]).unwrap();
    let mut r = launcher.start().await.unwrap();
    let t = Instant::now();
    r.send(&Order::Do(Box::new(Task::Inspect)), &[plugin.as_fd()]).await.unwrap();
    let rep = r.next().await.unwrap();
    println!("inspected {:?}", t.elapsed());
    let Report::Inspected { inspection } = rep else { panic!("{rep:?}") };
    let code = r.open_result(files::CODE).unwrap();
    println!("code {} bytes", code.metadata().unwrap().len());
    let s = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
    let id = PluginIdentity { name: s(&inspection["description"]["name"]), version: s(&inspection["description"]["version"]), digest: s(&inspection["digest"]) };
    for _ in 0..5 {
        let data = File::open(&args[3]).unwrap();
        let mut r = launcher.start().await.unwrap();
        let dataset = trainyard_jobs::TrainingDataset::parse(&serde_json::from_str(&args[4]).unwrap()).unwrap();
        let task = Task::Train { plugin: id.clone(), dataset, format: trainyard_data::DataFormat::Csv, data_name: "x.csv".into(), parameters: serde_json::json!({}), seed: 1,
            limits: TaskLimits { time_seconds: 100, tensor_memory: 1 << 30, threads: 1 }, resume: false };
        let t = Instant::now();
        r.send(&Order::Do(Box::new(task)), &[plugin.as_fd(), code.as_fd(), data.as_fd()]).await.unwrap();
        loop {
            match r.next().await.unwrap() {
                Report::Prepared { .. } => println!("prepared {:?}", t.elapsed()),
                Report::Progress { .. } => { println!("first progress {:?}", t.elapsed()); break; }
                Report::Trained { .. } => { println!("trained {:?}", t.elapsed()); break; }
                Report::Failed { code, message, .. } => panic!("{code}: {message}"),
                _ => {}
            }
        }
        r.kill().await;
    }
}
