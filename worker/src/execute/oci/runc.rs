//! The runc program: starting, watching and ending a container, never without a deadline.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::Deserialize;
use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::io::{self, Read, pipe};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Oldest version that keeps a container's control group until it was read.
const OLDEST: (u32, u32) = (1, 1);
/// How long a call of runc may take that should take no time.
const CALL: Duration = Duration::from_secs(15);
/// How long a container may take to end after it was killed.
const DEATH: Duration = Duration::from_secs(15);
/// How long what was written last may take to arrive after a process ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How much of what a process wrote last is kept, in bytes.
const KEPT: usize = 4096;
/// Longest log or state of runc that is read.
const MAX_FILE: u64 = 1 << 20;

/// runc, with a folder for the state of its containers.
#[derive(Debug)]
pub(super) struct Runc {
    program: PathBuf,
    state: PathBuf,
    version: String,
}

impl Runc {
    /// Asks the program for its version, or says why it cannot be used.
    pub(super) fn find(program: &Path, state: PathBuf) -> Result<Self, String> {
        let mut runc = Self { program: program.into(), state, version: String::new() };
        let text =
            runc.call(["--version"]).map_err(|error| format!("{error}; install runc or set execute.oci.runc"))?;
        let version = text.lines().next().and_then(|line| line.strip_prefix("runc version ")).unwrap_or_default();
        let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
        let found = numbers.next().zip(numbers.next());
        if found.is_none_or(|found| found < OLDEST) {
            return Err(format!("{} is not runc 1.1 or newer: {text:?}", program.display()));
        }
        if !text.contains("libseccomp") {
            return Err(format!("{} was built without seccomp", program.display()));
        }
        // Distributions append their own marks, which say nothing about what it does.
        runc.version = version.split(['+', '-', '~', ' ']).next().unwrap_or(version).to_owned();
        Ok(runc)
    }

