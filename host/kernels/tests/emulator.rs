//! The CUDA emulator of `tests/cuda-emulator` itself: that it computes what a card computes, and that it finds what is wrong. `cargo
//! xtask test --cuda` runs these where there is no card.
#![cfg(feature = "cuda")]

use candle_core::cuda_backend::cudarc::cublas::CudaBlas;
use candle_core::cuda_backend::cudarc::cublas::{result as products, sys as cublas};
use candle_core::cuda_backend::cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, DevicePtr, DriverError, LaunchConfig, PushKernelArg,
    result as driver, sys,
};
use candle_core::{Device, Tensor};
use libloading::Library;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Names the emulator's folder; nothing is tested without it.
const EMULATOR: &str = "TRAINYARD_TEST_CUDA_EMULATOR";
/// In a process that a test has started: what to do.
const PART: &str = "TRAINYARD_EMULATOR_TEST_PART";

fn emulator() -> Option<PathBuf> {
    let folder = std::env::var_os(EMULATOR).map(PathBuf::from);
    if folder.is_none() {
        eprintln!("{EMULATOR} names no folder: nothing is tested");
    }
    folder
}

struct Card {
    stream: Arc<CudaStream>,
}

impl Card {
    fn open(number: usize) -> Result<Card, DriverError> {
        let context = CudaContext::new(number)?;
        Ok(Card {
            stream: context.new_stream()?,
        })
    }

    fn kernel(&self, name: &str) -> CudaFunction {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cuda-emulator/tests/checks.cu");
        let source = source.canonicalize().expect("the emulator's own kernels are there");
        let text = format!("// CUDA emulator: {}\n", source.display());
        let module = self
            .stream
            .context()
            .load_module(text.into())
            .expect("a module of kernels is loaded");
        module.load_function(name).expect("the kernel is in the module")
    }

    fn upload<T: candle_core::cuda_backend::cudarc::driver::DeviceRepr>(&self, values: &[T]) -> CudaSlice<T> {
        self.stream.clone_htod(values).expect("values are copied to the card")
    }

    fn download<T: Clone + candle_core::cuda_backend::cudarc::driver::DeviceRepr>(
        &self,
        values: &CudaSlice<T>,
    ) -> Vec<T> {
        self.stream.clone_dtoh(values).expect("values are copied from the card")
    }
}

fn config(blocks: u32, threads: u32, shared: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (blocks, 1, 1),
        block_dim: (threads, 1, 1),
        shared_mem_bytes: shared,
    }
}

/// Launches a kernel with these arguments. Gives the driver's result.
macro_rules! launch {
    ($card:expr, $name:expr, $config:expr, $($argument:expr),*) => {{
        let kernel = $card.kernel($name);
        launch!($card => &kernel, $config, $($argument),*)
    }};
    ($card:expr => $kernel:expr, $config:expr, $($argument:expr),*) => {{
        let mut builder = $card.stream.launch_builder($kernel);
        $(builder.arg($argument);)*
        // SAFETY: the arguments are those of the kernel, or are wrong in the way that a test is about, which the emulator finds.
        unsafe { builder.launch($config) }.map(drop)
    }};
}

/// Runs one of [`PARTS`] in a process of its own, since the emulator reads its environment once and ends a process whose kernel is
/// wrong.
fn in_a_process(part: &str, environment: &[(&str, &str)]) -> Output {
    Command::new(std::env::current_exe().expect("a test has a program"))
        .args(["--exact", "part", "--nocapture", "--include-ignored"])
        .env(PART, part)
        .env("RUST_BACKTRACE", "0")
        .envs(environment.iter().copied())
        .output()
        .expect("the test's own program runs")
}

