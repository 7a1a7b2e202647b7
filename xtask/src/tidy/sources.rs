//! Rules about what a source file may say, found by looking for words, line by line.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Length from which a file is reported, in lines.
const LINES_MAX: usize = 600;
const FOLDERS: [&str; 5] = ["libs", "services", "migrations", "tests", "xtask"];
/// Modules of a service that may know the transport or the database.
const EDGES: [&str; 6] = ["config", "grpc", "lib", "main", "store", "upstream"];
const EDGE_CRATES: [&str; 4] = ["tonic", "prost", "sea_orm", "prost_types"];

/// A source file.
pub(super) struct Source {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

/// Returns every Rust source of the workspace.
pub(super) fn read(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
        for entry in entries {
            let path = entry.with_context(|| format!("list {}", folder.display()))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("read {}", path.display()))?;
                let path = path.strip_prefix(root).context("a source lies outside")?;
                sources.push(Source { path: path.to_string_lossy().into_owned(), text });
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(sources)
}

/// Returns a warning if the file is long.
pub(super) fn length_warning(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > LINES_MAX).then(|| format!("{} has {lines} lines: split it", source.path))
}

/// Returns a sentence for each line that a rule forbids.
pub(super) fn breaches(source: &Source) -> Vec<String> {
    let mut breaches = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        if line.trim() == "#[cfg(test)]" {
            // By convention the tests are the end of a file.
            break;
        }
        if line.trim_start().starts_with("//") {
            continue;
        }
        for problem in [
            status_made(&source.path, line),
            environment_read(&source.path, line),
            edge_crossed(&source.path, line),
            transaction_begun(&source.path, line),
        ] {
            breaches.extend(problem.map(|text| format!("{}:{}: {text}", source.path, index + 1)));
        }
    }
    breaches
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/")
        || path.contains("/tests/")
        || path.ends_with("/tests.rs")
        || path.starts_with("libs/testkit/")
}

/// A status is made in one place, so that every error carries its details.
fn status_made(path: &str, line: &str) -> Option<String> {
    if path.starts_with("libs/service-kit/") || path.starts_with("xtask/") || is_test(path) {
        return None;
    }
    let made = line.match_indices("Status::").any(|(at, found)| {
        let whole_word = !line[..at].ends_with(|before: char| before.is_alphanumeric());
        let after = &line[at + found.len()..];
        whole_word && after.starts_with(|next: char| next.is_lowercase()) && after.contains('(')
    });
    made.then(|| "a status is made in libs/service-kit only".to_owned())
}

/// Settings are read in one file of each program.
fn environment_read(path: &str, line: &str) -> Option<String> {
    let allowed = path.ends_with("/config.rs")
        || path.ends_with("/build.rs")
        // Part of build scripts.
        || path.starts_with("libs/libtorch-link/")
        || path.starts_with("xtask/")
        || is_test(path);
    let read = ["env::var(", "env::var_os(", "env::vars"].iter().any(|call| line.contains(call));
    (read && !allowed).then(|| "the environment is read in config.rs only".to_owned())
}

/// The domain modules of a service know neither the transport nor the database.
fn edge_crossed(path: &str, line: &str) -> Option<String> {
    let (service, module) = path.strip_prefix("services/")?.split_once("/src/")?;
    let module = module.split(['/', '.']).next()?;
    if service == "neurotriage" || EDGES.contains(&module) {
        return None;
    }
    let named = EDGE_CRATES.iter().find(|name| line.contains(&format!("{name}::")))?;
    Some(format!("a domain module does not know {named}"))
}

/// A transaction begins in one place, which waits for its begin although the caller goes away. One inside of another ends
/// with it.
fn transaction_begun(path: &str, line: &str) -> Option<String> {
    let allowed = path == "libs/service-kit/src/database.rs" || path.starts_with("xtask/");
    if allowed || is_test(path) {
        return None;
    }
    let line = line.replace("transaction.begin()", "");
    let begun = [
        ".begin()",
        ".begin_with_config(",
        ".begin_with_options(",
        ".transaction(|",
        ".transaction::<",
        ".transaction_with_config",
    ];
    let begun = begun.iter().any(|call| line.contains(call));
    begun.then(|| "a transaction begins by `database::begin` of libs/service-kit only".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_judged_by_their_file() {
        // (what the row is for, file, line, whether a rule is broken)
        let table = [
            ("status", "services/a/src/grpc.rs", "return Err(Status::internal(\"x\"));", true),
            ("status in kit", "libs/service-kit/src/status.rs", "Status::internal(\"x\")", false),
            ("another status", "services/a/src/grpc.rs", "ExitStatus::from_raw(0)", false),
            ("status type", "services/a/src/grpc.rs", "fn f() -> Result<(), Status> {", false),
            ("status in a test", "services/a/tests/b.rs", "Status::internal(\"x\")", false),
            ("variable", "libs/a/src/lib.rs", "std::env::var(\"HOME\")", true),
            ("variable in config", "services/a/src/config.rs", "env::var(\"HOME\")", false),
            ("compiled in", "libs/a/src/lib.rs", "env!(\"OUT_DIR\")", false),
            ("transport", "services/a/src/study.rs", "use tonic::Status;", true),
            (
                "transport at the edge",
                "services/a/src/grpc/convert.rs",
                "use tonic::Status;",
                false,
            ),
            ("database", "services/a/src/study.rs", "use sea_orm::DbErr;", true),
            ("database in store", "services/a/src/store.rs", "use sea_orm::DbErr;", false),
            ("begin", "services/a/src/store.rs", "let unit = self.db.begin().await?;", true),
            ("begin on a line of its own", "services/a/src/store.rs", "    .begin()", true),
            ("begin with", "libs/a/src/b.rs", "db.begin_with_options(options).await", true),
            ("begin of a pool", "libs/a/src/b.rs", "let unit = pool.begin().await?;", true),
            ("closure", "libs/a/src/b.rs", "db.transaction(|unit| Box::pin(f(unit)))", true),
            ("begin of our own", "services/a/src/store.rs", "self.audit.begin(call).await?", false),
            ("begin in its place", "libs/a/src/b.rs", "database::begin(&db, options)", false),
            ("begin inside", "services/a/src/store.rs", "transaction.begin().await?", false),
            ("begin in a test", "services/a/tests/b.rs", "db.begin().await?", false),
            ("command", "services/neurotriage/src/x.rs", "use tonic::Status;", false),
            ("comment", "services/a/src/study.rs", "// not tonic::Status", false),
        ];
        for (case, path, line, broken) in table {
            let source = Source { path: path.to_owned(), text: line.to_owned() };
            assert_eq!(!breaches(&source).is_empty(), broken, "case: {case}");
        }
    }

    #[test]
    fn unit_tests_at_the_end_of_a_file_are_free() {
        let text = "fn f() {}\n#[cfg(test)]\nmod tests { use tonic::Status; }\n".to_owned();
        assert!(breaches(&Source { path: "services/a/src/study.rs".to_owned(), text }).is_empty());
    }

    #[test]
    fn a_long_file_is_reported() {
        let source = |lines| Source { path: "a.rs".to_owned(), text: "\n".repeat(lines) };
        assert!(length_warning(&source(LINES_MAX)).is_none());
        assert!(length_warning(&source(LINES_MAX + 1)).is_some());
    }
}
