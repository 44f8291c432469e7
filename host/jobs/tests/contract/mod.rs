//! What every adapter of a port has to keep to: suites that know the ports alone. A file per port, or a folder where one
//! would grow long; `embedded.rs` runs them for the adapters that need nothing installed.

pub mod artifacts;
pub mod broker;
pub mod feed;
pub mod fixtures;
pub mod properties;
pub mod store;

/// Makes a module of tests, one for each suite named. Each gets the field `port` of what a function of the test file makes.
#[macro_export]
macro_rules! contract {
    ($name:ident, $($suite:ident)::+, of $make:ident: $($test:ident),+ $(,)?) => {
        mod $name {
            use $($suite)::+ as suite;

            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    let adapter = $crate::$make().await;
                    suite::$test(&adapter.port).await;
                }
            )+
        }
    };
}
