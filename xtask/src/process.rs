//! Running other programs: errors that name the program, and a stop that reaches it.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Set by Ctrl-C and by a request to stop; read by [`run`].
static STOP: AtomicBool = AtomicBool::new(false);

/// How often a running program is looked at. Short against the seconds that builds take.
const POLL: Duration = Duration::from_millis(50);

/// How long a program may take to end after it was asked to.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// Makes Ctrl-C and a request to stop end the running program and then this one, with everything
/// that was started removed.
pub(crate) fn stop_on_signals() -> Result<()> {
    ctrlc::set_handler(|| STOP.store(true, Ordering::Relaxed)).context("listen for Ctrl-C")
}

/// Fails if the user asked to stop.
pub(crate) fn check_stop() -> Result<()> {
    if STOP.load(Ordering::Relaxed) {
        bail!("stopped on request");
    }
    Ok(())
}

/// Runs a program with this one's input and output until it ends.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = name(command);
    let mut child = command.spawn().with_context(|| format!("start {name}"))?;
    let status = wait(&mut child).with_context(|| format!("run {name}"))?;
    if !status.success() {
        bail!("{name} failed: {status}");
    }
    Ok(())
}

/// Runs a program and returns what it printed; its error output is part of the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = name(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {name}"))?;
    if !output.status.success() {
        let problem = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed: {}\n{}", output.status, problem.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("read what {name} printed"))
}

/// Returns where `program` lies on the search path, if anywhere.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn wait(child: &mut Child) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            check_stop()?;
            return Ok(status);
        }
        if STOP.load(Ordering::Relaxed) {
            stop(child)?;
            bail!("stopped on request");
        }
        thread::sleep(POLL);
    }
}

/// Asks the program to end and ends it by force when it does not.
fn stop(child: &mut Child) -> Result<()> {
    // A program that the terminal's Ctrl-C reached too is ending already: a second word does no harm.
    let asked = Command::new("kill").arg(child.id().to_string()).stderr(Stdio::null()).status();
    let deadline = Instant::now() + STOP_WAIT;
    while asked.is_ok() && Instant::now() < deadline {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        thread::sleep(POLL);
    }
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// Returns the program and its first argument, such as `cargo clippy`.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program()).to_string_lossy();
    match command.get_args().next() {
        Some(argument) => format!("`{program} {}`", argument.to_string_lossy()),
        None => format!("`{program}`"),
    }
}
