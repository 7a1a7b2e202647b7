//! The table as people read it: a part of `docs/access.md`, which the test holds to the table.

use std::{collections::HashSet, path::Path};

use clap::{Args as _, Command};

use super::{OPEN, Owner, table::SERVICES};
use crate::config::AccessConfig;

/// Around what is made from the table.
const BEGIN: &str = "<!-- made from the table of rules; do not edit -->\n";
const END: &str = "<!-- end of the table of rules -->\n";

fn owner_word(owner: Owner) -> &'static str {
    match owner {
        Owner::Patient => "a patient",
        Owner::Hospital => "a hospital",
        Owner::Deployment => "all hospitals",
    }
}

fn rules() -> String {
    let mut text = String::new();
    for (service, rpcs) in SERVICES {
        text.push_str(&format!("\n### `{service}`\n\n| RPC | about | scopes |\n|---|---|---|\n"));
        for (rpc, owner, needs) in *rpcs {
            let needs: Vec<String> = needs.iter().map(|need| format!("`{need}`")).collect();
            let (owner, needs) = (owner_word(*owner), needs.join(" and "));
            text.push_str(&format!("| `{rpc}` | {owner} | {needs} |\n"));
        }
    }
    text.push_str("\n### Open to all\n\n");
    for path in OPEN {
        text.push_str(&format!("- `{path}`\n"));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_documentation_is_that_of_the_rules() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/access.md");
        let written = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = written.split_once(BEGIN).expect("begin of the table");
        let (_, after) = rest.split_once(END).expect("end of the table");
        let page = format!("{before}{BEGIN}{}{END}{after}", rules());
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &page).unwrap();
            return;
        }
        assert!(
            written == page,
            "docs/access.md is of other rules; run `UPDATE_DOCS=1 cargo test -p neurotriage-access page`"
        );
    }

    #[test]
    fn the_page_names_every_setting_and_no_other() {
        let page = include_str!("../../../../docs/access.md");
        let command = AccessConfig::augment_args(Command::new("program"));
        let settings: HashSet<&str> =
            command.get_arguments().filter_map(|setting| setting.get_env()?.to_str()).collect();
        let is_name = |letter: char| letter.is_ascii_uppercase() || letter == '_';
        let named: HashSet<&str> = page
            .split(|letter: char| !is_name(letter))
            .filter(|word| word.starts_with("ACCESS_") && word.len() > "ACCESS_".len())
            .collect();
        assert_eq!(named, settings);
    }
}
