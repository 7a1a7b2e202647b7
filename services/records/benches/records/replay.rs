//! Transactions that the database logged, as scripts of pgbench.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, bail, ensure};
use neurotriage_testkit::TestDb;
use sea_orm::ConnectionTrait as _;
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::TempDir;
use uuid::Uuid;

use crate::cluster::Cluster;

/// Transactions of one script, for which what they need is drawn in one statement before.
const TRANSACTIONS: usize = 8;
/// Chains of the audit that the service writes; pgbench writes as many after them.
const SHARDS: usize = 64;

/// Scripts of each call, and where to run them.
pub(crate) struct Replay {
    pgbench: PathBuf,
    url: SecretString,
    folder: TempDir,
    scripts: HashMap<&'static str, Script>,
}

struct Script {
    /// Values that stay the same, by name.
    constants: Vec<(String, String)>,
    statements: usize,
}

/// A statement as the service sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    sql: String,
    values: Vec<Option<String>>,
}

/// Removes the chains of the audit that pgbench wrote: the service has no such, and whoever checks finds them strange.
pub(crate) async fn remove_chains(db: &TestDb) -> anyhow::Result<()> {
    let remove = format!(
        "DELETE FROM audit_entry WHERE shard >= {SHARDS}; DELETE FROM audit_head WHERE shard >= {SHARDS}"
    );
    db.db.execute_unprepared(&remove).await.context("remove the chains of pgbench")?;
    Ok(())
}

impl Replay {
    /// Makes scripts of what the database logged while each call was made over and over.
    pub(crate) async fn new(
        cluster: &Cluster,
        db: &TestDb,
        patients: usize,
        logged: Vec<(&'static str, String)>,
    ) -> anyhow::Result<Self> {
        let prepare = format!(
            "CREATE TABLE replay_patient AS
                 SELECT row_number() OVER () AS n, patient_id FROM patient;
             CREATE UNIQUE INDEX ON replay_patient (n);
             CREATE TABLE replay_token (n bigint PRIMARY KEY, token text);
             CREATE FUNCTION replay_id() RETURNS uuid LANGUAGE sql AS $$
                 SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
                     || '7' || substr(md5(random()::text), 1, 3)
                     || '8' || substr(md5(random()::text), 1, 15))::uuid
             $$;
             GRANT SELECT ON replay_patient, replay_token TO PUBLIC;
             ALTER TABLE audit_head DROP CONSTRAINT ck_audit_head_shard;
             ALTER TABLE audit_entry DROP CONSTRAINT ck_audit_entry_shard;
             INSERT INTO audit_head
                 SELECT hospital_id, shard + {SHARDS}, 0, hash, mac FROM audit_head;"
        );
        db.db.execute_unprepared(&prepare).await.context("prepare what is replayed")?;
        let folder = tempfile::tempdir()?;
        let mut scripts = HashMap::new();
        for (name, log) in logged {
            let transactions = transactions(&log)?;
            let tokens: BTreeSet<&str> =
                transactions.iter().filter_map(|statements| searched(statements)).collect();
            if !tokens.is_empty() {
                let rows: Vec<String> =
                    (1..).zip(&tokens).map(|(n, token)| format!("({n}, '{token}')")).collect();
                let insert = format!("INSERT INTO replay_token VALUES {}", rows.join(", "));
                db.db.execute_unprepared(&insert).await.context("keep search tokens")?;
            }
            let template = transactions.last().context("nothing was logged")?;
            let drawn = Drawn { name, tokens: tokens.len(), patients };
            let (text, constants) = drawn.script(template)?;
            fs::write(folder.path().join(name), text)?;
            scripts.insert(name, Script { constants, statements: template.len() });
        }
        db.db.execute_unprepared("VACUUM ANALYZE replay_patient, replay_token").await?;
        Ok(Self { pgbench: cluster.program("pgbench"), url: db.url.clone(), folder, scripts })
    }

    /// Returns how many statements a transaction has, with its begin and its commit.
    pub(crate) fn statements(&self, name: &str) -> usize {
        self.scripts.get(name).map_or(0, |script| script.statements)
    }

    /// Runs pgbench; returns how many transactions a second it made.
    pub(crate) fn run(&self, name: &str, connections: u32, seconds: u64) -> anyhow::Result<f64> {
        let script = self.scripts.get(name).context("no such script")?;
        let mut pgbench = Command::new(&self.pgbench);
        pgbench
            .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
            .arg(format!("--client={connections}"))
            .arg(format!("--time={seconds}"))
            .arg("--file")
            .arg(self.folder.path().join(name));
        for (name, value) in &script.constants {
            pgbench.arg("--define").arg(format!("{name}={value}"));
        }
        let output = pgbench.arg(self.url.expose_secret()).output().context("run pgbench")?;
        let (said, problem) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "pgbench failed: {problem}");
        ensure!(!problem.contains("aborted"), "pgbench gave up: {problem}");
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = "));
        let rate = rate.and_then(|rate| rate.split(' ').next()).context("pgbench said no rate")?;
        Ok(rate.parse::<f64>()? * TRANSACTIONS as f64)
    }
}

