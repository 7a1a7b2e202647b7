//! Files of keys for the services.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, ensure};
use neurotriage_sealing::{KeyId, Keyring};
use time::OffsetDateTime;

/// Reads the keys of `file`, or makes it with fresh ones if there is none.
///
/// # Errors
/// If the file can't be read or written, or is not a keyring.
pub(crate) fn open_or_create(file: &Path) -> anyhow::Result<Keyring> {
    if !file.exists() {
        // Another program may have made it in between: then that one counts.
        match create_new(file) {
            Ok(()) => {}
            Err(error) if file.exists() => drop(error),
            Err(error) => return Err(error),
        }
    }
    let (keyring, _) =
        Keyring::read(file).with_context(|| format!("read keyring {}", file.display()))?;
    Ok(keyring)
}

/// Writes a file with fresh keys that its owner alone can read. An existing file is left alone.
///
/// # Errors
/// If there is a file already, or the folder can't be written.
pub(crate) fn create_new(file: &Path) -> anyhow::Result<()> {
    let today = OffsetDateTime::now_utc().date().to_string();
    let id = KeyId::parse(&today).ok_or_else(|| anyhow!("{today} is no name of a key"))?;
    let text = Keyring::generate(&id).context("make keys")?;
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    let write = || -> io::Result<()> {
        // Readable by its owner alone, and whole before it has its name.
        let mut part = tempfile::Builder::new().prefix(".part-").tempfile_in(&folder)?;
        part.write_all(text.as_bytes())?;
        part.as_file().sync_all()?;
        part.persist_noclobber(file)?;
        fs::File::open(&folder)?.sync_all()
    };
    ensure!(
        !file.exists(),
        "{} is there already; choose another name, its keys may be needed still",
        file.display()
    );
    write().with_context(|| format!("write new keyring {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("records.keys");
        open_or_create(&file).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        open_or_create(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        let error = create_new(&file).unwrap_err();
        assert!(format!("{error:#}").contains("records.keys"), "{error:#}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_broken_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("records.keys");
        fs::write(&file, "nonsense").unwrap();
        assert!(open_or_create(&file).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "nonsense");
    }
}
