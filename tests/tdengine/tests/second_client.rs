//! TDengine's own client for Python sees what the capture says: `check.py`, run where `TRAINYARD_PYTHON` names a Python
//! that has taos-ws-py.

#![allow(clippy::unwrap_used)]

use std::{path::Path, process::Command};

use trainyard_test_tdengine::{Server, World};

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_reads_and_writes_what_the_files_say() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = here.join("../../../shared/data");
    let Some(python) = std::env::var_os("TRAINYARD_PYTHON") else {
        return println!("skipped: TRAINYARD_PYTHON names no Python with taos-ws-py");
    };
    if !data.exists() {
        return println!("skipped: {} is not here", data.display());
    }
    let server = Server::start(World::captured(&data.join("tdengine-wire")).unwrap())
        .await
        .unwrap();
    let (dsn, script) = (server.dsn(), here.join("check.py"));
    let run = move || Command::new(python).arg(script).arg(dsn).arg(data).output();
    let output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    assert!(server.blocks_sent() > 10);
}
