//! One token that ends everything: each task of a service waits for it beside its own work. A service that has something
//! to finish first is told in two stages.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Cancelled once, seen by every clone. Tests cancel their own; binaries use [`on_signal`].
pub type Shutdown = tokio_util::sync::CancellationToken;

/// The two ways in which a service that drains is told to end. The second one includes the first.
#[derive(Clone, Debug, Default)]
pub struct Stages {
    /// Take nothing new, finish what was begun, and end.
    pub drain: Shutdown,
    /// End at once.
    pub stop: Shutdown,
}

impl Stages {
    /// Neither asked for yet.
    pub fn new() -> Self {
        Self::default()
    }
}

/// A token that is cancelled by the first SIGINT (Ctrl-C) or SIGTERM. Must be called inside a tokio runtime.
///
/// A second signal has its default effect and ends the process at once, so that a shutdown that hangs can be cut
/// short by pressing Ctrl-C again.
pub fn on_signal() -> Shutdown {
    let shutdown = Shutdown::new();
    let tokens = [shutdown.clone()];
    listen(move |signals| follow(signals, tokens));
    shutdown
}

/// Both stages by signals: the first SIGINT or SIGTERM asks to drain, the second to stop, and a third ends the process
/// at once. Must be called inside a tokio runtime.
pub fn on_signals() -> Stages {
    let stages = Stages::new();
    let tokens = [stages.drain.clone(), stages.stop.clone()];
    listen(move |signals| follow(signals, tokens));
    stages
}

/// Both signals that end a process.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn open() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The next one: its name, and the exit status that its default effect has.
    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.interrupt.recv() => ("SIGINT", 130),
            _ = self.terminate.recv() => ("SIGTERM", 143),
        }
    }
}

fn listen<F: Future<Output = ()> + Send + 'static>(work: impl FnOnce(Signals) -> F) {
    match Signals::open() {
        Ok(signals) => drop(tokio::spawn(work(signals))),
        Err(error) => {
            tracing::warn!(%error, "cannot listen for signals: the process will end at once when it gets one");
        }
    }
}

/// Cancels one token with each signal; the signal after the last of them ends the process.
#[expect(clippy::disallowed_methods, reason = "whoever signals once more wants no more cleaning up")]
async fn follow<const N: usize>(mut signals: Signals, tokens: [Shutdown; N]) {
    for token in tokens {
        let (signal, _) = signals.next().await;
        tracing::info!(signal, "told to end; another signal makes it end sooner");
        token.cancel();
    }
    let (_, code) = signals.next().await;
    std::process::exit(code);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_signal_goes_one_stage_further() {
        let stages = on_signals();
        let own = Signals::open();
        let terminate = || {
            let id = std::process::id().to_string();
            assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        };
        let patience = std::time::Duration::from_secs(5);
        terminate();
        tokio::time::timeout(patience, stages.drain.cancelled()).await.unwrap();
        assert!(!stages.stop.is_cancelled());
        // Two signals at once may be delivered as one, so the first must have arrived before the second is sent.
        assert_eq!(tokio::time::timeout(patience, own.unwrap().next()).await.unwrap(), ("SIGTERM", 143));
        terminate();
        tokio::time::timeout(patience, stages.stop.cancelled()).await.unwrap();
    }
}
