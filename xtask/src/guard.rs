//! Keeps a child from outliving this program.
//!
//! Ctrl-C reaches the whole foreground group, but `kill` reaches one process: a build started by a killed `xtask`
//! would go on. On Linux the kernel can signal a child when its parent ends. A process can only ask that for itself,
//! so children are started through this program again, which asks and then becomes the child.

use anyhow::{Context, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A command for `program` that is ended when this process is.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    if cfg!(all(target_os = "linux", not(test))) {
        // Not `current_exe`: a build may replace this program's file while it runs.
        let mut command = Command::new("/proc/self/exe");
        command.arg("guard").arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// The other side: asks for the signal, then becomes the command.
pub(crate) fn run(command: &[OsString]) -> Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM).context("cannot follow the parent's end")?;
    let (program, arguments) = command.split_first().context("no command to run")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}
