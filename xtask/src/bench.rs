//! Times of the seed network: by the library's layers and, in the same run, by libtorch's own; of a
//! training step of the default network, in ways that do the same faster; of localisation; of the
//! search for hospitals; and of records.
//!
//! Each cell of the table is a process of its own, so that its peak of memory is its own too. The
//! numbers are for reading; no test depends on them.

use std::{
    path::{self, PathBuf},
    thread,
};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::{libtorch, libtorch::Libtorch, process, workspace::Workspace};

/// The program that measures one cell.
const PROGRAM: [&str; 7] =
    ["bench", "--package", "neurotriage-network", "--profile", "release", "--bench", "seed"];

/// Bytes of a gibibyte.
const GIB: f64 = (1_u64 << 30) as f64;

/// Most voxels along an axis that are asked for.
const SIDE_MAX: usize = 256;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Task {
    /// Forward, backward and optimiser step; 64 and 128 voxels a side, batches of 1 and 2.
    Training,
    /// Forward alone; 128 voxels a side, batch of 1.
    Inference,
    /// Forward, backward and optimiser step of the network in a training file, at 128 voxels a side:
    /// in 32 bits, with memory kept from step to step, and in 16 bits where the device has them.
    Step,
    /// Localisation of a mask in memory, without registration.
    Localise,
    /// The search for the nearest of 20,000 hospitals and their ranking, beside a look at every one.
    Hospitals,
    /// Get, search and create of patients over gRPC, beside pgbench with the same statements; at 1,000 and 100,000
    /// patients. Needs the PostgreSQL server.
    Records,
}

/// What is timed, and how often.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// What to time.
    task: Task,
    /// Voxels along each axis, multiples of 16.
    #[arg(long, value_delimiter = ',')]
    sides: Vec<usize>,
    /// Samples at once.
    #[arg(long, value_delimiter = ',')]
    batches: Vec<usize>,
    /// Repetitions of each cell after a first that does not count; the median is shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    steps: u16,
    /// Training file whose network `step` times.
    #[arg(long, default_value = "assets/models/train-default.toml", value_name = "FILE")]
    config: PathBuf,
    /// Folder of cases whose masks `localise` times; phantoms without it.
    #[arg(long, env = "NEUROTRIAGE_CASES", value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Python with nibabel, numpy and scipy: `localise` is timed beside what one would write with them.
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
    /// Threads of libtorch; without it, one for each core.
    #[arg(long)]
    threads: Option<usize>,
}

/// What the program prints.
#[derive(Debug, Deserialize)]
struct Cell {
    seconds: Vec<f64>,
    peak_bytes: u64,
}

/// Builds the program, checks that both implementations are the same network, and prints the table.
pub(crate) fn bench(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    if arguments.task == Task::Localise {
        let mut program = workspace.cargo();
        program.args(["bench", "--package", "neurotriage-anatomy", "--profile", "release"]);
        program.args(["--bench", "localise", "--"]);
        if let Some(folder) = &arguments.cases {
            // The program runs in the folder of its package.
            program.arg("--cases").arg(path::absolute(folder)?);
        }
        if let Some(python) = &arguments.peer {
            // A bare name is looked for on the path.
            let is_path = python.components().count() > 1;
            program.arg("--peer").arg(if is_path {
                path::absolute(python)?
            } else {
                python.clone()
            });
        }
        return process::run(&mut program);
    }
    if arguments.task == Task::Hospitals {
        let mut program = workspace.cargo();
        program.args(["bench", "--package", "neurotriage-referral", "--bench", "hospitals"]);
        return process::run(&mut program);
    }
    if arguments.task == Task::Records {
        let mut program = workspace.cargo();
        program.args(["bench", "--package", "neurotriage-records", "--bench", "records"]);
        return process::run(&mut program);
    }
    let (sides, batches) = cells(arguments)?;
    let libtorch = libtorch::ensure(workspace)?;
    let threads = match arguments.threads {
        Some(threads) => threads.max(1),
        None => thread::available_parallelism().map_or(1, usize::from),
    };
    let mut build = workspace.cargo();
    process::run(build.args(PROGRAM).arg("--no-run").envs(libtorch.environment()))?;

    let threads = threads.to_string();
    if arguments.task != Task::Step {
        measured(workspace, &libtorch, &["check", "--threads", &threads], Memory::GivenBack)
            .context("compare the two implementations")?;
    }
    let (task, what) = match arguments.task {
        Task::Training => ("training", "one training step"),
        Task::Inference => ("inference", "one forward pass"),
        Task::Step => return steps(workspace, &libtorch, arguments, &threads, (&sides, &batches)),
        Task::Localise | Task::Hospitals | Task::Records => return Ok(()),
    };
    println!(
        "{what} of the seed network (3 channels, 16 to 256, 32-bit) on {threads} threads, median \
         of {}; eager: libtorch's own layers, contiguous",
        arguments.steps
    );
    println!("{HEAD}");
    for side in sides {
        for &batch in &batches {
            let [side, batch, steps] =
                [side, batch, usize::from(arguments.steps)].map(|number| number.to_string());
            let cell = |engine| -> Result<Cell> {
                process::check_stop()?;
                let arguments = [
                    task,
                    "--engine",
                    engine,
                    "--side",
                    &side,
                    "--batch",
                    &batch,
                    "--steps",
                    &steps,
                    "--threads",
                    &threads,
                ];
                let text = measured(workspace, &libtorch, &arguments, Memory::GivenBack)
                    .with_context(|| format!("time {task} at {side} voxels a side by {batch}"))?;
                parse(&text)
            };
            println!("{}", row([&side, &batch], &cell("ours")?, &cell("eager")?));
        }
    }
    Ok(())
}

