//! One token that ends everything: each task of a service waits for it beside its own work.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Cancelled once, seen by every clone. Tests cancel their own; binaries use [`on_signal`].
pub type Shutdown = tokio_util::sync::CancellationToken;

/// A token that is cancelled by the first SIGINT (Ctrl-C) or SIGTERM. Must be called inside a tokio runtime.
///
/// A second signal has its default effect and ends the process at once, so that a shutdown that hangs can be cut
/// short by pressing Ctrl-C again.
pub fn on_signal() -> Shutdown {
    let shutdown = Shutdown::new();
    let token = shutdown.clone();
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(interrupt), Ok(terminate)) => {
            tokio::spawn(watch(interrupt, terminate, token));
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "cannot listen for signals: the process will end at once when it gets one");
        }
    }
    shutdown
}

#[expect(clippy::disallowed_methods, reason = "whoever signals twice wants no more cleaning up")]
async fn watch(mut interrupt: Signal, mut terminate: Signal, token: Shutdown) {
    let name = tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    };
    tracing::info!(signal = name, "shutting down; a second signal ends the process at once");
    token.cancel();
    let code = tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    };
    std::process::exit(code);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_termination_signal_cancels_the_token() {
        let shutdown = on_signal();
        assert!(!shutdown.is_cancelled());
        let killed =
            std::process::Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status().unwrap();
        assert!(killed.success());
        tokio::time::timeout(std::time::Duration::from_secs(5), shutdown.cancelled()).await.unwrap();
    }
}
