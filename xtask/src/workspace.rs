//! Where things are, and how programs are called from here.

use crate::guard;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::env;
use std::ffi::OsStr;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A checkout of this repository.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The checkout that this program was built from.
    pub(crate) fn here() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let root = root.canonicalize().context("this checkout has moved: run it again as `cargo xtask …`")?;
        Ok(Self { root })
    }

    /// Another folder laid out like this repository.
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// A program run in the root of the checkout.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = guard::command(program);
        command.current_dir(&self.root);
        // `cargo run` describes this crate in the environment. Build scripts that watch these variables (ring's does)
        // would run again on every change between `cargo xtask` and plain `cargo`.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        command
    }

    /// Cargo itself. Queries are checked against the committed `.sqlx`, whatever database variables are set.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).env("SQLX_OFFLINE", "true");
        command
    }

    pub(crate) fn npm(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("npm");
        command.args(arguments);
        command
    }

    /// The native forge. npm's wrapper is never called, because it exits 0 even where forge failed.
    pub(crate) fn forge(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.command(self.forge_path()?);
        command.args(arguments).env("FOUNDRY_SOLC", self.solc());
        Ok(command)
    }

    /// The pinned forge, or the one that `FORGE` names.
    pub(crate) fn forge_path(&self) -> Result<PathBuf> {
        let pinned = self.path(format!("node_modules/@foundry-rs/forge-{}/bin/forge", platform()?));
        let forge = env::var_os("FORGE").map_or(pinned, PathBuf::from);
        if !forge.is_file() {
            bail!("{} is missing: run `cargo xtask setup`", forge.display());
        }
        Ok(forge)
    }

    /// The compiler that forge calls: npm's, or the one that `FOUNDRY_SOLC` names.
    pub(crate) fn solc(&self) -> PathBuf {
        env::var_os("FOUNDRY_SOLC").map_or_else(|| self.path("contracts/tools/solc"), PathBuf::from)
    }

    /// What cargo knows about the packages of this workspace.
    pub(crate) fn metadata(&self) -> Result<Value> {
        let text = output(self.cargo(&["metadata", "--no-deps", "--format-version", "1"]).stderr(Stdio::inherit()))?;
        serde_json::from_str(&text).context("cargo metadata is not JSON")
    }

    /// The folder that cargo builds into.
    pub(crate) fn target(&self) -> Result<PathBuf> {
        let metadata = self.metadata()?;
        let target = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
        Ok(PathBuf::from(target))
    }
}

/// Runs `command` with its output on stderr; failure is an error that names it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let text = describe(command);
    say(&format!("$ {text}"));
    let status = command.stdout(stderr()).status().with_context(|| format!("cannot start `{text}`"))?;
    if !status.success() {
        bail!("`{text}` failed ({status})");
    }
    Ok(())
}

/// Runs `command` and returns what it printed on stdout.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let text = describe(command);
    let output = command.stdout(Stdio::piped()).spawn().and_then(std::process::Child::wait_with_output);
    let output = output.with_context(|| format!("cannot start `{text}`"))?;
    if !output.status.success() {
        bail!("`{text}` failed ({})", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{text}` did not print text"))
}

/// Tells the person what happens; never on stdout, which belongs to the chore's result.
pub(crate) fn say(line: &str) {
    // Nobody reads a closed stderr, and the chore can do without.
    let _ = writeln!(stderr(), "{line}");
}

/// The command as a person would type it in the root of the checkout.
pub(crate) fn describe(command: &Command) -> String {
    let guarded = command.get_program() == "/proc/self/exe";
    let program = Some(command.get_program()).filter(|_| !guarded);
    let words = program.into_iter().chain(command.get_args().skip(usize::from(guarded)));
    let root = command.get_current_dir().unwrap_or(Path::new("/"));
    let word = |(index, word): (usize, &OsStr)| {
        if word.to_string_lossy().contains('\n') {
            return "…".to_owned();
        }
        let path = Path::new(word);
        let shown = path.strip_prefix(root).ok().filter(|inside| *inside != path).unwrap_or(path);
        let program = index == 0 && shown.is_absolute();
        shown.file_name().filter(|_| program).unwrap_or(shown.as_os_str()).to_string_lossy().into_owned()
    };
    words.enumerate().map(word).collect::<Vec<_>>().join(" ")
}

/// This machine in the names of Foundry's npm packages.
pub(crate) fn platform() -> Result<&'static str> {
    Ok(match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => "linux-amd64",
        ("linux", "aarch64") => "linux-arm64",
        ("macos", "x86_64") => "darwin-amd64",
        ("macos", "aarch64") => "darwin-arm64",
        (system, machine) => bail!("forge is not published for {system} on {machine}: set FORGE to one that you built"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_they_are_typed() {
        let workspace = Workspace::at(Path::new("/checkout"));
        let mut command = workspace.command("/checkout/node_modules/forge");
        assert_eq!(describe(command.args(["test", "/checkout/contracts"])), "node_modules/forge test contracts");
        assert_eq!(describe(workspace.command("/usr/bin/cargo").args(["build", "/tmp/x"])), "cargo build /tmp/x");
    }
}
