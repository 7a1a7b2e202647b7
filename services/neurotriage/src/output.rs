//! What the command leaves behind: files that are whole or not there, and lines on stdout.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Writes `bytes` to `folder/name` under a temporary name first, so that no half file is ever seen.
///
/// # Errors
/// If the folder can't be written.
pub(crate) fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
    let path = folder.join(name);
    let write = || -> io::Result<()> {
        let mut builder = tempfile::Builder::new();
        readable_as_others(&mut builder);
        let mut file = builder.prefix(".part-").tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.persist(&path)?;
        Ok(())
    };
    write().with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// Temporary files are readable by their owner alone; what stays is readable by whom the caller's umask lets read
/// other files.
fn readable_as_others(builder: &mut tempfile::Builder<'_, '_>) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    #[cfg(not(unix))]
    let _ = builder;
}

/// Writes `text` to stdout; a reader that has gone away is no failure.
///
/// # Errors
/// If stdout can't be written.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("write to stdout")
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Returns a time of so many seconds after 1970 as a person and a program read it.
pub(crate) fn time_text(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// Returns the most memory that this process has held, in bytes; `None` where the system does not
/// tell.
pub(crate) fn peak_memory_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_and_replaces_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        write_whole(folder.path(), "a.txt", b"one").unwrap();
        let path = write_whole(folder.path(), "a.txt", b"two").unwrap();
        assert_eq!(fs::read(path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let missing = folder.path().join("missing");
        let error = write_whole(&missing, "a.txt", b"x").unwrap_err();
        assert!(format!("{error:#}").contains("missing"), "{error:#}");
    }

    #[test]
    fn a_time_is_told_in_utc() {
        assert_eq!(time_text(0), "1970-01-01T00:00:00Z");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_peak_of_memory_is_known() {
        assert!(peak_memory_bytes().unwrap() > 1024 * 1024);
    }
}
