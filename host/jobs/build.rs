//! The migrations are compiled in; cargo does not see by itself that they change.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