fn passes(part: &str, environment: &[(&str, &str)]) {
    let output = in_a_process(part, environment);
    assert!(
        output.status.success(),
        "{part} {environment:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn dies_saying(part: &str, words: &[&str]) {
    dies_with(part, &[], words);
}

fn dies_with(part: &str, environment: &[(&str, &str)], words: &[&str]) {
    let output = in_a_process(part, environment);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{part} ended well, saying: {said}");
    for word in words {
        assert!(said.contains(word), "{part} does not say `{word}`, but: {said}");
    }
}

/// What the tests below run in processes of their own.
#[test]
#[ignore = "part of other tests"]
fn part() {
    let Ok(part) = std::env::var(PART) else { return };
    let (_, run) = PARTS.iter().find(|(name, _)| *name == part).expect("the part is known");
    run();
}

const PARTS: &[(&str, fn())] = &[
    ("right", right),
    ("memory", memory),
    ("cards", cards),
    ("init fails", init_fails),
    ("alloc fails", alloc_fails),
    ("launch fails", launch_fails),
    ("lost", lost),
    ("share", share),
    ("count", count),
    ("assert", asserts),
    ("limits", limits),
    ("writes past the end", || wrong("writes_past_the_end", 4)),
    ("reads past the end", || wrong("reads_past_the_end", 4)),
    ("reads through null", reads_through_null),
    ("not aligned", || wrong("not_aligned", 1)),
    ("past shared", || wrong("past_shared", 32)),
    ("past asked for", || wrong("past_asked_for", 32)),
    ("barrier of some", || wrong("barrier_of_some", 32)),
    ("two barriers", || wrong("two_barriers", 32)),
    ("wrong mask", || wrong("wrong_mask", 32)),
    ("no barrier", || wrong("no_barrier", 64)),
    ("no barrier before the next", || wrong("no_barrier_before_the_next", 64)),
    ("product outside", product_outside),
    ("late", late),
    ("late events", late_events),
    ("late products", late_products),
    ("late null stream", late_null_stream),
    ("locked memory freed", locked_memory_freed),
    ("order of blocks", order_of_blocks),
    ("freed memory", freed_memory),
    ("visible", visible),
    ("one lost", one_lost),
    ("one fails", one_fails),
    ("other card's memory", other_cards_memory),
    ("hangs", hangs),
    ("launch hangs", launch_hangs),
    ("kernel breaks", kernel_breaks),
    ("pool", pool),
    ("names", names),
    ("rounding", rounding),
    ("pairs of types", pairs_of_types),
    ("product over itself", || product(Wrong::Overlap)),
    ("product between", || product(Wrong::Nothing)),
    ("product elsewhere", || product(Wrong::Context)),
    ("product by pointers", || product(Wrong::Pointers)),
];

/// Streams do what they are given late.
const LATE: (&str, &str) = ("CUDA_EMULATOR_STREAMS", "late");

#[test]
fn kernels_compute_what_a_card_computes() {
    if emulator().is_some() {
        for order in ["forwards", "backwards"] {
            passes("right", &[("CUDA_EMULATOR_ORDER", order)]);
            passes("right", &[("CUDA_EMULATOR_ORDER", order), LATE]);
        }
    }
}

fn right() {
    let card = Card::open(0).expect("the card opens");
    let n = 1000u32;
    let values: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let (input, mut out) = (card.upload(&values), card.upload(&[0f32; 4]));
    launch!(card, "sum_of_block", config(4, 256, 0), &n, &input, &mut out).expect("a sum");
    let sums = card.download(&out);
    let expected: Vec<f32> = values.chunks(256).map(|chunk| chunk.iter().sum()).collect();
    assert_eq!(sums, expected);

    let mut out = card.upload(&[0i32; 288]);
    launch!(card, "exchange", config(1, 32, 0), &mut out).expect("shuffles");
    let rows = card.download(&out);
    let row = |at: usize| &rows[at * 32..at * 32 + 32];
    assert_eq!(row(0), [50; 32]);
    assert_eq!((row(1)[1], row(1)[2], row(1)[3], row(1)[31]), (1, 2, 0, 28));
    assert_eq!((row(2)[0], row(2)[1], row(2)[2], row(2)[31]), (30, 31, 2, 31));
    assert_eq!((row(3)[0], row(3)[1], row(3)[30]), (1, 0, 31));
    assert_eq!(row(4), [0xaaaa_aaaau32 as i32; 32]);
    assert_eq!(row(5), [2; 32]);
    assert_eq!(row(6), [0; 32]);
    assert_eq!((row(7)[0], row(7)[14], row(7)[15], row(7)[16]), (1, 15, 0, -1));
    assert_eq!(row(8), [5; 32]);

    let mut out = card.upload(&[-1i32; 64]);
    launch!(card, "early_return", config(1, 64, 0), &40u32, &mut out).expect("threads that end early");
    let turned = card.download(&out);
    assert_eq!((turned[0], turned[39], turned[40]), (39, 0, -1));

    let (mut counter, mut sum, mut wide) = (card.upload(&[0i32; 2]), card.upload(&[0f32]), card.upload(&[0f64]));
    launch!(card, "add_to", config(10, 128, 0), &mut counter, &mut sum, &mut wide).expect("atomics");
    assert_eq!(card.download(&counter), [1280, 1279]);
    assert_eq!((card.download(&sum), card.download(&wide)), (vec![640.0], vec![320.0]));

    let mut out = card.upload(&[0f32; 1000]);
    launch!(card, "turned_round", config(1, 96, 4000), &n, &input, &mut out).expect("shared memory");
    let turned = card.download(&out);
    assert!(
        turned
            .iter()
            .zip(values.iter().rev())
            .all(|(found, expected)| found == expected)
    );

    let mut out = card.upload(&[0i32; 32]);
    launch!(card, "steps_of_warp", config(1, 32, 0), &mut out).expect("a warp's own steps");
    let expected: Vec<i32> = (0..32).map(|i| i * (i + 1) / 2).collect();
    assert_eq!(card.download(&out), expected);

    let values: Vec<f32> = (0..6400)
        .map(|i: u32| f32::from_bits(i.wrapping_mul(2_654_435_761) ^ (i << 7)))
        .chain([
            0.0,
            -0.0,
            65504.0,
            65519.9,
            65520.0,
            5.96e-8,
            2.98e-8,
            2.99e-8,
            6.1e-5,
            f32::INFINITY,
            1.0,
            1.00049,
            1.0004883,
        ])
        .chain(std::iter::repeat_n(0.5, 51))
        .collect();
    let input = card.upload(&values);
    let (mut half, mut bfloat) = (
        card.upload(&vec![0u16; values.len()]),
        card.upload(&vec![0u16; values.len()]),
    );
    let blocks = u32::try_from(values.len() / 64).expect("few values");
    launch!(card, "halves", config(blocks, 64, 0), &input, &mut half, &mut bfloat).expect("conversions");
    for (i, (half, bfloat)) in card.download(&half).iter().zip(card.download(&bfloat)).enumerate() {
        let (expected_half, expected_bfloat) = (half::f16::from_f32(values[i]), half::bf16::from_f32(values[i]));
        if values[i].is_nan() {
            assert!(half::f16::from_bits(*half).is_nan() && half::bf16::from_bits(bfloat).is_nan());
        } else {
            assert_eq!(*half, expected_half.to_bits(), "{} as f16", values[i]);
            assert_eq!(bfloat, expected_bfloat.to_bits(), "{} as bf16", values[i]);
        }
    }

    // SAFETY: it is read before anything is written on purpose.
    let fresh = unsafe { card.stream.alloc::<f64>(3) }.expect("memory");
    assert!(card.download(&fresh).iter().all(|value| value.is_nan()));
    let mut out = card.upload(&[0f32]);
    launch!(card, "unwritten", config(1, 1, 0), &mut out).expect("unwritten shared memory");
    assert!(card.download(&out)[0].is_nan());
}

#[test]
fn wrong_kernels_are_found() {
    if emulator().is_none() {
        return;
    }
    dies_saying(
        "writes past the end",
        &[
            "kernel writes_past_the_end",
            "checks.cu:",
            "writes 4 bytes",
            "past the end of an allocation",
        ],
    );
    dies_saying(
        "reads past the end",
        &[
            "kernel reads_past_the_end",
            "checks.cu:",
            "reads 4 bytes",
            "0 bytes past the end",
        ],
    );
    dies_saying(
        "reads through null",
        &["kernel reads_through_null", "reads 4 bytes at 0xc"],
    );
    dies_saying(
        "not aligned",
        &["kernel not_aligned", "checks.cu:", "not aligned to 16 bytes"],
    );
    dies_saying("past shared", &["kernel past_shared", "checks.cu:", "index 32"]);
    dies_saying(
        "past asked for",
        &["kernel past_asked_for", "writes 4 bytes", "shared memory"],
    );
    dies_saying(
        "barrier of some",
        &[
            "kernel barrier_of_some",
            "wait for each other for ever",
            "7 wait for the block",
            "25 wait for their warp",
        ],
    );
    dies_saying("two barriers", &["kernel two_barriers", "different barriers"]);
    dies_saying(
        "wrong mask",
        &["kernel wrong_mask", "does not have the thread's own lane"],
    );
    dies_saying(
        "no barrier",
        &["kernel no_barrier", "values", "no barrier between them"],
    );
    dies_saying(
        "no barrier before the next",
        &[
            "kernel no_barrier_before_the_next",
            "writes",
            "which thread",
            "read with no barrier",
        ],
    );
    dies_saying("product outside", &["cublasSgemm: matrix A takes"]);
}

/// A kernel that is wrong, with the arguments that all of them take alike: a number, something to read and something to write.
fn wrong(name: &str, threads: u32) {
    let card = Card::open(0).expect("the card opens");
    let (input, mut out, mut numbers) = (
        card.upload(&[1f32; 8]),
        card.upload(&[0f32; 4]),
        card.upload(&[0i32; 64]),
    );
    let result = match name {
        "writes_past_the_end" => launch!(card, name, config(1, threads, 0), &4u32, &mut out),
        "reads_past_the_end" => launch!(card, name, config(1, threads, 0), &8u32, &input, &mut out),
        "not_aligned" => launch!(card, name, config(1, threads, 0), &input, &mut out),
        "past_asked_for" => launch!(card, name, config(1, threads, 64), &mut numbers),
        _ => launch!(card, name, config(1, threads, 0), &mut numbers),
    };
    panic!("{name} was not found wrong: {result:?}");
}

fn reads_through_null() {
    let card = Card::open(0).expect("the card opens");
    let mut out = card.upload(&[0f32; 4]);
    let none: sys::CUdeviceptr = 0;
    launch!(card, "reads_through_null", config(1, 1, 0), &none, &mut out).expect("the driver takes any address");
    panic!("not found wrong");
}

fn product_outside() {
    let card = Card::open(0).expect("the card opens");
    let blas = CudaBlas::new(card.stream.clone()).expect("cublas opens");
    let (a, mut c) = (card.upload(&[1f32; 8]), card.upload(&[0f32; 9]));
    use candle_core::cuda_backend::cudarc::cublas::{Gemm, GemmConfig};
    let plain = cublas::cublasOperation_t::CUBLAS_OP_N;
    let config = GemmConfig {
        transa: plain,
        transb: plain,
        m: 3,
        n: 3,
        k: 3,
        alpha: 1f32,
        lda: 3,
        ldb: 3,
        beta: 0f32,
        ldc: 3,
    };
    // SAFETY: the matrices are smaller than is said, which the emulator finds.
    let result = unsafe { blas.gemm(config, &a, &a, &mut c) };
    panic!("not found wrong: {result:?}");
}

#[test]
fn an_assertion_of_a_kernel_ends_the_card_and_not_the_process() {
    if emulator().is_some() {
        passes("assert", &[]);
        passes("assert", &[LATE]);
    }
}

fn asserts() {
    let card = Card::open(0).expect("the card opens");
    let mut out = card.upload(&[0i32; 32]);
    launch!(card, "asserts", config(1, 32, 0), &32u32, &mut out).expect("the assertion holds");
    assert_eq!(card.download(&out), [1; 32]);
    // The launch itself does not wait for its kernel; what cudarc does after it may know already.
    let _ = launch!(card, "asserts", config(1, 32, 0), &7u32, &mut out);
    let error = card.stream.synchronize().expect_err("the assertion does not hold");
    assert_eq!(error.0, sys::CUresult::CUDA_ERROR_ASSERT);
    assert!(card.stream.clone_htod(&[1f32]).is_err(), "no call succeeds any more");
}

#[test]
fn launches_over_a_cards_limits_are_refused() {
    if emulator().is_some() {
        passes("limits", &[]);
    }
}

fn limits() {
    use sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as SHARED;
    let card = Card::open(0).expect("the card opens");
    let (n, input, mut out) = (4u32, card.upload(&[0f32; 64]), card.upload(&[0f32; 64]));
    let kernel = card.kernel("turned_round");
    let mut with =
        |config: LaunchConfig| launch!(card => &kernel, config, &n, &input, &mut out).map_err(|error| error.0);
    let invalid = Err(sys::CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(with(config(1, 1025, 16)), invalid);
    assert_eq!(with(config(0, 32, 16)), invalid);
    assert_eq!(with(config(1, 0, 16)), invalid);
    assert_eq!(with(config(1, 1024, 48 << 10)), Ok(()));
    assert_eq!(with(config(1, 32, (48 << 10) + 4)), invalid);
    let tall = LaunchConfig {
        grid_dim: (1, 65536, 1),
        ..config(1, 32, 16)
    };
    assert_eq!(with(tall), invalid);
    kernel.set_attribute(SHARED, 200 << 10).expect("a card has 227 KiB");
    assert_eq!(with(config(1, 32, 200 << 10)), Ok(()));
    assert_eq!(with(config(1, 32, (200 << 10) + 4)), invalid);
    assert!(kernel.set_attribute(SHARED, 228 << 10).is_err());
    let (mut half, mut bfloat) = (card.upload(&[0u16; 256]), card.upload(&[0u16; 256]));
    let bounded = launch!(card, "halves", config(1, 128, 0), &input, &mut half, &mut bfloat);
    assert_eq!(
        bounded.map_err(|error| error.0),
        Err(sys::CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES)
    );
}

#[test]
fn a_card_has_the_memory_that_is_said() {
    if emulator().is_some() {
        passes("memory", &[("CUDA_EMULATOR_MEMORY", "1000000")]);
        passes("memory", &[("CUDA_EMULATOR_MEMORY", "1000000"), LATE]);
        passes("cards", &[("CUDA_EMULATOR_CARDS", "2")]);
    }
}

fn memory() {
    let card = Card::open(0).expect("the card opens");
    let context = card.stream.context();
    assert_eq!(context.mem_get_info().expect("memory"), (1_000_000, 1_000_000));
    let first = card.stream.alloc_zeros::<u8>(600_000).expect("there is room");
    assert_eq!(context.mem_get_info().expect("memory"), (400_000, 1_000_000));
    let second = card.stream.alloc_zeros::<u8>(400_001).expect_err("there is no room");
    assert_eq!(second.0, sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY);
    drop(first);
    card.stream.alloc_zeros::<u8>(400_001).expect("there is room again");
}

fn cards() {
    assert_eq!(CudaContext::device_count().expect("cards"), 2);
    let second = Card::open(1).expect("the second card opens");
    assert_eq!(second.stream.context().name().expect("a name"), "Emulated card");
    let error = Card::open(2).err().expect("there is no third card");
    assert_eq!(error.0, sys::CUresult::CUDA_ERROR_INVALID_DEVICE);
}

#[test]
fn what_is_to_fail_fails() {
    if emulator().is_some() {
        passes("init fails", &[("CUDA_EMULATOR_FAIL", "init:803")]);
        passes("alloc fails", &[("CUDA_EMULATOR_FAIL", "alloc:2:2")]);
        passes("launch fails", &[("CUDA_EMULATOR_FAIL", "launch:2:719")]);
        for streams in ["at-once", "late"] {
            let fail = ("CUDA_EMULATOR_FAIL", "kernel:2:700");
            passes("kernel breaks", &[fail, ("CUDA_EMULATOR_STREAMS", streams)]);
        }
    }
}

fn kernel_breaks() {
    let card = Card::untracked();
    let mut out = card.upload(&[0f32; 4]);
    launch!(card, "unwritten", config(1, 1, 0), &mut out).expect("the first launch");
    card.stream.synchronize().expect("the first kernel");
    launch!(card, "unwritten", config(1, 1, 0), &mut out).expect("the launch itself succeeds");
    let error = card.stream.synchronize().expect_err("its kernel has broken the card");
    assert_eq!(error.0, sys::CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    assert!(card.stream.clone_htod(&[1f32]).is_err(), "no call succeeds any more");
}

fn init_fails() {
    let error = Card::open(0).err().expect("nothing can be opened");
    assert_eq!(error.0, sys::CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
}

fn alloc_fails() {
    let card = Card::open(0).expect("the card opens");
    card.stream.alloc_zeros::<u8>(8).expect("the first");
    card.stream.alloc_zeros::<u8>(8).expect_err("the second is to fail");
    card.stream.alloc_zeros::<u8>(8).expect("the third");
}

fn launch_fails() {
    let device = Device::new_cuda(0).expect("the card opens");
    let x = Tensor::ones(4, candle_core::DType::F32, &device).expect("the first launch");
    let error = x.affine(2.0, 0.0).expect_err("the second is to fail").to_string();
    assert!(error.contains("CUDA_ERROR_LAUNCH_FAILED"), "{error}");
    assert!(x.to_vec1::<f32>().is_err(), "no call succeeds any more");
}

#[test]
fn a_card_is_lost_and_comes_back_for_others() {
    if emulator().is_some() {
        let folder = scratch("lost");
        let file = folder.join("lost");
        let path = file.to_str().expect("a path in words");
        passes("lost", &[("CUDA_EMULATOR_LOST", path)]);
        std::fs::remove_dir_all(folder).expect("the folder goes");
    }
}

fn lost() {
    let file = PathBuf::from(std::env::var_os("CUDA_EMULATOR_LOST").expect("the file has a name"));
    std::fs::write(&file, "").expect("the file is written");
    let error = Card::open(0).err().expect("the card is lost");
    assert_eq!(error.0, sys::CUresult::CUDA_ERROR_UNKNOWN);
    std::fs::remove_file(&file).expect("the file goes");
    let card = Card::open(0).expect("the card is there again");
    std::fs::write(&file, "").expect("the file is written");
    let error = card.stream.synchronize().expect_err("the card is lost");
    assert_eq!(error.0, sys::CUresult::CUDA_ERROR_UNKNOWN);
    std::fs::remove_file(&file).expect("the file goes");
    card.stream.synchronize().expect_err("what was open stays lost");
}

#[test]
fn processes_share_a_card() {
    if emulator().is_some() {
        let folder = scratch("share");
        let table = folder.join("table");
        let path = table.to_str().expect("a path in words");
        passes(
            "share",
            &[("CUDA_EMULATOR_SHARE", path), ("CUDA_EMULATOR_MEMORY", "1000000")],
        );
        std::fs::remove_dir_all(folder).expect("the folder goes");
    }
}

/// Holds some memory while another process looks, then lets that one end without giving back its own.
fn share() {
    let card = Card::open(0).expect("the card opens");
    if std::env::var_os("HOLD").is_some() {
        let (free, _) = card.stream.context().mem_get_info().expect("memory");
        assert_eq!(free, 500_000, "what the other process holds is not free");
        card.stream.alloc_zeros::<u8>(500_001).expect_err("there is no room");
        std::mem::forget(card.stream.alloc_zeros::<u8>(300_000).expect("there is room"));
        // As when it is killed: nothing is given back.
        std::process::abort();
    }
    let held = card.stream.alloc_zeros::<u8>(500_000).expect("there is room");
    let output = in_a_process("share", &[("HOLD", "1")]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !said.contains("panicked"), "{said}");
    let (free, _) = card.stream.context().mem_get_info().expect("memory");
    assert_eq!(free, 500_000, "what a dead process held is free");
    drop(held);
}

#[test]
fn what_is_done_is_counted() {
    if emulator().is_some() {
        let folder = scratch("trace");
        let file = folder.join("trace");
        let path = file.to_str().expect("a path in words");
        passes("count", &[("CUDA_EMULATOR_TRACE", path)]);
        let trace = std::fs::read_to_string(&file).expect("the trace is there");
        for line in [
            "htod 16 bytes",
            "launch affine_f32 grid (1, 1, 1)",
            "gemm cublasGemmStridedBatchedEx m 2 n 2 k 2",
            "dtoh 16 bytes",
        ] {
            assert!(trace.contains(line), "no `{line}` in: {trace}");
        }
        std::fs::remove_dir_all(folder).expect("the folder goes");
    }
}

fn count() {
    // SAFETY: the emulator's libraries; these functions take and give numbers.
    let (driver, blas) = unsafe { (Library::new("libcuda.so.1"), Library::new("libcublas.so.13")) };
    let (driver, blas) = (
        driver.expect("the emulator's driver"),
        blas.expect("the emulator's cublas"),
    );
    // SAFETY: as declared in the emulator's sources.
    let counted =
        unsafe { driver.get::<unsafe extern "C" fn(*const std::ffi::c_char) -> u64>(b"cuda_emulator_count\0") };
    let counted = counted.expect("the emulator counts");
    // SAFETY: the text ends in zero.
    let counted = |what: &std::ffi::CStr| unsafe { counted(what.as_ptr()) };
    // SAFETY: as declared in the emulator's sources.
    let in_tf32 =
        unsafe { blas.get::<unsafe extern "C" fn() -> u64>(b"cublas_emulator_tf32_count\0") }.expect("cublas counts");

    let device = Device::new_cuda(0).expect("the card opens");
    let x = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &device).expect("an upload");
    let (launches, products) = (counted(c"launch"), counted(c"gemm"));
    let y = x
        .affine(2.0, 0.0)
        .and_then(|y| y.matmul(&x))
        .expect("a launch and a product");
    assert_eq!((counted(c"launch") - launches, counted(c"gemm") - products), (1, 1));
    let reads = counted(c"dtoh");
    assert_eq!(y.to_vec2::<f32>().expect("a download"), [[14.0, 20.0], [30.0, 44.0]]);
    assert_eq!(counted(c"dtoh") - reads, 1);

    // SAFETY: it takes nothing and gives a number.
    let before = unsafe { in_tf32() };
    candle_core::cuda::set_gemm_reduced_precision_f32(true);
    let third = Tensor::new(&[[1f32 / 3.0]], &device).expect("an upload");
    let ninth = third
        .matmul(&third)
        .expect("a product")
        .to_vec2::<f32>()
        .expect("a download")[0][0];
    candle_core::cuda::set_gemm_reduced_precision_f32(false);
    // SAFETY: as above.
    assert_eq!(unsafe { in_tf32() } - before, 1);
    assert!(
        ninth != 1.0 / 9.0 && (ninth - 1.0 / 9.0).abs() < 1e-4,
        "{ninth} is not a product in TF32"
    );
}

#[test]
fn the_driver_tells_what_a_card_does() {
    let Some(folder) = emulator() else { return };
    // SAFETY: the emulator's library; these functions are as NVIDIA declares them.
    unsafe {
        let library = Library::new(folder.join("libnvidia-ml.so.1")).expect("the library that tells loads");
        type Device = *mut std::ffi::c_void;
        let start = library
            .get::<unsafe extern "C" fn() -> u32>(b"nvmlInit_v2\0")
            .expect("nvmlInit_v2");
        let handle = library
            .get::<unsafe extern "C" fn(u32, *mut Device) -> u32>(b"nvmlDeviceGetHandleByIndex_v2\0")
            .expect("nvmlDeviceGetHandleByIndex_v2");
        let temperature = library
            .get::<unsafe extern "C" fn(Device, u32, *mut u32) -> u32>(b"nvmlDeviceGetTemperature\0")
            .expect("nvmlDeviceGetTemperature");
        let memory = library
            .get::<unsafe extern "C" fn(Device, *mut [u64; 3]) -> u32>(b"nvmlDeviceGetMemoryInfo\0")
            .expect("nvmlDeviceGetMemoryInfo");
        let (mut device, mut degrees, mut bytes) = (std::ptr::null_mut(), 0, [0; 3]);
        assert_eq!((start(), handle(0, &mut device)), (0, 0));
        assert_eq!((temperature(device, 0, &mut degrees), degrees), (0, 40));
        assert_eq!((memory(device, &mut bytes), bytes), (0, [2 << 30, 2 << 30, 0]));
    }
}

#[test]
fn what_no_stream_has_waited_for_is_not_done() {
    if emulator().is_some() {
        for part in ["late", "late events", "late products", "late null stream"] {
            passes(part, &[LATE]);
        }
        dies_with(
            "locked memory freed",
            &[LATE],
            &["page-locked memory that was freed before the copy was done"],
        );
    }
}

impl Card {
    /// As the program has it: streams wait for each other where they are told to, and nowhere else.
    fn untracked() -> Card {
        let card = Card::open(0).expect("the card opens");
        // SAFETY: that streams have to be told to wait is what is tested.
        unsafe { card.stream.context().disable_event_tracking() };
        card
    }

    fn beside(&self) -> Card {
        Card {
            stream: self.stream.context().new_stream().expect("a second stream"),
        }
    }
}

/// Page-locked memory of the processor.
fn locked(values: &[f32]) -> &'static mut [f32] {
    // SAFETY: the memory is as long as the values, and is never given back.
    unsafe {
        let memory = driver::malloc_host(size_of_val(values), 0).expect("memory of the processor");
        std::ptr::copy_nonoverlapping(values.as_ptr(), memory.cast(), values.len());
        std::slice::from_raw_parts_mut(memory.cast(), values.len())
    }
}

fn address<T>(values: &CudaSlice<T>, card: &Card) -> sys::CUdeviceptr {
    values.device_ptr(&card.stream).0
}

fn late() {
    let card = Card::untracked();
    let other = card.beside();
    let values = card.upload(&[1f32, 2.0]);
    assert!(
        other.download(&values)[0].is_nan(),
        "nobody has waited for the copy on the first stream"
    );
    assert_eq!(card.download(&values), [1.0, 2.0]);
    assert_eq!(other.download(&values), [1.0, 2.0], "now it is done");

    // What lies in page-locked memory is read when the copy is done, other memory when it is asked for.
    let memory = locked(&[3.0, 4.0]);
    let mut values = card.upload(&[0f32; 2]);
    // SAFETY: that the memory changes before the copy is done is what is tested; the slices are long enough.
    unsafe { driver::memcpy_htod_async(address(&values, &card), memory, card.stream.cu_stream()) }.expect("a copy");
    memory[0] = 5.0;
    assert_eq!(card.download(&values), [5.0, 4.0]);
    let mut plain = [6f32, 7.0];
    card.stream.memcpy_htod(&plain, &mut values).expect("a copy");
    plain[0] = 8.0;
    assert_eq!((card.download(&values), plain), (vec![6.0, 7.0], [8.0, 7.0]));
    // SAFETY: as above.
    unsafe { driver::memcpy_dtoh_async(memory, address(&values, &card), card.stream.cu_stream()) }.expect("a copy");
    assert_eq!(memory, [5.0, 4.0], "copied later");
    card.stream.synchronize().expect("all is done");
    assert_eq!(memory, [6.0, 7.0]);

    // A launch's arguments are read at once; the kernel runs later, and memory is freed after it.
    let used = || card.stream.context().mem_get_info().expect("memory").0;
    let before = used();
    {
        let (mut n, mut out) = (64u32, card.upload(&[0i32; 64]));
        launch!(card, "early_return", config(1, 64, 0), &n, &mut out).expect("a launch");
        n += 1;
        assert_eq!(n, 65);
        drop(card.upload(&[0i32; 64]));
        assert!(used() < before, "nothing is freed before the stream comes to it");
        assert_eq!(card.download(&out)[0], 63);
    }
    card.stream.synchronize().expect("all is done");
    assert_eq!(used(), before);

    // A stream that is destroyed does what it was given.
    let short = card.beside();
    // SAFETY: the memory lives until the context is waited for.
    unsafe { driver::memset_d8_async(address(&values, &card), 0, 8, short.stream.cu_stream()) }.expect("zeros");
    drop(short);
    assert_eq!(card.download(&values), [6.0, 7.0], "no stream has waited for it");
    card.stream.context().synchronize().expect("all streams");
    assert_eq!(card.download(&values), [0.0, 0.0]);
}

fn late_events() {
    let card = Card::untracked();
    let other = card.beside();
    let values = card.upload(&[1f32, 2.0]);
    let event = card.stream.record_event(None).expect("an event");
    // SAFETY: the memory is the slice's.
    unsafe { driver::memset_d8_async(address(&values, &card), 0, 8, card.stream.cu_stream()) }.expect("zeros");
    other.stream.wait(&event).expect("a stream may wait");
    assert_eq!(
        other.download(&values),
        [1.0, 2.0],
        "the copy is done, and nothing that came after it"
    );
    assert!(event.is_complete());
    assert_eq!(card.download(&values), [0.0, 0.0]);

    // Who asks again and again sees the end.
    let _values = card.upload(&[1f32; 3]);
    let event = card.stream.record_event(None).expect("an event");
    let asked = (1..100).find(|_| event.is_complete()).expect("it is done at last");
    assert!(asked > 1);
    let _values = card.upload(&[1f32; 3]);
    let event = card.stream.record_event(None).expect("an event");
    event.synchronize().expect("the processor may wait");
    assert!(event.is_complete());

    unsafe extern "C" fn called(flag: *mut std::ffi::c_void) {
        // SAFETY: the address of the flag below.
        unsafe { *flag.cast::<bool>() = true };
    }
    let mut flag = false;
    let call = |flag: *mut bool| {
        // SAFETY: the flag lives until the stream has been waited for.
        unsafe { driver::stream::launch_host_function(card.stream.cu_stream(), called, flag.cast()) }
    };
    // SAFETY: nothing writes to the flag while it is read: the streams' work is done on this thread.
    let is_set = |flag: *const bool| unsafe { flag.read_volatile() };
    call(&raw mut flag).expect("a call");
    assert!(!is_set(&raw const flag), "not called yet");
    card.stream.synchronize().expect("all is done");
    assert!(is_set(&raw const flag));
}

fn late_products() {
    use candle_core::cuda_backend::cudarc::curand::CudaRng;
    let card = Card::untracked();
    let other = card.beside();
    let blas = CudaBlas::new(card.stream.clone()).expect("cublas opens");
    let fresh = |count: usize| {
        // SAFETY: that it is read before it is written is what is tested.
        unsafe { card.stream.alloc::<f32>(count) }.expect("memory")
    };
    let (a, c, mut numbers) = (card.upload(&[2f32]), fresh(1), fresh(4));
    let (mut alpha, beta) = (3f32, 0f32);
    let plain = cublas::cublasOperation_t::CUBLAS_OP_N;
    let (read, write) = (address(&a, &card) as *const f32, address(&c, &card) as *mut f32);
    // SAFETY: matrices of one element each.
    unsafe {
        products::sgemm(
            *blas.handle(),
            plain,
            plain,
            1,
            1,
            1,
            &raw const alpha,
            read,
            1,
            read,
            1,
            &raw const beta,
            write,
            1,
        )
    }
    .expect("a product");
    alpha += 1.0;
    let random = CudaRng::new(1, card.stream.clone()).expect("curand opens");
    random.fill_with_uniform(&mut numbers).expect("numbers");
    assert!(other.download(&c)[0].is_nan() && other.download(&numbers)[0].is_nan());
    assert_eq!((card.download(&c), alpha), (vec![12.0], 4.0));
    assert!(
        card.download(&numbers)
            .iter()
            .all(|number| (0.0..=1.0).contains(number))
    );
}

fn late_null_stream() {
    let card = Card::untracked();
    let values = card.upload(&[1f32, 2.0]);
    card.stream.synchronize().expect("all is done");
    let mut read = [0f32; 2];
    // SAFETY: the slices are long enough; that streams do not wait for each other is what is tested.
    unsafe {
        // A copy that comes back may still be on its way, and the program's streams do not wait for it.
        driver::memcpy_htod_sync(address(&values, &card), &[3f32, 4.0]).expect("a copy");
        assert_eq!(card.download(&values), [1.0, 2.0]);
        // The null stream waits for itself.
        driver::memcpy_dtoh_sync(&mut read, address(&values, &card)).expect("a copy");
        assert_eq!(read, [3.0, 4.0]);
        driver::memset_d8_async(address(&values, &card), 0, 8, card.stream.cu_stream()).expect("zeros");
        driver::memcpy_dtoh_sync(&mut read, address(&values, &card)).expect("a copy");
        assert_eq!(
            read,
            [3.0, 4.0],
            "it does not wait for a stream that does not wait for it"
        );
        card.stream.synchronize().expect("all is done");
        // A stream of the other kind and the null stream do.
        let blocking = driver::stream::create(driver::stream::StreamKind::Default).expect("a stream");
        driver::memcpy_htod_async(address(&values, &card), &[5f32, 6.0], blocking).expect("a copy");
        driver::memcpy_dtoh_sync(&mut read, address(&values, &card)).expect("a copy");
        assert_eq!(read, [5.0, 6.0]);
        driver::memcpy_htod_sync(address(&values, &card), &[7f32, 8.0]).expect("a copy");
        driver::memcpy_dtoh_async(&mut read, address(&values, &card), blocking).expect("a copy");
        assert_eq!(read, [7.0, 8.0]);
        driver::stream::destroy(blocking).expect("it goes");
        let gone = driver::stream::synchronize(blocking).expect_err("it is gone");
        assert_eq!(gone.0, sys::CUresult::CUDA_ERROR_INVALID_HANDLE);
    }
}

fn locked_memory_freed() {
    let card = Card::untracked();
    let (values, memory) = (card.upload(&[0f32; 2]), locked(&[1.0, 2.0]));
    // SAFETY: that the memory is freed too early is what the emulator finds.
    unsafe {
        driver::memcpy_htod_async(address(&values, &card), memory, card.stream.cu_stream()).expect("a copy");
        driver::free_host(memory.as_mut_ptr().cast()).expect("it was allocated");
    }
    let result = card.stream.synchronize();
    panic!("not found wrong: {result:?}");
}

#[test]
fn blocks_come_in_either_order() {
    if emulator().is_some() {
        for order in ["forwards", "backwards"] {
            passes("order of blocks", &[("CUDA_EMULATOR_ORDER", order)]);
        }
    }
}

fn order_of_blocks() {
    let card = Card::open(0).expect("the card opens");
    let (mut counter, mut out) = (card.upload(&[0i32]), card.upload(&[0i32; 6]));
    let grid = LaunchConfig {
        grid_dim: (3, 2, 1),
        ..config(1, 1, 0)
    };
    launch!(card, "order_of_blocks", grid, &mut counter, &mut out).expect("a launch");
    let backwards = std::env::var("CUDA_EMULATOR_ORDER").is_ok_and(|order| order == "backwards");
    let expected = if backwards {
        [5, 4, 3, 2, 1, 0]
    } else {
        [0, 1, 2, 3, 4, 5]
    };
    assert_eq!(card.download(&out), expected);
}

#[test]
fn memory_that_is_freed_is_not_used_again_at_once() {
    if emulator().is_some() {
        dies_saying(
            "freed memory",
            &[
                "kernel reads_past_the_end",
                "reads 4 bytes",
                "byte 0 of 32 bytes that have been freed",
            ],
        );
    }
}

fn freed_memory() {
    let card = Card::open(0).expect("the card opens");
    let input = card.upload(&[1f32; 8]);
    let stale = address(&input, &card);
    drop(input);
    let others: Vec<_> = (0..100).map(|_| card.upload(&[1f32; 8])).collect();
    let mut out = card.upload(&[0f32; 4]);
    let result = launch!(card, "reads_past_the_end", config(1, 1, 0), &0u32, &stale, &mut out);
    panic!("not found wrong: {result:?}, {}", others.len());
}

#[test]
fn a_process_sees_the_cards_that_it_is_told_to() {
    if emulator().is_some() {
        for (asked, seen) in [
            ("2,0", "2 0"),
            (" 1 , 2", "1 2"),
            ("0,7,1", "0"),
            ("1,1,0", "1"),
            (
                "GPU-656d756c-6174-6564-0000-000000000001,gpu-656D756C-6174-6564-0000-000000000002",
                "1 2",
            ),
            ("0,GPU-656d,1", "0"),
            ("", ""),
            ("-1", ""),
            ("none", ""),
        ] {
            let environment = [
                ("CUDA_EMULATOR_CARDS", "3"),
                ("CUDA_VISIBLE_DEVICES", asked),
                ("SEEN", seen),
            ];
            passes("visible", &environment);
        }
    }
}

fn visible() {
    let seen = std::env::var("SEEN").expect("what is to be seen");
    let seen: Vec<u8> = seen
        .split_whitespace()
        .map(|card| card.parse().expect("a number"))
        .collect();
    if seen.is_empty() {
        let error = CudaContext::device_count().expect_err("there is no card");
        assert_eq!(error.0, sys::CUresult::CUDA_ERROR_NO_DEVICE);
        return;
    }
    let found: Vec<u8> = (0..CudaContext::device_count().expect("cards"))
        .map(|number| {
            let card = Card::open(number as usize).expect("the card opens");
            assert_eq!(card.download(&card.upload(&[number])), [number]);
            card.stream.context().uuid().expect("it has a name for ever").bytes[15] as u8
        })
        .collect();
    assert_eq!(found, seen);
    // The library that watches cards sees all of them.
    // SAFETY: the emulator's library; these functions are as NVIDIA declares them.
    unsafe {
        let library = Library::new("libnvidia-ml.so.1").expect("the library that tells loads");
        let start = library
            .get::<unsafe extern "C" fn() -> u32>(b"nvmlInit_v2\0")
            .expect("nvmlInit_v2");
        let count = library
            .get::<unsafe extern "C" fn(*mut u32) -> u32>(b"nvmlDeviceGetCount_v2\0")
            .expect("nvmlDeviceGetCount_v2");
        let mut cards = 0;
        assert_eq!((start(), count(&mut cards), cards), (0, 0, 3));
    }
}

#[test]
fn what_befalls_one_card_leaves_the_others_alone() {
    if emulator().is_some() {
        let folder = scratch("one-lost");
        let path = folder.join("lost");
        let cards = ("CUDA_EMULATOR_CARDS", "3");
        let lost = ("CUDA_EMULATOR_LOST", path.to_str().expect("a path in words"));
        passes("one lost", &[cards, lost, ("CUDA_VISIBLE_DEVICES", "2,0")]);
        std::fs::remove_dir_all(folder).expect("the folder goes");
        let fail = ("CUDA_EMULATOR_FAIL", "launch:2:719@2,alloc:3:2@0");
        passes("one fails", &[cards, fail, ("CUDA_VISIBLE_DEVICES", "2,0")]);
        dies_with(
            "other card's memory",
            &[cards],
            &[
                "kernel reads_past_the_end",
                "reads memory of card 1, and runs on card 0",
            ],
        );
    }
}

fn one_lost() {
    let path = std::env::var("CUDA_EMULATOR_LOST").expect("the file has a name");
    let (first, second) = (
        Card::open(0).expect("card 2 opens"),
        Card::open(1).expect("card 0 opens"),
    );
    let file = format!("{path}.2");
    std::fs::write(&file, "").expect("the file is written");
    let error = first.stream.synchronize().expect_err("card 2 is lost");
    assert_eq!(error.0, sys::CUresult::CUDA_ERROR_UNKNOWN);
    assert_eq!(second.download(&second.upload(&[1f32])), [1.0], "card 0 is not");
    std::fs::remove_file(&file).expect("the file goes");
    first.stream.synchronize().expect_err("what was open stays lost");
    // Of all cards.
    std::fs::write(&path, "").expect("the file is written");
    second.stream.synchronize().expect_err("card 0 is lost");
}

fn one_fails() {
    let (first, second) = (
        Card::open(0).expect("card 2 opens"),
        Card::open(1).expect("card 0 opens"),
    );
    let (out, other) = (first.upload(&[0f32; 4]), second.upload(&[0f32; 4]));
    let twice = |card: &Card, mut out: CudaSlice<f32>| {
        launch!(card, "unwritten", config(1, 1, 0), &mut out).expect("the first launch");
        launch!(card, "unwritten", config(1, 1, 0), &mut out).map_err(|error| error.0)
    };
    assert_eq!(twice(&second, other), Ok(()));
    assert_eq!(twice(&first, out), Err(sys::CUresult::CUDA_ERROR_LAUNCH_FAILED));
    second.stream.alloc_zeros::<u8>(1).expect("the second of card 0");
    second.stream.alloc_zeros::<u8>(1).expect_err("the third is to fail");
    first.stream.synchronize().expect_err("card 2 is broken");
    second.stream.synchronize().expect("card 0 is not");
}

fn other_cards_memory() {
    let (card, other) = (Card::open(0).expect("a card"), Card::open(1).expect("another"));
    let input = other.upload(&[1f32; 8]);
    other.stream.synchronize().expect("all is done");
    let stale = address(&input, &other);
    let mut out = card.upload(&[0f32; 4]);
    let result = launch!(card, "reads_past_the_end", config(1, 1, 0), &0u32, &stale, &mut out);
    panic!("not found wrong: {result:?}");
}

#[test]
fn a_driver_hangs_as_long_as_is_said() {
    if emulator().is_some() {
        let folder = scratch("hangs");
        let path = folder.join("hang");
        passes(
            "hangs",
            &[("CUDA_EMULATOR_HANG", path.to_str().expect("a path in words"))],
        );
        std::fs::remove_dir_all(folder).expect("the folder goes");
        passes("launch hangs", &[("CUDA_EMULATOR_FAIL", "launch:2:hang")]);
        passes("launch hangs", &[("CUDA_EMULATOR_FAIL", "launch:2:hang"), LATE]);
    }
}

/// Long enough that what is going to come has come.
const A_WHILE: Duration = Duration::from_millis(300);

fn hangs() {
    let file = PathBuf::from(std::env::var_os("CUDA_EMULATOR_HANG").expect("the file has a name"));
    let card = Card::open(0).expect("the card opens");
    std::fs::write(&file, "").expect("the file is written");
    let (sender, done) = mpsc::channel();
    let (first, second) = (sender.clone(), sender);
    std::thread::spawn(move || first.send(card.stream.synchronize().is_ok()));
    std::thread::spawn(move || {
        // SAFETY: the emulator's library; the function is as NVIDIA declares it.
        let status = unsafe {
            let library = Library::new("libnvidia-ml.so.1").expect("the library that tells loads");
            library
                .get::<unsafe extern "C" fn() -> u32>(b"nvmlInit_v2\0")
                .expect("nvmlInit_v2")()
        };
        second.send(status == 0)
    });
    done.recv_timeout(A_WHILE).expect_err("nothing comes back");
    std::fs::remove_file(&file).expect("the file goes");
    assert_eq!((done.recv(), done.recv()), (Ok(true), Ok(true)));
}

fn launch_hangs() {
    let card = Card::open(0).expect("the card opens");
    let mut out = card.upload(&[0f32; 4]);
    launch!(card, "unwritten", config(1, 1, 0), &mut out).expect("the first launch");
    card.stream.synchronize().expect("the first kernel");
    let (sender, done) = mpsc::channel();
    std::thread::spawn(move || {
        launch!(card, "unwritten", config(1, 1, 0), &mut out).expect("the second launch");
        sender.send(card.stream.synchronize())
    });
    done.recv_timeout(A_WHILE).expect_err("nothing comes back");
}

#[test]
fn a_pool_keeps_what_is_freed() {
    if emulator().is_some() {
        for streams in ["at-once", "late"] {
            let environment = [("CUDA_EMULATOR_MEMORY", "1000000"), ("CUDA_EMULATOR_STREAMS", streams)];
            passes("pool", &environment);
        }
    }
}

fn pool() {
    let card = Card::untracked();
    let context = card.stream.context();
    let free = || context.mem_get_info().expect("memory").0;
    let mut pool = std::ptr::null_mut();
    let mut keep = 500_000u64;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: writes the handle; the attribute is a 64-bit number.
    unsafe {
        sys::cuDeviceGetDefaultMemPool(&raw mut pool, context.cu_device())
            .result()
            .expect("a pool");
        sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut keep).cast())
            .result()
            .expect("it keeps");
    }
    let done = || card.stream.synchronize().expect("all is done");
    drop(card.stream.alloc_zeros::<u8>(600_000).expect("there is room"));
    done();
    assert_eq!(free(), 500_000, "so much is kept");
    let second = card
        .stream
        .alloc_zeros::<u8>(700_000)
        .expect("what is kept serves again");
    assert_eq!(free(), 300_000);
    drop(second);
    done();
    assert_eq!(free(), 500_000);
    // SAFETY: memory of the context, which is given back.
    unsafe {
        let other =
            driver::malloc_sync(600_000).expect("what is kept is given up for what does not come from the pool");
        assert_eq!(free(), 400_000);
        driver::free_sync(other).expect("it was allocated");
    }
    assert_eq!(free(), 1_000_000);
    drop(card.stream.alloc_zeros::<u8>(600_000).expect("there is room"));
    done();
    // SAFETY: a pool of this card.
    unsafe { sys::cuMemPoolTrimTo(pool, 100_000).result().expect("it is trimmed") };
    assert_eq!(free(), 900_000);
    // SAFETY: as above.
    unsafe { sys::cuMemPoolTrimTo(pool, 0).result().expect("it is trimmed") };
    assert_eq!(free(), 1_000_000);
}

