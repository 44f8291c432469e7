//! Training steps on a card, beside PyTorch's, eager and compiled: the same parameters, data, optimiser and precision.
//!
//! Every measurement is a process of its own, the three in turn, several times over; a cell is the median of the medians. All begin with
//! the same parameters, and the losses of the first steps have to agree, and how they change: what does not compute the same is not
//! compared. Run it by `cargo xtask bench gpu`, which builds it for cards.

mod measure;
mod models;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use comfy_table::{Table, presets};
use serde_json::{Value, json};
use trainyard_benches::step::median;
use trainyard_kernels::{Device, bytes};

use measure::{COMPARED, Measured, THREADS, Torch};
use models::Model;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: cargo xtask bench gpu [--cpu] [--small] [--quick] [--device cuda:N] [--precision f32|tf32|bf16] [--model mlp|adamw|lstm|patchtst|small]";
/// Bytes that the optimiser has to read and write for each parameter: the gradient, the parameter and two moments, and all but the first
/// again, in f32; or, with bf16, the gradient, a copy in f32 and two moments, and all but the first again and the parameter.
const OPTIMIZER_BYTES: f64 = 28.0;

/// In what is computed.
#[derive(Clone, Copy, PartialEq)]
enum Precision {
    F32,
    /// `f32`, multiplied by a card in TF32.
    Tf32,
    Bf16,
}

impl Precision {
    const ALL: [Precision; 3] = [Precision::F32, Precision::Tf32, Precision::Bf16];

    fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::Bf16 => "bf16",
        }
    }

    fn parse(name: &str) -> Result<Self> {
        let found = Precision::ALL.into_iter().find(|precision| precision.name() == name);
        found.with_context(|| format!("`{name}` is no precision; use f32, tf32 or bf16"))
    }

    /// How far losses may be apart, relatively: what its rounding explains.
    fn tolerance(self) -> f64 {
        match self {
            Precision::F32 => 1e-5,
            Precision::Tf32 => 1e-3,
            Precision::Bf16 => 1e-2,
        }
    }

    /// How far the changes of the losses since the first step may be apart, as a part of the largest of them: several times what its
    /// rounding explains. Losses change by a few hundredths only, so that these say more than the losses themselves about gradients and
    /// the optimiser: with bf16, a learning rate that is a tenth too large is 0.1 apart, and parameters without a copy in f32 up to 0.8.
    fn change_tolerance(self) -> f64 {
        match self {
            Precision::F32 => 1e-3,
            Precision::Tf32 => 5e-2,
            Precision::Bf16 => 1e-1,
        }
    }

    /// The tolerances of all, in words.
    fn allowed(tolerance: impl Fn(Precision) -> f64) -> String {
        Precision::ALL
            .map(|precision| format!("{} {:.0e}", precision.name(), tolerance(precision)))
            .join(", ")
    }
}

/// What to measure.
struct Options {
    device: Device,
    small: bool,
    /// How often each measurement is repeated.
    repeats: usize,
    /// All that make sense where it is absent.
    precision: Option<Precision>,
    model: Option<String>,
}

fn main() -> std::process::ExitCode {
    trainyard_benches::report(run)
}

fn run() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--one", name, sizes, precision, device, file] => {
            let model = models::all(sizes == "small")
                .into_iter()
                .find(|model| model.name == name);
            let model = model.with_context(|| format!("there is no model `{name}`"))?;
            let measured = measure::here(
                &model,
                Precision::parse(precision)?,
                parse_device(device)?,
                Path::new(file),
            )?;
            println!("{}", measured.to_json());
            Ok(())
        }
        ["--card", device] => {
            let card = parse_device(device)?.check()?;
            println!("{}", json!({ "name": card.name, "total_bytes": card.total_bytes }));
            Ok(())
        }
        _ => compare(&options(&arguments)?),
    }
}

fn parse_device(text: &str) -> Result<Device> {
    text.parse().map_err(|error: String| anyhow!(error))
}

