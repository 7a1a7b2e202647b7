//! Runs work on a thread until it ends, and passes Ctrl-C and SIGTERM on to it.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::runtime::Runtime;

/// Returns when the first of Ctrl-C and SIGTERM arrives.
pub(crate) async fn stop_signal() -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.context("listen for Ctrl-C"),
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.context("listen for Ctrl-C")
}

/// Runs `work` with a fresh control, calls `stop` on the control at a signal, and returns what
/// `work` returned.
///
/// # Errors
/// If signals can't be heard or the work panics.
pub(crate) fn until_stopped<C, T>(
    runtime: &Runtime,
    stop: fn(&C),
    work: impl FnOnce(&C) -> T + Send + 'static,
) -> anyhow::Result<T>
where
    C: Default + Send + Sync + 'static,
    T: Send + 'static,
{
    let control = Arc::new(C::default());
    let worker = Arc::clone(&control);
    runtime.block_on(async move {
        let mut work = tokio::task::spawn_blocking(move || work(&worker));
        tokio::select! {
            done = &mut work => return done.context("work ended abnormally"),
            signal = stop_signal() => signal?,
        }
        eprintln!("stopping");
        stop(&control);
        work.await.context("work ended abnormally")
    })
}