/// Returns the token that a search looks for.
fn searched(statements: &[Statement]) -> Option<&str> {
    let statement = statements
        .iter()
        .find(|statement| statement.sql.starts_with("SELECT") && statement.sql.contains("token"))?;
    let kind = statement.values.iter().position(|value| value.as_deref() == Some("name"))?;
    statement.values.get(kind + 1)?.as_deref()
}

/// What is drawn anew for each transaction of a script.
struct Drawn {
    name: &'static str,
    /// Tokens to search for.
    tokens: usize,
    /// Patients to get.
    patients: usize,
}

impl Drawn {
    /// Returns the script of [`TRANSACTIONS`] transactions like `template`, and its constants.
    fn script(&self, template: &[Statement]) -> anyhow::Result<(String, Vec<(String, String)>)> {
        let mut constants: BTreeMap<String, String> = BTreeMap::new();
        let (mut sets, mut columns, mut body) = (String::new(), Vec::new(), String::new());
        for turn in 0..TRANSACTIONS {
            let mut drawn: HashMap<String, String> = HashMap::new();
            match self.name {
                "get" => {
                    let patient_id = single(uuids(template))?;
                    writeln!(sets, "\\set n{turn} random(1, {})", self.patients)?;
                    columns.push(format!(
                        "(SELECT patient_id FROM replay_patient WHERE n = :n{turn}) AS id{turn}"
                    ));
                    drawn.insert(patient_id, format!(":id{turn}"));
                }
                "create" => {
                    for (place, id) in uuids(template).into_iter().enumerate() {
                        columns.push(format!("replay_id() AS id{turn}_{place}"));
                        drawn.insert(id, format!(":id{turn}_{place}"));
                    }
                    let number = number_token(template).context("no number is stored")?;
                    let length = number.len();
                    let random = "md5(random()::text) || md5(random()::text)";
                    columns.push(format!("left({random}, {length}) AS number{turn}"));
                    drawn.insert(number, format!(":number{turn}"));
                }
                "search" => {
                    let token = searched(template).context("nothing is searched for")?;
                    writeln!(sets, "\\set n{turn} random(1, {})", self.tokens)?;
                    columns.push(format!(
                        "(SELECT token FROM replay_token WHERE n = :n{turn}) AS token{turn}"
                    ));
                    drawn.insert(token.to_owned(), format!(":token{turn}"));
                }
                other => bail!("unknown call {other}"),
            }
            writeln!(body, "\\set shard random({}, {})", SHARDS, 2 * SHARDS - 1)?;
            for statement in template {
                let audit = Audit::of(statement)?;
                let is_lock = statement.sql.contains("audit_head") && audit.rows.is_empty();
                let text = substitute(&statement.sql, |place| {
                    if audit.shards.contains(&place) {
                        return Ok(":shard".to_owned());
                    }
                    if let Some(row) = audit.rows.get(&place) {
                        return Ok(format!(":next{row}"));
                    }
                    let value = statement.values.get(place).context("a value is missing")?;
                    let Some(value) = value else { return Ok("NULL".to_owned()) };
                    if let Some(variable) = drawn.get(value) {
                        return Ok(variable.clone());
                    }
                    let name = format!("c{}", constants.len());
                    Ok(format!(":{}", constants.entry(value.clone()).or_insert(name)))
                })?;
                if !is_lock {
                    writeln!(body, "{text};")?;
                    continue;
                }
                writeln!(body, "{text} \\gset head_")?;
                let rows = template.iter().map(Audit::of).collect::<Result<Vec<_>, _>>()?;
                let rows: BTreeSet<usize> =
                    rows.iter().flat_map(|audit| audit.rows.values()).copied().collect();
                for row in rows {
                    writeln!(body, "\\set next{row} :head_sequence + {}", row + 1)?;
                }
            }
        }
        let prelude = format!("{sets}SELECT {} \\gset\n", columns.join(", "));
        let constants = constants.into_iter().map(|(value, name)| (name, value)).collect();
        Ok((prelude + &body, constants))
    }
}

fn single(mut ids: Vec<String>) -> anyhow::Result<String> {
    ensure!(ids.len() == 1, "expected one id and found {ids:?}");
    ids.pop().context("no id")
}

/// Returns the ids in the values, each once.
fn uuids(template: &[Statement]) -> Vec<String> {
    let values = template.iter().flat_map(|statement| &statement.values).flatten();
    // Ids of traces are alike, without hyphens.
    let is_id = |value: &&String| value.len() == 36 && Uuid::try_parse(value).is_ok();
    let ids: BTreeSet<&String> = values.filter(is_id).collect();
    ids.into_iter().cloned().collect()
}

/// Returns the token by which the created patient's number is found.
fn number_token(template: &[Statement]) -> Option<String> {
    template.iter().find_map(|statement| {
        let kind = Some("medical_record_number");
        let at = statement.values.iter().position(|value| value.as_deref() == kind)?;
        statement.values.get(at + 1)?.clone()
    })
}

