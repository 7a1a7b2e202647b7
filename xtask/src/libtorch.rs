//! libtorch from the wheels on PyPI: fetched once, kept in the cache, named to cargo.
//!
//! `docs/adr/0002-libtorch-from-wheels.md` says why wheels.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    process,
    workspace::{self, Workspace},
};

const VERSION: &str = "2.13.0";
/// Python tag of the wheel whose hash is pinned; the machine's own Python may be another.
const PYTHON_VERSION: &str = "3.11";
const WHEELS_CPU: &str = include_str!("../libtorch-cpu.txt");
const WHEELS_CUDA: &str = include_str!("../libtorch-cuda.txt");
/// glibc versions (2.x) that wheels are built for; pip wants each named when told the platform.
const GLIBC_MINORS: RangeInclusive<u32> = 5..=28;
/// In a finished folder: the wheels it was made from.
const MARKER: &str = "wheels.txt";

/// Which libraries to take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// The CPU libraries: a download of half a gigabyte.
    Cpu,
    /// Everything, for NVIDIA cards: 3.6 GB unpacked.
    Cuda,
}

impl Variant {
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }

    fn wheels(self) -> &'static str {
        match self {
            Self::Cpu => WHEELS_CPU,
            Self::Cuda => WHEELS_CUDA,
        }
    }
}

/// A libtorch that builds can link.
pub(crate) struct Libtorch {
    folder: PathBuf,
}

impl Libtorch {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns what cargo and the programs it runs need to know.
    pub(crate) fn environment(&self) -> [(&'static str, OsString); 3] {
        // Programs carry the path themselves; documentation tests do not.
        let mut search = self.folder.join("lib").into_os_string();
        if let Some(present) = env::var_os("LD_LIBRARY_PATH").filter(|path| !path.is_empty()) {
            search.push(":");
            search.push(present);
        }
        [
            ("LIBTORCH", self.folder.clone().into()),
            ("LIBTORCH_BYPASS_VERSION_CHECK", "1".into()),
            ("LD_LIBRARY_PATH", search),
        ]
    }
}

/// Returns the libtorch in use; fetches the CPU libraries if there is none yet.
pub(crate) fn ensure(workspace: &Workspace) -> Result<Libtorch> {
    let settings = Settings::of(workspace);
    if let Some(folder) = settings.chosen_by_user()? {
        return settings.write(folder);
    }
    match settings.read() {
        Some(folder) if check(&folder).is_ok() => Ok(Libtorch { folder }),
        Some(_) | None => fetch(&settings, Variant::Cpu),
    }
}

/// Fetches the libraries of `variant` unless they are there, and points cargo at them.
pub(crate) fn install(workspace: &Workspace, variant: Variant) -> Result<Libtorch> {
    let settings = Settings::of(workspace);
    if let Some(folder) = settings.chosen_by_user()? {
        println!("LIBTORCH is set: using it as it is");
        return settings.write(folder);
    }
    fetch(&settings, variant)
}

fn fetch(settings: &Settings, variant: Variant) -> Result<Libtorch> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!(
            "libtorch is fetched for Linux on x86_64 only: unpack libtorch {VERSION} for this \
             machine yourself and set LIBTORCH to its folder"
        );
    }
    let cache = workspace::cache()?;
    let folder = cache.join(format!("libtorch-{VERSION}-{}", variant.name()));
    let lock = File::create(cache.join("libtorch.lock")).context("create the lock of libtorch")?;
    lock.lock().context("wait for another fetch of libtorch")?;
    if fs::read_to_string(folder.join(MARKER)).is_ok_and(|wheels| wheels == variant.wheels()) {
        return settings.write(folder);
    }

    println!("fetching libtorch {VERSION} ({}) into {}", variant.name(), folder.display());
    let scratch = tempfile::tempdir_in(&cache).context("create a folder to unpack libtorch in")?;
    let wheels = scratch.path().join("wheels");
    download(variant, scratch.path(), &wheels)?;
    let unpacked = scratch.path().join("libtorch");
    let script = scratch.path().join("unpack_wheels.py");
    fs::write(&script, include_str!("../unpack_wheels.py")).context("write the unpacker")?;
    let mut unpack = Command::new("python3");
    unpack.arg(&script).arg(&wheels).arg(&unpacked).arg(variant.name());
    process::run(&mut unpack)?;
    fs::write(unpacked.join(MARKER), variant.wheels()).context("mark libtorch as complete")?;
    check(&unpacked)?;
    if folder.exists() {
        fs::rename(&folder, scratch.path().join("old")).context("set the old libtorch aside")?;
    }
    fs::rename(&unpacked, &folder)
        .with_context(|| format!("move libtorch to {}", folder.display()))?;
    settings.write(folder)
}

