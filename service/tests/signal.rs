//! One test, in a process of its own: a signal reaches everything that listens for it there.
#![allow(clippy::unwrap_used)]

use service::shutdown::on_signal;
use std::time::Duration;

#[tokio::test]
async fn a_termination_signal_cancels_the_token() {
    let shutdown = on_signal();
    assert!(!shutdown.is_cancelled());
    let killed = std::process::Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status().unwrap();
    assert!(killed.success());
    tokio::time::timeout(Duration::from_secs(5), shutdown.cancelled()).await.unwrap();
}
