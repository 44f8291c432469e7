#![allow(clippy::unwrap_used)]
mod common;
use common::{describing, module};
use std::time::Instant;
use trainyard_sandbox::*;
#[test]
fn big() {
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let mut extra = String::new();
    for i in 0..30000 {
        extra.push_str(&format!("(func (export \"f{i}\") (param i32) (result i32) local.get 0"));
        for k in 0..60 { extra.push_str(&format!(" i32.const {} i32.add local.get 0 i32.mul", k * 7 + i)); }
        extra.push_str(")\n");
    }
    let text = describing("", "").replace("(memory (export \"memory\") 1)", &format!("(memory (export \"memory\") 512)\n{extra}\n(data (i32.const 4096) \"{}\")", "abcdefgh".repeat(20 << 17)));
    let wasm = module(&text);
    println!("wasm {} MB", wasm.len() >> 20);
    let t = Instant::now();
    let (_, code) = Plugin::compile(&engine, &wasm).unwrap();
    println!("compiled in {:?}: {} MB", t.elapsed(), code.len() >> 20);
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &code).unwrap();
    let digest = Inspection::of(&wasm).unwrap().digest;
    for _ in 0..5 {
        let t = Instant::now();
        let plugin = unsafe { Plugin::from_code(&engine, &digest, &file) }.unwrap();
        let loaded = t.elapsed();
        plugin.describe(&Limits::default()).unwrap();
        println!("loaded {loaded:?}, described {:?}", t.elapsed());
    }
    let t = Instant::now();
    std::io::Seek::rewind(&mut file).unwrap();
    assert!(is_whole(&file, &digest).unwrap());
    println!("checked {:?}", t.elapsed());
}
