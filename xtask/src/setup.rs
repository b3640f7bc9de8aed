//! Installs what building and testing need. Quick when nothing is missing.

use crate::files;
use crate::workspace::{self, Workspace, platform, say};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::{Command, Stdio};

/// The oldest Node.js that the pinned web tools run on.
const NODE: u32 = 20;

/// Records, inside what it describes, the lock file that `node_modules` was installed from.
const INSTALLED: &str = "node_modules/.capa-lock";

/// Records the sources that `web/dist` was built from; outside of it, because all of `dist` is embedded.
const BUILT: &str = "node_modules/.capa-web";

/// Installs and builds what is missing or stale.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    programs()?;
    packages(workspace)?;
    web(workspace)
}

/// What only the system's package manager can give.
fn programs() -> Result<()> {
    let mut missing = Vec::new();
    let mut hints = Vec::new();
    let node = version("node");
    if node.is_none_or(|major| major < NODE) || version("npm").is_none() {
        missing.push("Node.js 20 or newer, with npm");
        hints.push("nodejs npm");
    }
    if version("python3").is_none() {
        missing.push("Python 3");
        hints.push("python3 python3-pip python3-venv");
    }
    if version("cc").is_none() || version("c++").is_none() {
        missing.push("a C and C++ compiler");
        hints.push("build-essential");
    }
    if missing.is_empty() {
        return Ok(());
    }
    let old = match node {
        Some(major) if major < NODE => {
            "\n(a system too old to have Node.js 20 gets it from https://nodejs.org/en/download)"
        }
        _ => "",
    };
    bail!(
        "missing: {}\nInstall with the system's package manager, for example\n    sudo apt-get install -y {}{old}\nthen run this again.",
        missing.join(", "),
        hints.join(" ")
    );
}

/// The major version of an installed program; 0 if it does not say.
fn version(program: &str) -> Option<u32> {
    let text = Command::new(program).arg("--version").stderr(Stdio::null()).output().ok()?;
    let text = text.status.success().then(|| String::from_utf8_lossy(&text.stdout).into_owned())?;
    Some(text.trim_start_matches('v').split('.').next().and_then(|major| major.trim().parse().ok()).unwrap_or(0))
}

/// The pinned npm packages, again whenever the lock file changed.
fn packages(workspace: &Workspace) -> Result<()> {
    let lock = files::read(&workspace.path("package-lock.json"))?;
    let stamp = workspace.path(INSTALLED);
    if files::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    say("installing the pinned npm packages");
    let install = ["ci", "--no-audit", "--no-fund", "--no-progress"];
    if workspace::run(&mut workspace.npm(&install)).is_err() {
        say("npm ci failed; trying once more, in case the network did");
        workspace::run(&mut workspace.npm(&install)).context("the npm packages could not be installed")?;
    }
    foundry(workspace)?;
    files::write(&stamp, &lock)
}

/// Foundry's binaries for a platform that the lock file does not cover, in the versions that it names.
fn foundry(workspace: &Workspace) -> Result<()> {
    if workspace.forge(&[]).is_ok() {
        return Ok(());
    }
    let manifest: Value = serde_json::from_str(&files::read(&workspace.path("package.json"))?)?;
    let locked = manifest["optionalDependencies"].as_object().context("package.json pins no foundry")?;
    let here = |(name, version): (&String, &Value)| {
        let tool = name.trim_end_matches("-linux-amd64");
        Ok(format!("{tool}-{}@{}", platform()?, version.as_str().unwrap_or_default()))
    };
    let packages = locked.iter().map(here).collect::<Result<Vec<_>>>()?;
    let mut install = workspace.npm(&["install", "--no-save", "--no-package-lock"]);
    workspace::run(install.args(packages)).context("set FORGE to a forge that you installed yourself")
}

/// The web app that the indexer embeds, again whenever its sources or packages changed.
fn web(workspace: &Workspace) -> Result<()> {
    let manifest: Value = serde_json::from_str(&files::read(&workspace.path("web/package.json"))?)?;
    if manifest["scripts"]["build"].is_null() {
        return Ok(());
    }
    let sources = digest(workspace)?;
    let stamp = workspace.path(BUILT);
    let fresh = files::read(&stamp).is_ok_and(|built| built == sources);
    if fresh && workspace.path("web/dist/index.html").is_file() {
        return Ok(());
    }
    say("building the web app");
    workspace::run(&mut workspace.npm(&["run", "build", "--workspace", "web"]))?;
    files::write(&stamp, &sources)
}

/// A digest of everything the web app is made of.
fn digest(workspace: &Workspace) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    let shared = ["package-lock.json", "contracts/abi"].map(|path| workspace.path(path));
    for source in files::below(&workspace.path("web"))?.iter().chain(&shared) {
        hash(source, &mut hasher)?;
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn hash(path: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    if path.is_dir() {
        return files::below(path)?.iter().try_for_each(|file| hash(file, hasher));
    }
    path.hash(hasher);
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?.hash(hasher);
    Ok(())
}