fn options(arguments: &[&str]) -> Result<Options> {
    let mut options = Options {
        device: Device::Cuda(0),
        small: false,
        repeats: 3,
        precision: None,
        model: None,
    };
    let mut rest = arguments.iter();
    while let Some(&argument) = rest.next() {
        match argument {
            "--cpu" => {
                options.device = Device::Cpu;
                options.small = true;
            }
            "--small" => options.small = true,
            "--quick" => options.repeats = 1,
            _ => {
                let Some(value) = rest.next() else { bail!("{USAGE}") };
                match argument {
                    "--device" => options.device = parse_device(value)?,
                    "--precision" => options.precision = Some(Precision::parse(value)?),
                    "--model" => options.model = Some((*value).to_owned()),
                    _ => bail!("{USAGE}"),
                }
            }
        }
    }
    if options.device == Device::Cpu && options.precision == Some(Precision::Tf32) {
        bail!("the processor has no TF32; use f32 or bf16");
    }
    Ok(options)
}

fn compare(options: &Options) -> Result<()> {
    let models: Vec<Model> = models::all(options.small)
        .into_iter()
        .filter(|model| options.model.as_ref().is_none_or(|name| model.name == name))
        .collect();
    if models.is_empty() {
        bail!("{USAGE}");
    }
    println!("{}", header(options)?);
    let python = env::var_os("TRAINYARD_PYTHON").map(PathBuf::from);
    if let Some(python) = &python {
        let version = "import json, torch; print(json.dumps(torch.__version__))";
        let version = measure::asked(Command::new(python).args(["-c", version]), "PyTorch")?;
        println!("beside PyTorch {}", version.as_str().unwrap_or("?"));
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("begin.f32");
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header([
        "model",
        "precision",
        "step",
        "PyTorch",
        "compiled",
        "/ PyTorch",
        "/ compiled",
        "achieved",
        "PyTorch's",
        "peak memory",
        "PyTorch's",
        "losses apart",
        "changes apart",
    ]);
    let (mut notes, mut differ, mut compared) = (Vec::new(), Vec::new(), false);
    for model in &models {
        println!("{}: {}", model.name, model.about);
        let parameters = measure::write(model, &file)?;
        for precision in precisions(model, options) {
            let peers = Peers {
                model,
                parameters: &parameters,
                precision,
                file: &file,
                options,
            };
            let row = peers.measure(python.as_deref(), &mut notes)?;
            table.add_row(row.cells(model, precision, &parameters));
            eprintln!("{} {}: {}", model.name, precision.name(), time(row.ours.seconds));
            compared |= row.eager.is_some();
            let checks = [
                ("losses", row.largest(apart), precision.tolerance()),
                ("changes", row.largest(change_apart), precision.change_tolerance()),
            ];
            for (what, apart, allowed) in checks {
                if let Some(apart) = apart.filter(|&apart| apart.is_nan() || apart > allowed) {
                    differ.push(format!("{what} of {} {} by {apart:.0e}", model.name, precision.name()));
                }
            }
        }
    }
    println!("{table}");
    for note in notes {
        println!("{note}");
    }
    println!(
        "achieved: operations of the matrix products, forward and backward, 2 for each multiplication with its addition; of adamw {OPTIMIZER_BYTES} bytes for each parameter"
    );
    if compared {
        println!(
            "peak memory: ours is the bytes that tensors had booked; PyTorch's is those that its allocator gave away, with the workspaces of cuBLAS and, with bf16, the gradients' copies in f32"
        );
    }
    if !differ.is_empty() {
        bail!(
            "both sides differ by more than rounding explains, so that times cannot be compared: {}",
            differ.join(", ")
        );
    }
    if compared {
        println!(
            "losses apart: the farthest of the first {COMPARED}, from the same parameters and data, relatively; allowed are {}",
            Precision::allowed(Precision::tolerance)
        );
        println!(
            "changes apart: the farthest of how these have changed since the first, as a part of the largest change; allowed are {}",
            Precision::allowed(Precision::change_tolerance)
        );
    }
    Ok(())
}

/// Where it runs. Fails where there is no such card.
fn header(options: &Options) -> Result<String> {
    let sizes = if options.small { "small sizes" } else { "full sizes" };
    if options.device == Device::Cpu {
        return Ok(format!(
            "on the processor, {THREADS} thread(s), {sizes}: it shows that both sides work, and says nothing about a card"
        ));
    }
    let device = options.device.to_string();
    // A driver can hang, and keeps what a process has opened: not this process.
    let card = measure::asked(
        Command::new(env::current_exe()?).args(["--card", &device]),
        "nothing was measured",
    );
    let card = card.map_err(|error| anyhow!("{error}; with --cpu small sizes run on the processor"))?;
    let total = bytes(card["total_bytes"].as_u64().unwrap_or_default());
    Ok(format!(
        "{device}: {}, {total}; {sizes}",
        card["name"].as_str().unwrap_or("?")
    ))
}

fn precisions(model: &Model, options: &Options) -> Vec<Precision> {
    match options.precision {
        Some(precision) => vec![precision],
        None => {
            let mut precisions = model.precisions.to_vec();
            precisions.retain(|&precision| options.device != Device::Cpu || precision != Precision::Tf32);
            precisions
        }
    }
}

/// Who is measured in turn.
struct Peers<'a> {
    model: &'a Model,
    parameters: &'a [Value],
    precision: Precision,
    file: &'a Path,
    options: &'a Options,
}

