//! Writes the checked queries (`.sqlx`) of each store crate from its own migrations.
//!
//! Queries are checked at compile time against a database. Committing what the database said lets everybody else
//! compile without one. Each store crate has its own `.sqlx`, since one folder cannot describe two engines.

use crate::files;
use crate::setup;
use crate::workspace::{self, Workspace, say};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Applies every migration, in order of its number, to a new SQLite database.
const MIGRATE: &str = "
import pathlib, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
for migration in sorted(pathlib.Path(sys.argv[2]).glob('*.sql')):
    database.executescript(migration.read_text())
database.commit()
";

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::run(workspace)?;
    let crates: Vec<_> = files::below(workspace.root())?
        .into_iter()
        .filter(|path| path.ends_with("sqlx.toml"))
        .filter_map(|path| path.parent().map(Path::to_path_buf))
        .collect();
    crates.iter().try_for_each(|folder| prepare(workspace, folder))
}

fn prepare(workspace: &Workspace, folder: &Path) -> Result<()> {
    let package = quoted(&files::read(&folder.join("Cargo.toml"))?, "name").context("a package without a name")?;
    let config = files::read(&folder.join("sqlx.toml"))?;
    let variable = quoted(&config, "database-url-var").context("sqlx.toml names no database-url-var")?;
    if folder.ends_with("postgres") {
        bail!("{package}: only SQLite stores can be prepared");
    }
    let database = Database::new(workspace, &package)?;
    let python = ["-c", MIGRATE];
    let migrations = folder.join("migrations");
    workspace::run(workspace.command("python3").args(python).arg(&database.path).arg(migrations))?;

    let prepared = folder.join(".sqlx");
    if prepared.exists() {
        fs::remove_dir_all(&prepared).context("cannot clear .sqlx")?;
    }
    fs::create_dir(&prepared).context("cannot create .sqlx")?;
    // Cargo does not see that the queries are to be checked against something else now.
    File::open(folder.join("src/lib.rs"))?.set_modified(SystemTime::now())?;
    workspace::run(
        workspace
            .cargo(&["build", "--package", &package])
            .env("SQLX_OFFLINE", "false")
            .env("SQLX_OFFLINE_DIR", &prepared)
            .env(variable, format!("sqlite://{}", database.path.display())),
    )?;
    say(&format!("{package}: {} queries", fs::read_dir(&prepared)?.count()));
    Ok(())
}

/// A database that is gone when this is dropped.
struct Database {
    path: PathBuf,
}

impl Database {
    fn new(workspace: &Workspace, package: &str) -> Result<Self> {
        let folder = workspace.target()?.join("xtask");
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{package}-{}.db", std::process::id()));
        Ok(Self { path })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // What cannot be removed lies under the target folder and is overwritten by nothing.
        let _ = fs::remove_file(&self.path);
    }
}

/// The value of the first line `key = "value"`.
fn quoted(text: &str, key: &str) -> Option<String> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let (_, value) = lines.into_iter().find(|(name, _)| name.trim() == key)?;
    Some(value.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_quoted_value() {
        let text = "[common]\ndatabase-url-var = \"KEEPER_SQLITE_URL\"\n";
        assert_eq!(quoted(text, "database-url-var").as_deref(), Some("KEEPER_SQLITE_URL"));
        assert_eq!(quoted(text, "name"), None);
    }
}
