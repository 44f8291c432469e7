//! Interim.
fn main() -> std::process::ExitCode {
    trainyard_worker::runner::main()
}
