//! Files that are whole or not there.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use crate::TrainingError;

/// Writes a file so that a reader sees the old one or the new one, never a part.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), TrainingError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".part");
    let written = File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        let _ = fs::remove_file(&temporary);
        TrainingError::Io { path: path.to_owned(), source }
    })
}
