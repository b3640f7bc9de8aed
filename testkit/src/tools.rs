//! Where the pinned tools lie, and the guard that ends a child with its parent.

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

/// Root of the checkout.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// A native binary that npm installed, or one of the same name on the PATH.
///
/// npm's own wrappers are never used, because they exit 0 even where the tool failed.
pub fn foundry(tool: &str) -> anyhow::Result<PathBuf> {
    let system = match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => "linux-amd64",
        ("linux", "aarch64") => "linux-arm64",
        ("macos", "x86_64") => "darwin-amd64",
        ("macos", "aarch64") => "darwin-arm64",
        (os, arch) => bail!("{tool} is not packaged for {os} on {arch}: install Foundry and put it on the PATH"),
    };
    let pinned = root().join(format!("node_modules/@foundry-rs/{tool}-{system}/bin/{tool}"));
    if pinned.is_file() {
        return Ok(pinned);
    }
    on_path(tool).with_context(|| format!("{tool} is not installed: run `npm ci` in the checkout's root"))
}

/// `capa-worker`, as it was built with this program: beside it, or beside the folder in which cargo keeps tests.
pub fn capa_worker() -> anyhow::Result<PathBuf> {
    let own = env::current_exe().context("this program does not know where it lies")?;
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join("capa-worker")).find(|path| path.is_file());
    found.with_context(|| {
        format!("capa-worker does not lie beside {}: build it by `cargo build --package worker`", own.display())
    })
}

fn on_path(tool: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(tool)).find(|path| path.is_file())
}

/// Replaces this process by `command`, which the kernel kills as soon as our parent dies.
///
/// Returns only if that failed. A parent that is killed outright cannot tidy up after itself, so each child has to be
/// bound to it from the inside; the request survives `exec`.
#[cfg(target_os = "linux")]
pub fn exec_guarded(command: &[String]) -> anyhow::Error {
    use std::os::unix::process::CommandExt;
    let Some((program, arguments)) = command.split_first() else {
        return anyhow::anyhow!("guard needs a command");
    };
    let parent = nix::unistd::getppid();
    if let Err(error) = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL) {
        return anyhow::anyhow!("cannot bind {program} to its parent: {error}");
    }
    if nix::unistd::getppid() != parent {
        return anyhow::anyhow!("the parent of {program} is gone");
    }
    Command::new(program).args(arguments).exec().into()
}

/// A child that is killed when dropped and, where `guard` names our own binary, when we are killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: std::process::Child,
}

impl Process {
    /// Starts a command with its output in `log`.
    ///
    /// Must be called from a thread that lives as long as the child: the kernel's guard watches the thread, not the
    /// process.
    pub fn spawn(name: &str, guard: Option<&Path>, command: &[String], log: &Path) -> anyhow::Result<Self> {
        let (program, arguments) = command.split_first().context("a process needs a command")?;
        let mut start = match guard {
            Some(own) => {
                let mut start = Command::new(own);
                start.arg("guard").arg("--").arg(program);
                start
            }
            None => Command::new(program),
        };
        let output = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = start
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {name} ({program})"))?;
        Ok(Self { name: name.to_owned(), child })
    }

    /// An error once the child has ended, with the last of its log.
    pub fn check(&mut self, log: &Path) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let text = fs::read_to_string(log).unwrap_or_default();
            let from = text.lines().count().saturating_sub(20);
            let tail: Vec<_> = text.lines().skip(from).collect();
            bail!("{} ended ({status}); the end of its log:\n{}", self.name, tail.join("\n"));
        }
        Ok(())
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks the child to end (SIGTERM) and waits up to five seconds before it is killed.
    pub fn terminate(mut self) {
        let Ok(pid) = i32::try_from(self.child.id()) else { return };
        let asked = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        for _ in 0..50 {
            if asked.is_err() || !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