/// As drivers since 570 do.
#[test]
fn the_driver_gives_its_thread_a_name() {
    if emulator().is_some() {
        passes("names", &[]);
    }
}

fn names() {
    let named = |name: &str| {
        std::fs::read_dir("/proc/self/task")
            .expect("threads")
            .flatten()
            .any(|thread| std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|found| found.trim() == name))
    };
    let _card = Card::open(0).expect("the card opens");
    assert!(named("cuda-EvtHandlr"));
    // Once more, later.
    let later = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        named("cuda-emulator")
    });
    assert!(later);
}

#[test]
fn a_product_and_a_sum_are_rounded_once_unless_they_are_told_apart() {
    if emulator().is_some() {
        passes("rounding", &[]);
    }
}

fn rounding() {
    let card = Card::open(0).expect("the card opens");
    let (a, c) = (1.0 + 2f32.powi(-12), -(1.0 + 2f32.powi(-11)));
    let (mut joined, mut apart) = (card.upload(&[0f32]), card.upload(&[0f32; 4]));
    launch!(card, "product_and_sum", config(1, 1, 0), &a, &a, &c, &mut joined).expect("a launch");
    launch!(card, "product_then_sum", config(1, 1, 0), &a, &a, &c, &mut apart).expect("a launch");
    #[cfg(target_arch = "x86_64")]
    let once = std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    let once = true;
    let exact = 2f32.powi(-24);
    assert_eq!(card.download(&joined), [if once { exact } else { 0.0 }]);
    assert_eq!(card.download(&apart), [0.0, 0.0, 0.0, exact]);
}

