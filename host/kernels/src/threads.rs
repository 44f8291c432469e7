//! How many threads compute.

/// Sets the number of threads for all numeric work of this process; 0 means one for each core.
///
/// To be called once, first thing in `main`: candle's own thread pool waits actively and collapses where cores are shared, so
/// it is kept at one thread, and rayon's pool does the parallel work. Results do not depend on the number.
pub fn configure_threads(threads: usize) {
    // A process that has opened a card has threads of the driver's by now; it was started with the variable.
    if std::env::var_os("CANDLE_NUM_THREADS").is_none_or(|threads| threads != "1") {
        // SAFETY: called first thing in `main`, before any other thread exists that could read the environment.
        unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    }
    // An error means that the pool exists already, as in a second call: it then keeps its size.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
}