/// Downloads exactly the pinned wheels; pip checks their hashes.
fn download(variant: Variant, scratch: &Path, wheels: &Path) -> Result<()> {
    let requirements = scratch.join("requirements.txt");
    fs::write(&requirements, variant.wheels()).context("write the list of wheels")?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary=:all:"])
        .args(["--disable-pip-version-check", "--no-cache-dir", "--progress-bar=off", "--quiet"])
        .args(["--python-version", PYTHON_VERSION])
        .args(["--platform", "manylinux2014_x86_64"]);
    for minor in GLIBC_MINORS {
        pip.args(["--platform", &format!("manylinux_2_{minor}_x86_64")]);
    }
    pip.arg("--dest").arg(wheels).arg("--requirement").arg(&requirements);
    process::run(&mut pip).context(
        "download the wheels of libtorch: needs python3 with pip (Debian: python3-pip) and PyPI",
    )
}

/// Fails unless `folder` looks like a libtorch.
fn check(folder: &Path) -> Result<()> {
    let header = folder.join("include/torch/csrc/api/include/torch/torch.h");
    let library = folder.join("lib/libtorch.so");
    for file in [&header, &library] {
        if !file.exists() && cfg!(target_os = "linux") {
            bail!("{} is no libtorch: it lacks {}", folder.display(), file.display());
        }
    }
    Ok(())
}

/// The file that names libtorch to cargo; `.cargo/config.toml` includes it.
struct Settings {
    file: PathBuf,
}

impl Settings {
    fn of(workspace: &Workspace) -> Self {
        Self { file: workspace.root().join(".cargo/libtorch.toml") }
    }

    /// Returns the folder that the user named by LIBTORCH.
    ///
    /// Cargo sets the variable for this program from the file, so only another value is the user's.
    fn chosen_by_user(&self) -> Result<Option<PathBuf>> {
        let named = env::var_os("LIBTORCH").map(PathBuf::from);
        match named.filter(|folder| self.read().as_ref() != Some(folder)) {
            Some(folder) => {
                check(&folder).context("LIBTORCH")?;
                Ok(Some(folder))
            }
            None => Ok(None),
        }
    }

    fn read(&self) -> Option<PathBuf> {
        let text = fs::read_to_string(&self.file).ok()?;
        folder_in(&text)
    }

    fn write(&self, folder: PathBuf) -> Result<Libtorch> {
        let path = folder.to_str().context("the path of libtorch is not UTF-8")?;
        let text = settings_text(path)?;
        if fs::read_to_string(&self.file).is_ok_and(|present| present == text) {
            return Ok(Libtorch { folder });
        }
        fs::write(&self.file, text).with_context(|| format!("write {}", self.file.display()))?;
        Ok(Libtorch { folder })
    }
}

fn settings_text(folder: &str) -> Result<String> {
    // A literal TOML string knows no escapes.
    if folder.contains(['\'', '\n']) {
        bail!("the path of libtorch holds a quote or a line break: {folder}");
    }
    Ok(format!(
        "# Written by `cargo xtask libtorch`; not committed.\n\
         [env]\n\
         LIBTORCH = '{folder}'\n\
         LIBTORCH_BYPASS_VERSION_CHECK = '1'\n"
    ))
}

fn folder_in(text: &str) -> Option<PathBuf> {
    let line = text.lines().find_map(|line| line.strip_prefix("LIBTORCH = "))?;
    Some(line.trim_matches(['\'', '"']).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_written_is_the_folder_read() {
        let folder = "/home/somebody with space/libtorch";
        let text = settings_text(folder).expect("no quote in it");
        assert_eq!(folder_in(&text), Some(folder.into()));
    }

    #[test]
    fn a_path_that_would_break_the_file_is_refused() {
        for folder in ["/a'b", "/a\nb"] {
            assert!(settings_text(folder).is_err(), "path: {folder:?}");
        }
    }

    #[test]
    fn every_wheel_is_pinned_by_hash() {
        for wheels in [WHEELS_CPU, WHEELS_CUDA] {
            let named = wheels.lines().filter(|line| line.contains("==")).count();
            let pinned = wheels.lines().filter(|line| line.contains("--hash=sha256:")).count();
            assert!(named > 0);
            assert_eq!(named, pinned);
        }
    }

    #[test]
    fn a_folder_without_headers_is_no_libtorch() {
        let folder = tempfile::tempdir().expect("create a folder");
        assert!(check(folder.path()).is_err());
    }
}
