//! Lets the tests of this crate find libtorch, and says what to do where there is none.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-changed=build.rs");
    let Some(libtorch) = env::var_os("LIBTORCH") else {
        println!("cargo::error=LIBTORCH is not set: run `cargo xtask libtorch`, which fetches it");
        return ExitCode::SUCCESS;
    };
    let target_os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if target_os == "linux" || target_os == "macos" {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}/lib", libtorch.to_string_lossy());
    }
    ExitCode::SUCCESS
}
