//! For build scripts: tells the linker of a package's programs and tests where libtorch is.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Library with the CUDA kernels; only CUDA builds of libtorch have it.
const CUDA_LIBRARY: &str = "libtorch_cuda.so";

/// Prints cargo's directives for the libtorch that the variable `LIBTORCH` names. Returns whether it
/// names one.
///
/// Programs then find libtorch without `LD_LIBRARY_PATH`.
#[allow(clippy::print_stdout, reason = "cargo reads the directives of build scripts there")]
pub fn emit() -> bool {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    let Some(libtorch) = env::var_os("LIBTORCH").map(PathBuf::from) else { return false };
    let target_os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    for argument in arguments(&libtorch.join("lib"), &target_os) {
        println!("cargo::rustc-link-arg={argument}");
    }
    true
}

/// Returns what the linker is told.
fn arguments(folder: &Path, target_os: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    if matches!(target_os, "linux" | "macos") {
        arguments.push(format!("-Wl,-rpath,{}", folder.display()));
    }
    if target_os == "linux" && folder.join(CUDA_LIBRARY).exists() {
        // No symbol of it is named anywhere: libtorch finds its kernels where it is loaded, and the
        // linker drops it from programs unless told to keep it.
        arguments.push(format!("-L{}", folder.display()));
        arguments.push(format!("-Wl,--no-as-needed,-l:{CUDA_LIBRARY},--as-needed"));
    }
    arguments
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_cuda_library_is_kept_where_there_is_one() {
        let folder = env::temp_dir().join(format!("libtorch-link-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let rpath = format!("-Wl,-rpath,{}", folder.display());
        assert_eq!(arguments(&folder, "linux"), [rpath.as_str()]);
        fs::write(folder.join(CUDA_LIBRARY), "").unwrap();
        let found = arguments(&folder, "linux");
        assert_eq!((found.len(), &found[0]), (3, &rpath));
        assert!(found[2].contains("no-as-needed"), "{found:?}");
        assert_eq!(arguments(&folder, "macos"), [rpath]);
        assert!(arguments(&folder, "windows").is_empty());
        fs::remove_dir_all(&folder).unwrap();
    }
}
