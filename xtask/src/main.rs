//! The project's own commands: `cargo xtask help` lists them.
//!
//! Knows how to fetch libtorch, start a throwaway Postgres, run the checks and start the demo. It
//! depends on no other crate of the workspace, so that it builds in seconds on a bare machine.
#![expect(clippy::print_stdout, reason = "a command prints to its user")]

mod bench;
mod ci;
mod demo;
mod fhir;
mod libtorch;
mod manifests;
mod postgres;
mod process;
mod test;
mod tidy;
mod tools;
mod workspace;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Commands for working on NeuroTriage.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetches libtorch once and points cargo at it (`.cargo/libtorch.toml`).
    ///
    /// A folder named by the environment variable LIBTORCH is used as it is.
    Libtorch {
        /// Take the whole CUDA set (3.6 GB unpacked) in place of the CPU libraries.
        #[arg(long)]
        cuda: bool,
    },
    /// Builds the program and diagnoses a case with the four services on loopback.
    Demo {
        /// Folder with the four NIfTI files of a case; without it a synthetic case is made.
        #[arg(long)]
        case: Option<PathBuf>,
        /// Symptoms as the patient wrote them, or a file that holds them; without a case and
        /// without this, those of the synthetic case.
        #[arg(long, value_name = "TEXT_OR_FILE")]
        symptoms: Option<String>,
        /// Folder the report is written to.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Runs the tests against SQLite and a throwaway Postgres.
    Test {
        /// Passed on to the test runner: filters, `-p CRATE`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Times the seed network, by the project's layers and by libtorch's own.
    Bench(bench::Arguments),
    /// Runs every check that a change must pass, and the tests.
    Ci,
    /// Checks the direction of dependencies, the map and the layout of the sources.
    Tidy,
    /// Renders and validates the Kubernetes manifests.
    Manifests,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    process::stop_on_signals()?;
    let workspace = workspace::Workspace::find()?;
    match command {
        Command::Libtorch { cuda } => {
            let variant = if cuda { libtorch::Variant::Cuda } else { libtorch::Variant::Cpu };
            let libtorch = libtorch::install(&workspace, variant)?;
            println!("libtorch: {}", libtorch.folder().display());
            Ok(())
        }
        Command::Demo { case, symptoms, out } => {
            demo::demo(&workspace, case.as_deref(), symptoms.as_deref(), out.as_deref())
        }
        Command::Test { arguments } => test::test(&workspace, &arguments),
        Command::Bench(arguments) => bench::bench(&workspace, &arguments),
        Command::Ci => ci::ci(&workspace),
        Command::Tidy => tidy::tidy(&workspace),
        Command::Manifests => manifests::manifests(&workspace),
    }
}
