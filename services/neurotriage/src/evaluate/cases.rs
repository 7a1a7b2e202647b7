//! Which cases are scored.

use std::{collections::HashSet, path::Path};

use anyhow::{Context as _, bail, ensure};
use neurotriage_imaging::CaseFiles;

use super::result::Failure;

/// Returns the cases in the folders of `root`, or only those named; if `root` is itself the folder
/// of a case, that one. With `keep_going`, cases without truth are failures; without, an error.
///
/// # Errors
/// If there is no case, one lacks a file, two have the same name, or one lacks its truth.
pub(super) fn find(
    root: &Path,
    only: &[String],
    keep_going: bool,
) -> anyhow::Result<(Vec<CaseFiles>, Vec<Failure>)> {
    let found = if only.is_empty() { all(root)? } else { named(root, only)? };
    let mut ids = HashSet::new();
    if let Some(case) = found.iter().find(|case| !ids.insert(case.id.as_str())) {
        bail!(
            "two folders in {} hold a case {}; rename the files of one or choose with --only",
            root.display(),
            case.id
        );
    }
    let (cases, without): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|case| case.truth.is_some());
    let failures: Vec<Failure> = without
        .into_iter()
        .map(|case| Failure {
            error: format!(
                "no truth; add {}_seg.nii.gz or leave the case out with --only",
                case.id
            ),
            id: case.id,
        })
        .collect();
    if let (Some(failure), false) = (failures.first(), keep_going) {
        bail!(
            "case {}: {}; with --keep-going the other cases are scored",
            failure.id,
            failure.error
        );
    }
    ensure!(!cases.is_empty(), "no case in {} has a truth file", root.display());
    Ok((cases, failures))
}

fn all(root: &Path) -> anyhow::Result<Vec<CaseFiles>> {
    let cases = CaseFiles::find_all(root)?;
    if !cases.is_empty() {
        return Ok(cases);
    }
    match CaseFiles::find(root) {
        Ok(case) => Ok(vec![case]),
        Err(error) => bail!(
            "{} holds no case ({error}); name a folder with one folder for each case",
            root.display()
        ),
    }
}

fn named(root: &Path, only: &[String]) -> anyhow::Result<Vec<CaseFiles>> {
    let find = |id: &String| {
        CaseFiles::find(&root.join(id)).with_context(|| format!("case {id} of --only"))
    };
    only.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn put(folder: &Path, id: &str, endings: &[&str]) {
        fs::create_dir_all(folder).unwrap();
        for ending in endings {
            fs::write(folder.join(format!("{id}_{ending}.nii.gz")), b"").unwrap();
        }
    }

    const WHOLE: [&str; 5] = ["flair", "t1", "t1ce", "t2", "seg"];

    #[test]
    fn what_is_no_set_of_cases_says_what_to_do() {
        // (what the row is for, case folders as (folder, id, files), ids asked for, phrases)
        type Row<'a> = (&'a str, Vec<(&'a str, &'a str, usize)>, Vec<&'a str>, Vec<&'a str>);
        let table: [Row<'_>; 5] = [
            ("empty", vec![], vec![], vec!["holds no case", "one folder for each case"]),
            ("sequence missing", vec![("a", "a", 3)], vec![], vec!["no t2 image"]),
            (
                "truth missing",
                vec![("a", "a", 4)],
                vec![],
                vec!["case a: no truth", "a_seg.nii.gz"],
            ),
            (
                "one name twice",
                vec![("a", "x", 5), ("b", "x", 5)],
                vec![],
                vec!["two folders", "x"],
            ),
            ("unknown name", vec![("a", "a", 5)], vec!["b"], vec!["case b of --only"]),
        ];
        for (case, folders, only, phrases) in table {
            let root = tempfile::tempdir().unwrap();
            for (folder, id, count) in folders {
                put(&root.path().join(folder), id, &WHOLE[..count]);
            }
            let only: Vec<String> = only.into_iter().map(str::to_owned).collect();
            let error = format!("{:#}", find(root.path(), &only, false).unwrap_err());
            for phrase in phrases {
                assert!(error.contains(phrase), "case {case}: {phrase:?} not in {error}");
            }
        }
    }

    #[test]
    fn going_on_turns_a_missing_truth_into_a_failure() {
        let root = tempfile::tempdir().unwrap();
        put(&root.path().join("a"), "a", &WHOLE[..4]);
        let error = find(root.path(), &[], true).unwrap_err().to_string();
        assert!(error.contains("has a truth file"), "{error}");
        put(&root.path().join("b"), "b", &WHOLE);
        let (cases, failures) = find(root.path(), &[], true).unwrap();
        assert_eq!((cases.len(), cases[0].id.as_str()), (1, "b"));
        assert_eq!((failures.len(), failures[0].id.as_str()), (1, "a"));
    }

    #[test]
    fn the_folder_of_one_case_is_a_set_of_one() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "a", &WHOLE);
        let (cases, failures) = find(root.path(), &[], false).unwrap();
        assert_eq!((cases.len(), failures.len()), (1, 0));
    }
}