impl Peers<'_> {
    fn measure(&self, python: Option<&Path>, notes: &mut Vec<String>) -> Result<Row> {
        let device = self.options.device;
        let mut ways = Vec::new();
        if python.is_some() {
            ways.push(Torch::Eager);
            // The optimiser is the same fused kernel.
            if !self.model.only_optimizer {
                ways.push(Torch::Compiled);
            }
        }
        let (mut ours, mut eager, mut compiled) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.options.repeats {
            ours.push(measure::ours(
                self.model,
                self.options.small,
                self.precision,
                device,
                self.file,
            )?);
            let Some(python) = python else { continue };
            for way in ways.clone() {
                match measure::torch(
                    python,
                    way,
                    self.model,
                    self.parameters,
                    self.precision,
                    device,
                    self.file,
                )? {
                    Ok(measured) if way == Torch::Eager => eager.push(measured),
                    Ok(measured) => compiled.push(measured),
                    Err(reason) => {
                        // Without the eager one there is nothing to compile.
                        ways.retain(|&other| way == Torch::Compiled && other == Torch::Eager);
                        notes.push(format!("{} {}: {reason}", self.model.name, self.precision.name()));
                        break;
                    }
                }
            }
        }
        Ok(Row {
            ours: middle(ours).context("nothing was measured")?,
            eager: middle(eager),
            compiled: middle(compiled),
        })
    }
}

/// The median of the times, with the largest peak and the losses, which are the same every time.
fn middle(measured: Vec<Measured>) -> Option<Measured> {
    let seconds = measured.iter().map(|one| one.seconds).collect::<Vec<_>>();
    let peak = measured.iter().filter_map(|one| one.peak).max();
    let losses = measured.into_iter().next()?.losses;
    Some(Measured {
        seconds: median(seconds),
        losses,
        peak,
    })
}

struct Row {
    ours: Measured,
    eager: Option<Measured>,
    compiled: Option<Measured>,
}

impl Row {
    fn cells(&self, model: &Model, precision: Precision, parameters: &[Value]) -> [String; 13] {
        let dash = || "-".to_owned();
        let achieved = |measured: &Measured| match model.only_optimizer {
            true => scaled(OPTIMIZER_BYTES * count(parameters) / measured.seconds, "B/s"),
            false => scaled(model.operations() / measured.seconds, "FLOP/s"),
        };
        let ratio = |peer: &Measured| format!("{:.3}", self.ours.seconds / peer.seconds);
        let (eager, compiled) = (self.eager.as_ref(), self.compiled.as_ref());
        let peak = |measured: &Measured| measured.peak.map_or_else(dash, bytes);
        [
            model.name.to_owned(),
            precision.name().to_owned(),
            time(self.ours.seconds),
            eager.map_or_else(dash, |peer| time(peer.seconds)),
            compiled.map_or_else(dash, |peer| time(peer.seconds)),
            eager.map_or_else(dash, ratio),
            compiled.map_or_else(dash, ratio),
            achieved(&self.ours),
            eager.map_or_else(dash, achieved),
            peak(&self.ours),
            eager.map_or_else(dash, peak),
            self.largest(apart).map_or_else(dash, |apart| format!("{apart:.0e}")),
            self.largest(change_apart)
                .map_or_else(dash, |apart| format!("{apart:.0e}")),
        ]
    }