    /// For containers whose state lies in that folder, with a program that was found to be runc before.
    pub(super) const fn known(program: PathBuf, state: PathBuf) -> Self {
        Self { program, state, version: String::new() }
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Starts a container whose configuration lies in `folder`.
    pub(super) fn start(&self, id: &str, folder: &Path, log: &Path) -> io::Result<Running> {
        let mut command = self.command();
        command.arg("--log").arg(log).args(["--log-format", "json", "run", "--keep", "--bundle"]).arg(folder).arg(id);
        Running::spawn(command)
    }

    /// Kills all that runs in a container and removes it. Repeated until it works or the deadline has passed.
    pub(super) fn end(&self, id: &str, running: &mut Running) -> Result<(), String> {
        let deadline = Instant::now() + DEATH;
        let mut last = String::new();
        while Instant::now() < deadline {
            // It fails as long as the container is not there yet, and once it is gone.
            if let Err(error) = self.call(["kill", id, "KILL"]) {
                last = error;
            }
            if running.wait(Duration::from_millis(200)).map_err(|error| error.to_string())?.is_some() {
                return Ok(());
            }
        }
        running.kill();
        Err(format!("it still runs {} seconds after it was killed: {last}", DEATH.as_secs()))
    }

    /// Removes what runc keeps of a container, and kills it where it still runs.
    pub(super) fn delete(&self, id: &str) -> Result<(), String> {
        self.call(["delete", "--force", id]).map(drop)
    }

    /// Containers whose state lies in the folder.
    pub(super) fn containers(&self) -> io::Result<Vec<String>> {
        match self.state.read_dir() {
            Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Where the kernel counts what a container uses; `None` before it is made and after it is removed.
    pub(super) fn counters(&self, id: &str) -> Option<Counters> {
        #[derive(Deserialize)]
        struct State {
            cgroup_paths: HashMap<String, PathBuf>,
        }
        let text = read(&self.state.join(id).join("state.json"))?;
        let State { mut cgroup_paths } = serde_json::from_str(&text).ok()?;
        Some(match (cgroup_paths.remove("memory"), cgroup_paths.remove("cpuacct"), cgroup_paths.remove("")) {
            (Some(memory), cpu, _) => Counters::V1 { memory, cpu },
            (None, _, group) => Counters::V2(group?),
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.arg("--root").arg(&self.state);
        command
    }

    fn call<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String, String> {
        let mut command = self.command();
        command.args(arguments);
        let name = self.program.display();
        let mut running = Running::spawn(command).map_err(|error| format!("{name} does not start: {error}"))?;
        match running.wait(CALL) {
            Ok(Some(status)) if status.success() => Ok(running.last_words()),
            Ok(Some(status)) => Err(format!("{name} failed ({status}): {}", running.last_words())),
            Ok(None) => {
                running.kill();
                Err(format!("{name} did not answer within {} seconds", CALL.as_secs()))
            }
            Err(error) => Err(format!("{name} cannot be waited for: {error}")),
        }
    }
}

/// Counters of a control group.
pub(super) enum Counters {
    V1 { memory: PathBuf, cpu: Option<PathBuf> },
    V2(PathBuf),
}

impl Counters {
    /// CPU time of all that ever ran in the container, in milliseconds.
    pub(super) fn cpu_ms(&self) -> Option<u64> {
        match self {
            Self::V1 { cpu, .. } => {
                Some(read(&cpu.as_ref()?.join("cpuacct.usage"))?.trim().parse::<u64>().ok()? / 1_000_000)
            }
            Self::V2(group) => Some(value(&read(&group.join("cpu.stat"))?, "usage_usec")? / 1000),
        }
    }

    /// Whether the kernel killed something in the container because its memory was used up.
    pub(super) fn was_out_of_memory(&self) -> bool {
        let file = match self {
            Self::V1 { memory, .. } => memory.join("memory.oom_control"),
            Self::V2(group) => group.join("memory.events"),
        };
        read(&file).and_then(|text| value(&text, "oom_kill")).is_some_and(|count| count > 0)
    }
}

fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(MAX_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

/// What runc itself complained about last; nothing where only the program in the container failed.
pub(super) fn complaint(log: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    let lines = read(log)?;
    let mut lines = lines.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines.rfind(|line| matches!(line.level.as_str(), "error" | "fatal")).map(|line| line.msg)
}

/// A process that was started, and the last of what it writes.
pub(super) struct Running {
    child: Child,
    handle: OwnedFd,
    tail: Arc<Mutex<VecDeque<u8>>>,
    reader: JoinHandle<()>,
}

impl Running {
    fn spawn(mut command: Command) -> io::Result<Self> {
        let (reader, writer) = pipe()?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn()?;
        // The ends that the child writes to are its own from here on.
        drop(command);
        let tail = Arc::default();
        let handle = Pid::from_raw(child.id().cast_signed()).ok_or(io::Error::from(io::ErrorKind::NotFound));
        let handle = handle.and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?));
        let reader = keep_last(reader, &tail);
        match handle.and_then(|handle| Ok((handle, reader?))) {
            Ok((handle, reader)) => Ok(Self { child, handle, tail, reader }),
            Err(error) => {
                let _ = child.kill();
                Err(error)
            }
        }
    }

    /// Waits for its end, at most so long.
    pub(super) fn wait(&mut self, at_most: Duration) -> io::Result<Option<ExitStatus>> {
        let timeout = Timespec { tv_sec: at_most.as_secs().cast_signed(), tv_nsec: at_most.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.handle, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => self.child.try_wait(),
            Err(error) => Err(error.into()),
        }
    }

    /// Kills the process itself, and takes its end if that comes at once.
    pub(super) fn kill(&mut self) {
        if self.child.kill().is_ok() {
            let _ = self.wait(LAST_WORDS);
        }
    }

    /// What it wrote last, as text that can be shown to anyone.
    pub(super) fn last_words(&self) -> String {
        let deadline = Instant::now() + LAST_WORDS;
        while !self.reader.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        let bytes: Vec<u8> = self.tail.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        let shown = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
        String::from_utf8_lossy(&bytes).chars().filter(shown).collect::<String>().trim().to_owned()
    }
}

/// Reads to the end on a thread of its own, so that a program that writes much does not stop.
fn keep_last(mut reader: io::PipeReader, tail: &Arc<Mutex<VecDeque<u8>>>) -> io::Result<JoinHandle<()>> {
    let tail = tail.clone();
    std::thread::Builder::new().name("oci-output".into()).spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            tail.extend(&buffer[..count]);
            let excess = tail.len().saturating_sub(KEPT);
            tail.drain(..excess);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Running {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Running::spawn(command).unwrap()
    }

    #[test]
    fn the_last_words_are_bounded_and_harmless() {
        let mut running =
            shell("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; printf '\\033[31mred'; exit 3");
        let status = running.wait(Duration::from_secs(60)).unwrap().unwrap();
        assert_eq!(status.code(), Some(3));
        let words = running.last_words();
        assert!(words.len() <= KEPT && words.ends_with("line 2999\n[31mred"), "{words}");
    }

    #[test]
    fn nothing_is_waited_for_without_end() {
        let mut running = shell("sleep 600");
        let started = Instant::now();
        assert!(running.wait(Duration::from_millis(50)).unwrap().is_none());
        running.kill();
        assert!(started.elapsed() < Duration::from_secs(30));
        assert!(running.wait(Duration::ZERO).unwrap().is_some());
    }

    #[test]
    fn counters_are_found_by_their_names() {
        assert_eq!(value("usage_usec 4500\nuser_usec 9\n", "usage_usec"), Some(4500));
        assert_eq!(value("oom 7\noom_kill 1\noom_group_kill 0\n", "oom_kill"), Some(1));
        assert_eq!(value("", "oom_kill"), None);
    }

    #[test]
    fn programs_that_are_not_runc_are_refused() {
        let reason = Runc::find(Path::new("true"), "/nowhere".into()).unwrap_err();
        assert!(reason.contains("runc 1.1 or newer"), "{reason}");
        let reason = Runc::find(Path::new("/no/such/runc"), "/nowhere".into()).unwrap_err();
        assert!(reason.contains("execute.oci.runc"), "{reason}");
    }
}