#[test]
fn products_that_cublas_does_not_compute_are_refused() {
    if emulator().is_some() {
        passes("pairs of types", &[]);
        passes("product between", &[]);
        dies_saying("product over itself", &["cublasGemmEx: matrix C lies over matrix B"]);
        dies_with(
            "product elsewhere",
            &[("CUDA_EMULATOR_CARDS", "2")],
            &["the handle belongs to the context of card 0", "that of card 1"],
        );
        dies_saying("product by pointers", &["CUBLAS_POINTER_MODE_DEVICE"]);
    }
}

fn gemm(
    blas: &CudaBlas,
    [a, b, c]: [sys::CUdeviceptr; 3],
    leading: i32,
    (input, output): (cublas::cudaDataType, cublas::cudaDataType),
    compute: cublas::cublasComputeType_t,
) -> Result<(), cublas::cublasStatus_t> {
    let plain = cublas::cublasOperation_t::CUBLAS_OP_N;
    // Zero in each of the types.
    let factor = 0f64;
    let (factor, algorithm) = (
        (&raw const factor).cast(),
        cublas::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
    );
    let (a, b, c) = (a as *const _, b as *const _, c as *mut _);
    // SAFETY: matrices of two rows and columns in memory that is long enough; what is wrong beside that the emulator finds.
    unsafe {
        products::gemm_ex(
            *blas.handle(),
            plain,
            plain,
            2,
            2,
            2,
            factor,
            a,
            input,
            leading,
            b,
            input,
            leading,
            factor,
            c,
            output,
            leading,
            compute,
            algorithm,
        )
    }
    .map_err(|error| error.0)
}