/// Where a statement names the chain of the audit and places in it.
#[derive(Default)]
struct Audit {
    /// Values that are the chain's number.
    shards: BTreeSet<usize>,
    /// Values that are a place in the chain, and which after the head: 0 for the first.
    rows: BTreeMap<usize, usize>,
}

impl Audit {
    fn of(statement: &Statement) -> anyhow::Result<Self> {
        let mut audit = Self::default();
        if !statement.sql.contains("audit_head") {
            return Ok(audit);
        }
        audit.shards.extend(value_after(&statement.sql, "\"shard\" = $"));
        let Some(at) = statement.sql.find("INSERT INTO \"audit_entry\" (") else {
            return Ok(audit);
        };
        let insert = &statement.sql[at..];
        let open = insert.find('(').context("no columns")?;
        let close = insert.find(')').context("no columns")?;
        let columns: Vec<&str> = insert[open + 1..close].split(", ").collect();
        let place = |name| columns.iter().position(|column| *column == name).context("no column");
        let (shard, sequence) = (place("\"shard\"")?, place("\"sequence\"")?);
        let first = insert.find("($").context("no values")?;
        let first = number(&insert[first + 2..]).context("no values")? - 1;
        let count = statement.values.len() - first;
        ensure!(count.is_multiple_of(columns.len()), "rows of other columns");
        let rows = count / columns.len();
        for row in 0..rows {
            audit.shards.insert(first + row * columns.len() + shard);
            audit.rows.insert(first + row * columns.len() + sequence, row);
        }
        // The head moves to the last.
        let head =
            value_after(&statement.sql[..at], "\"sequence\" = $").context("no head moves")?;
        audit.rows.insert(head, rows - 1);
        Ok(audit)
    }
}

/// Returns the place of the value whose number follows `text`.
fn value_after(sql: &str, text: &str) -> Option<usize> {
    let at = sql.find(text)? + text.len();
    number(&sql[at..]).map(|number| number - 1)
}

fn number(text: &str) -> Option<usize> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// Replaces `$1` and the like by what `text_of` returns for 0 and so on.
fn substitute(
    sql: &str,
    mut text_of: impl FnMut(usize) -> anyhow::Result<String>,
) -> anyhow::Result<String> {
    let mut pieces = sql.split('$');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let number = number(piece).context("a $ that is no value")?;
        text.push_str(&text_of(number - 1)?);
        text.push_str(piece.trim_start_matches(|letter: char| letter.is_ascii_digit()));
    }
    Ok(text)
}

/// Returns the transactions of a log that are like the last of them, that one last.
fn transactions(log: &str) -> anyhow::Result<Vec<Vec<Statement>>> {
    let (mut all, mut open) = (Vec::new(), Vec::new());
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        let sql = match line.split_once("LOG:  statement: ") {
            Some((_, sql)) => sql,
            None => {
                match line.split_once("LOG:  execute ").and_then(|(_, said)| said.split_once(": "))
                {
                    Some((_, sql)) => sql,
                    None => continue,
                }
            }
        };
        let values = match lines.peek().and_then(|next| next.split_once("DETAIL:  parameters: ")) {
            Some((_, values)) => parse_values(values)?,
            None => Vec::new(),
        };
        let sql = sql.trim().to_owned();
        let (begins, commits) = (sql.starts_with("BEGIN"), sql == "COMMIT");
        if begins {
            open.clear();
        }
        open.push(Statement { sql, values });
        if commits {
            all.push(std::mem::take(&mut open));
        }
    }
    let Some(last) = all.last().cloned() else { bail!("no transaction was logged") };
    let texts = |statements: &[Statement]| -> Vec<String> {
        statements.iter().map(|statement| statement.sql.clone()).collect()
    };
    all.retain(|statements| texts(statements) == texts(&last));
    Ok(all)
}

/// Reads `$1 = 'text', $2 = NULL`, with quotes in texts doubled.
fn parse_values(mut text: &str) -> anyhow::Result<Vec<Option<String>>> {
    let mut values = Vec::new();
    while !text.is_empty() {
        let (_, rest) = text.split_once(" = ").context("a value without a number")?;
        if let Some(rest) = rest.strip_prefix("NULL") {
            values.push(None);
            text = rest.strip_prefix(", ").unwrap_or(rest);
            continue;
        }
        let mut rest = rest.strip_prefix('\'').context("a value without quotes")?;
        let mut value = String::new();
        loop {
            let (piece, after) = rest.split_once('\'').context("a value without an end")?;
            value.push_str(piece);
            match after.strip_prefix('\'') {
                Some(after) => {
                    value.push('\'');
                    rest = after;
                }
                None => {
                    text = after.strip_prefix(", ").unwrap_or(after);
                    break;
                }
            }
        }
        values.push(Some(value));
    }
    Ok(values)
}