/// Times a training step of the network in a file, in each of [`WAYS`].
fn steps(
    workspace: &Workspace,
    libtorch: &Libtorch,
    arguments: &Arguments,
    threads: &str,
    (sides, batches): (&[usize], &[usize]),
) -> Result<()> {
    let config = arguments.config.canonicalize().with_context(|| {
        format!("find the training file {}; --config names another", arguments.config.display())
    })?;
    let config = config.to_str().context("the path of the training file is not UTF-8")?;
    println!(
        "one training step of {} on {threads} threads, median of {}",
        arguments.config.display(),
        arguments.steps
    );
    println!("side  batch  way                              s  as fast as the first    GiB");
    for side in sides {
        for batch in batches {
            let [side, batch, steps] =
                [*side, *batch, usize::from(arguments.steps)].map(|number| number.to_string());
            let mut first = None;
            for (way, precision, memory) in WAYS {
                process::check_stop()?;
                let arguments = [
                    "training",
                    "--config",
                    config,
                    "--precision",
                    precision,
                    "--side",
                    &side,
                    "--batch",
                    &batch,
                    "--steps",
                    &steps,
                    "--threads",
                    threads,
                ];
                let text = measured(workspace, libtorch, &arguments, memory)
                    .with_context(|| format!("time a step at {side} voxels a side by {batch}"))?;
                let cell = parse(&text)?;
                let seconds = median(&cell.seconds);
                println!(
                    "{side:>4}  {batch:>5}  {way:28} {seconds:>5.3}  {:>21.2}  {:>5.2}",
                    *first.get_or_insert(seconds) / seconds,
                    cell.peak_bytes as f64 / GIB
                );
            }
        }
    }
    Ok(())
}

/// Ways to compute the same step: name, precision, memory.
const WAYS: [(&str, &str, Memory); 3] = [
    ("32 bits", "f32", Memory::GivenBack),
    ("32 bits, memory kept", "f32", Memory::Kept),
    ("auto, memory kept", "auto", Memory::Kept),
];

/// What becomes of the memory of one step before the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// It goes back to the system, as the C library does by default.
    GivenBack,
    /// It stays, as docs/training.md advises.
    Kept,
}

impl Memory {
    /// Returns the variables by which the GNU C library is told.
    fn environment(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::GivenBack => &[],
            Self::Kept => &[
                ("MALLOC_MMAP_THRESHOLD_", "4294967296"),
                ("MALLOC_TRIM_THRESHOLD_", "17179869184"),
                ("MALLOC_TOP_PAD_", "268435456"),
                ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"),
            ],
        }
    }
}

const HEAD: &str = "side  batch   ours s  eager s  eager/ours  ours GiB  eager GiB";