    /// The larger difference of our losses to those of the peers; none without peers.
    fn largest(&self, difference: impl Fn(&[f64], &[f64]) -> f64) -> Option<f64> {
        let peers = [&self.eager, &self.compiled].into_iter().flatten();
        peers
            .map(|peer| difference(&self.ours.losses, &peer.losses))
            .max_by(f64::total_cmp)
    }
}

/// The largest relative difference of losses.
fn apart(ours: &[f64], theirs: &[f64]) -> f64 {
    largest(ours.iter().zip(theirs).map(|(ours, theirs)| (ours - theirs) / theirs))
}

/// The largest difference of how losses have changed since the first, as a part of the largest change.
fn change_apart(ours: &[f64], theirs: &[f64]) -> f64 {
    let changes = |losses: &[f64]| -> Vec<f64> {
        let first = losses.first().copied().unwrap_or(f64::NAN);
        losses.iter().map(|loss| loss - first).collect()
    };
    let (ours, theirs) = (changes(ours), changes(theirs));
    let most = largest(theirs.iter().copied());
    largest(ours.iter().zip(&theirs).map(|(ours, theirs)| (ours - theirs) / most))
}

/// The largest of these without their signs; one that is not a number is the largest of all.
fn largest(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.map(f64::abs).max_by(f64::total_cmp).unwrap_or(f64::NAN)
}

/// Numbers that are trained.
fn count(parameters: &[Value]) -> f64 {
    let sizes = |parameter: &Value| -> f64 {
        let shape = parameter[1].as_array();
        shape.into_iter().flatten().filter_map(Value::as_f64).product()
    };
    parameters.iter().map(sizes).sum()
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1} us", 1e6 * s),
        s => format!("{:.2} ms", 1e3 * s),
    }
}

fn scaled(value: f64, unit: &str) -> String {
    let (factor, prefix) = if value < 1e12 { (1e9, "G") } else { (1e12, "T") };
    format!("{:.2} {prefix}{unit}", value / factor)
}

#[cfg(test)]
mod tests {
    use super::{Precision, apart, change_apart};

    #[test]
    fn a_network_that_does_not_learn_is_noticed_though_its_losses_are_near() {
        let (ours, theirs) = ([1.0, 1.0, 1.0], [1.0, 0.996, 0.992]);
        assert!(apart(&ours, &theirs) < Precision::Bf16.tolerance());
        assert_eq!(change_apart(&ours, &theirs), 1.0);
    }

    #[test]
    fn a_learning_rate_that_is_a_little_too_large_is_noticed() {
        let theirs: Vec<f64> = (0..20).map(|step| 1.0 - 0.001 * f64::from(step)).collect();
        let ours: Vec<f64> = (0..20).map(|step| 1.0 - 0.0012 * f64::from(step)).collect();
        assert!(apart(&ours, &theirs) < Precision::Bf16.tolerance());
        assert!(change_apart(&ours, &theirs) > Precision::Bf16.change_tolerance());
        assert!(change_apart(&theirs, &theirs) == 0.0);
    }

    #[test]
    fn losses_that_are_no_numbers_or_never_change_are_no_agreement() {
        for losses in [&[1.0, f64::NAN][..], &[f64::NAN, 1.0], &[1.0, 1.0], &[]] {
            assert!(change_apart(losses, losses).is_nan(), "{losses:?}");
        }
        assert!(apart(&[f64::NAN, 1.0], &[1.0, 1.0]).is_nan());
    }
}
