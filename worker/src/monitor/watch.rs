//! The supervisor's side: reads the monitor's lines, and starts it anew when it falls silent.

use super::{Alarm, DeviceSample, Line, alarms};
use crate::observe;
use service::shutdown::Shutdown;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// A monitor that says nothing for so long hangs in the driver.
const SILENCE: Duration = Duration::from_secs(30);
/// Time before a monitor that ended is started again; it doubles up to the second value.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// A monitor that ran so long has worked, and the next failure is a new one.
const SOUND: Duration = Duration::from_secs(60);

/// What the monitor tells the rest of the worker.
pub(crate) struct Watched {
    /// The newest sample of each device; empty until the first one, and where there is none.
    pub(crate) devices: watch::Receiver<Vec<DeviceSample>>,
    /// Devices that must not be given jobs.
    pub(crate) alarms: mpsc::Receiver<Alarm>,
}

/// Why a monitor is started anew.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// There is nothing to watch, which will not change while the worker runs.
    Nothing,
    /// It ended, or was ended, for this reason.
    Failed(String),
    /// The worker is shut down.
    Shutdown,
}

/// Watches the devices in a task of its own until the shutdown, by running `program` with the verb `monitor`.
pub(crate) fn watch(program: PathBuf, shutdown: Shutdown) -> Watched {
    let (samples, devices) = watch::channel(Vec::new());
    // Many more alarms than this at once tell nothing new.
    let (sender, alarms) = mpsc::channel(64);
    tokio::spawn(async move {
        let mut pause = BACKOFF.0;
        loop {
            let started = tokio::time::Instant::now();
            match once(&program, &shutdown, SILENCE, &samples, &sender).await {
                End::Nothing | End::Shutdown => return,
                End::Failed(reason) => {
                    if started.elapsed() > SOUND {
                        pause = BACKOFF.0;
                    }
                    observe::monitor_failed(&reason, pause.as_secs());
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(BACKOFF.1),
                () = shutdown.cancelled() => return,
            }
        }
    });
    Watched { devices, alarms }
}

/// One process of the monitor, from its start to its end.
async fn once(
    program: &Path,
    shutdown: &Shutdown,
    silence: Duration,
    samples: &watch::Sender<Vec<DeviceSample>>,
    alarms: &mpsc::Sender<Alarm>,
) -> End {
    let (mut child, mut lines) = match start(program) {
        Ok(started) => started,
        Err(error) => return End::Failed(format!("it cannot be started: {error}")),
    };
    let end = tokio::select! {
        end = read(&mut lines, silence, samples, alarms) => end,
        () = shutdown.cancelled() => End::Shutdown,
    };
    // Not waited for: a process that hangs in the driver may not even end by this.
    if let Err(error) = child.start_kill() {
        tracing::debug!(%error, "the monitor has ended by itself");
    }
    end
}

fn start(program: &Path) -> std::io::Result<(Child, Lines<BufReader<ChildStdout>>)> {
    let mut child = Command::new(program)
        .arg("monitor")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = child.stdout.take().ok_or_else(|| std::io::Error::other("it has no output"))?;
    Ok((child, BufReader::new(stdout).lines()))
}

async fn read(
    lines: &mut Lines<BufReader<ChildStdout>>,
    silence: Duration,
    samples: &watch::Sender<Vec<DeviceSample>>,
    alarms_out: &mpsc::Sender<Alarm>,
) -> End {
    loop {
        let line = match timeout(silence, lines.next_line()).await {
            Err(_) => return End::Failed(format!("it said nothing for {} s", silence.as_secs())),
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None)) => return End::Failed("it ended".into()),
            Ok(Err(error)) => return End::Failed(error.to_string()),
        };
        let line: Line = match serde_json::from_str(&line) {
            Ok(line) => line,
            Err(error) => return End::Failed(format!("it says what nobody understands: {error}")),
        };
        for alarm in alarms(&line) {
            observe::device_alarm(alarm.device, &alarm.reason);
            // A full queue holds alarms that nobody has looked at yet: one more changes nothing.
            let _ = alarms_out.try_send(alarm);
        }
        match line {
            Line::Sample { devices } => {
                observe::devices_sampled(&devices);
                samples.send_replace(devices);
            }
            Line::Xid { device, code } => observe::xid(device, code),
            Line::Nothing { reason } => {
                tracing::info!(%reason, "no GPU is watched");
                return End::Nothing;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A program that prints these lines, whatever it is asked.
    fn script(folder: &tempfile::TempDir, text: &str) -> PathBuf {
        let path = folder.path().join("monitor");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    async fn run(text: &str) -> (End, Vec<DeviceSample>, Vec<Alarm>) {
        let folder = tempfile::tempdir().unwrap();
        let (samples, devices) = watch::channel(Vec::new());
        let (sender, mut received) = mpsc::channel(64);
        let silence = Duration::from_secs(2);
        let end = once(&script(&folder, text), &Shutdown::new(), silence, &samples, &sender).await;
        drop(sender);
        let mut alarms = Vec::new();
        while let Some(alarm) = received.recv().await {
            alarms.push(alarm);
        }
        let devices = devices.borrow().clone();
        (end, devices, alarms)
    }

    #[tokio::test]
    async fn what_the_monitor_says_reaches_the_worker() {
        let device = DeviceSample { number: 1, name: "H200".into(), ..DeviceSample::default() };
        let sample = serde_json::to_string(&Line::Sample { devices: vec![device.clone()] }).unwrap();
        let xid = serde_json::to_string(&Line::Xid { device: 1, code: Some(79) }).unwrap();
        let (end, devices, alarms) = run(&format!("echo '{sample}'\necho '{xid}'")).await;
        assert_eq!(end, End::Failed("it ended".into()));
        assert_eq!(devices, [device]);
        assert_eq!(alarms.iter().map(|alarm| alarm.device).collect::<Vec<_>>(), [1]);
    }

    #[tokio::test]
    async fn a_machine_without_a_gpu_is_not_asked_again() {
        let nothing = serde_json::to_string(&Line::Nothing { reason: "no GPU".into() }).unwrap();
        assert_eq!(run(&format!("echo '{nothing}'")).await.0, End::Nothing);
    }

    #[tokio::test]
    async fn nonsense_ends_the_monitor() {
        assert!(matches!(run("echo hello").await.0, End::Failed(reason) if reason.contains("nobody understands")));
        let (samples, sender) = (watch::channel(Vec::new()).0, mpsc::channel(1).0);
        let missing = once(Path::new("/no/such/program"), &Shutdown::new(), SILENCE, &samples, &sender).await;
        assert!(matches!(missing, End::Failed(reason) if reason.contains("cannot be started")));
    }

    #[tokio::test]
    async fn a_monitor_that_hangs_is_given_up() {
        let (end, ..) = run("exec sleep 600").await;
        assert_eq!(end, End::Failed("it said nothing for 2 s".into()));
    }
}