fn pairs_of_types() {
    use cublas::cublasComputeType_t as compute;
    use cublas::cudaDataType::{CUDA_R_16BF as BF16, CUDA_R_16F as F16, CUDA_R_32F as F32, CUDA_R_64F as F64};
    let card = Card::open(0).expect("the card opens");
    let blas = CudaBlas::new(card.stream.clone()).expect("cublas opens");
    let (a, b, c) = (
        card.upload(&[0f64; 4]),
        card.upload(&[0f64; 4]),
        card.upload(&[0f64; 4]),
    );
    let places = [&a, &b, &c].map(|matrix| address(matrix, &card));
    let refused = Err(cublas::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED);
    for (input, output, how, expected) in [
        (F32, F32, compute::CUBLAS_COMPUTE_32F, Ok(())),
        (F32, F32, compute::CUBLAS_COMPUTE_32F_FAST_TF32, Ok(())),
        (F16, F32, compute::CUBLAS_COMPUTE_32F, Ok(())),
        (BF16, BF16, compute::CUBLAS_COMPUTE_32F_PEDANTIC, Ok(())),
        (F16, F16, compute::CUBLAS_COMPUTE_16F, Ok(())),
        (F64, F64, compute::CUBLAS_COMPUTE_64F, Ok(())),
        (BF16, BF16, compute::CUBLAS_COMPUTE_16F, refused),
        (F16, BF16, compute::CUBLAS_COMPUTE_32F, refused),
        (F32, F16, compute::CUBLAS_COMPUTE_32F, refused),
        (BF16, BF16, compute::CUBLAS_COMPUTE_32F_FAST_TF32, refused),
        (F64, F64, compute::CUBLAS_COMPUTE_32F, refused),
        (F32, F64, compute::CUBLAS_COMPUTE_64F, refused),
    ] {
        let found = gemm(&blas, places, 2, (input, output), how);
        assert_eq!(found, expected, "{input:?} to {output:?} by {how:?}");
    }
}