/// Returns the sides and batches asked for, or those of the task.
fn cells(arguments: &Arguments) -> Result<(Vec<usize>, Vec<usize>)> {
    let (sides, batches): (&[usize], &[usize]) = match arguments.task {
        Task::Training => (&[64, 128], &[1, 2]),
        Task::Inference | Task::Step | Task::Localise | Task::Hospitals | Task::Records => {
            (&[128], &[1])
        }
    };
    let or = |asked: &[usize], usual: &[usize]| {
        if asked.is_empty() { usual.to_vec() } else { asked.to_vec() }
    };
    let (sides, batches) = (or(&arguments.sides, sides), or(&arguments.batches, batches));
    for &side in &sides {
        let fits = side > 0 && side % 16 == 0 && side <= SIDE_MAX;
        ensure!(fits, "side {side} can't work; give multiples of 16 up to {SIDE_MAX}");
    }
    ensure!(!batches.contains(&0), "a batch of 0 can't work; give 1 or more");
    Ok((sides, batches))
}

/// Runs the program and returns what it printed.
fn measured(
    workspace: &Workspace,
    libtorch: &Libtorch,
    arguments: &[&str],
    memory: Memory,
) -> Result<String> {
    let mut command = workspace.cargo();
    command.args(PROGRAM).arg("--quiet").arg("--").args(arguments);
    // Threads that wait do not take the cores from each other.
    command.envs(libtorch.environment()).env("OMP_WAIT_POLICY", "PASSIVE");
    command.envs(memory.environment().iter().copied());
    process::output(&mut command)
}

fn parse(text: &str) -> Result<Cell> {
    let line = text.lines().last().context("the benchmark printed nothing")?;
    let cell: Cell = serde_json::from_str(line).context("read what the benchmark printed")?;
    ensure!(!cell.seconds.is_empty(), "the benchmark repeated nothing");
    Ok(cell)
}

fn row([side, batch]: [&str; 2], ours: &Cell, eager: &Cell) -> String {
    let (ours_seconds, eager_seconds) = (median(&ours.seconds), median(&eager.seconds));
    format!(
        "{side:>4}  {batch:>5}  {ours_seconds:>7.3}  {eager_seconds:>7.3}  {:>10.2}  {:>8.2}  {:>9.2}",
        eager_seconds / ours_seconds,
        ours.peak_bytes as f64 / GIB,
        eager.peak_bytes as f64 / GIB
    )
}

/// Returns the middle value, or the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle).copied().unwrap_or(f64::NAN);
    if sorted.len() % 2 == 1 {
        return upper;
    }
    let lower = middle.checked_sub(1).and_then(|at| sorted.get(at)).copied().unwrap_or(f64::NAN);
    f64::midpoint(lower, upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(task: Task, sides: &[usize], batches: &[usize]) -> Arguments {
        Arguments {
            task,
            sides: sides.to_vec(),
            batches: batches.to_vec(),
            steps: 3,
            config: PathBuf::new(),
            threads: None,
            cases: None,
            peer: None,
        }
    }

    #[test]
    fn the_middle_value_stands_for_all() {
        for (values, expected) in
            [(&[3.0][..], 3.0), (&[9.0, 1.0, 2.0], 2.0), (&[4.0, 1.0, 2.0, 9.0], 3.0)]
        {
            assert_eq!(median(values), expected, "{values:?}");
        }
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn each_task_has_its_cells_and_takes_others() {
        let usual = cells(&asked(Task::Training, &[], &[])).expect("they can work");
        assert_eq!(usual, (vec![64, 128], vec![1, 2]));
        let usual = cells(&asked(Task::Inference, &[], &[])).expect("they can work");
        assert_eq!(usual, (vec![128], vec![1]));
        let other = cells(&asked(Task::Inference, &[32], &[4])).expect("they can work");
        assert_eq!(other, (vec![32], vec![4]));
        for (sides, batches) in [(&[40][..], &[1][..]), (&[0], &[1]), (&[272], &[1]), (&[64], &[0])]
        {
            assert!(
                cells(&asked(Task::Training, sides, batches)).is_err(),
                "{sides:?} {batches:?}"
            );
        }
    }

    #[test]
    fn a_row_stands_under_its_head() {
        let cell = |seconds, gib: u64| Cell { seconds: vec![seconds], peak_bytes: gib << 30 };
        let row = row(["128", "2"], &cell(2.0, 5), &cell(3.0, 6));
        assert_eq!(row.len(), HEAD.len());
        let numbers: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(numbers, ["128", "2", "2.000", "3.000", "1.50", "5.00", "6.00"]);
    }

    #[test]
    fn what_is_no_measurement_is_refused() {
        let good = "warning\n{\"seconds\":[1.5],\"peak_bytes\":7}\n";
        assert_eq!(parse(good).expect("a line of the program").peak_bytes, 7);
        for text in ["", "no json", "{\"seconds\":[],\"peak_bytes\":7}"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
