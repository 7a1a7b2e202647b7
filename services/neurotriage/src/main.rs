//! Entry point of the command `neurotriage`.
//!
//! Exit codes: 0 success, 1 failure, 2 wrong usage.

use std::process::ExitCode;

use clap::Parser as _;
use neurotriage::cli::{self, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("neurotriage: {error:#}");
            ExitCode::FAILURE
        }
    }
}