enum Wrong {
    Nothing,
    Overlap,
    Context,
    Pointers,
}

fn product(wrong: Wrong) {
    use candle_core::cuda_backend::cudarc::cublas::sys::cublasPointerMode_t::CUBLAS_POINTER_MODE_DEVICE;
    let card = Card::open(0).expect("the card opens");
    let blas = CudaBlas::new(card.stream.clone()).expect("cublas opens");
    let (a, both) = (card.upload(&[1f32; 8]), card.upload(&[1f32; 10]));
    let (a, both) = (address(&a, &card), address(&both, &card));
    // Two rows each of a matrix of four: the result may lie beside a factor.
    let c = match wrong {
        Wrong::Overlap => both + 4,
        _ => both + 8,
    };
    let other = matches!(wrong, Wrong::Context).then(|| Card::open(1).expect("a second card opens"));
    if let Wrong::Pointers = wrong {
        blas.set_pointer_mode(CUBLAS_POINTER_MODE_DEVICE)
            .expect("there is such a mode");
    }
    let kind = cublas::cudaDataType::CUDA_R_32F;
    let compute = cublas::cublasComputeType_t::CUBLAS_COMPUTE_32F;
    let result = gemm(&blas, [a, both, c], 4, (kind, kind), compute);
    match wrong {
        Wrong::Nothing => assert_eq!(result, Ok(())),
        _ => panic!("not found wrong: {result:?}, {}", other.is_some()),
    }
}

/// A folder of its own for a test.
fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("trainyard-emulator-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}
