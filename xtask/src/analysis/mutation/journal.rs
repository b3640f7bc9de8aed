//! Remembers verdicts, so that a campaign that was interrupted goes on where it stopped.

use super::faults::Mutant;
use super::trial::Verdict;
use crate::files;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::Mutex;

/// The verdicts on one state of the contracts and their tests, a line each.
pub(super) struct Journal {
    known: HashMap<String, Verdict>,
    file: Mutex<File>,
}

impl Journal {
    pub(super) fn open(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.path("target/mutation");
        fs::create_dir_all(&folder).context("cannot make target/mutation")?;
        let path = folder.join(format!("{}.jsonl", state(workspace)?));
        let written = if path.is_file() { files::read(&path)? } else { String::new() };
        let file = File::options().create(true).append(true).open(&path).context("cannot open the journal")?;
        Ok(Self { known: written.lines().filter_map(read).collect(), file: Mutex::new(file) })
    }

    pub(super) fn verdict(&self, mutant: &Mutant) -> Option<Verdict> {
        self.known.get(&key(mutant)).copied()
    }

    pub(super) fn write(&self, mutant: &Mutant, verdict: Verdict) -> Result<()> {
        let line = json!({ "fault": key(mutant), "verdict": format!("{verdict:?}") });
        let mut file = self.file.lock().map_err(|_| anyhow::anyhow!("another trial panicked"))?;
        writeln!(file, "{line}").context("cannot write the journal")
    }
}

fn key(mutant: &Mutant) -> String {
    format!("{}:{}-{}:{}", mutant.file, mutant.start, mutant.end, mutant.replacement)
}

/// A line that was cut off by the end of the program is no verdict.
fn read(line: &str) -> Option<(String, Verdict)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let verdicts = [Verdict::Killed, Verdict::Survived, Verdict::Invalid];
    let verdict = verdicts.into_iter().find(|verdict| line["verdict"] == *format!("{verdict:?}"))?;
    Some((line["fault"].as_str()?.to_owned(), verdict))
}

/// A digest of everything that a verdict depends on.
fn state(workspace: &Workspace) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for folder in ["contracts/src", "contracts/test", "contracts/script"] {
        for path in files::below(&workspace.path(folder))? {
            if path.extension().is_some_and(|extension| extension == "sol") {
                path.strip_prefix(workspace.root())?.hash(&mut hasher);
                files::read(&path)?.hash(&mut hasher);
            }
        }
    }
    Ok(format!("{:016x}", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_outlive_the_program_and_no_change() {
        let folder = tempfile::tempdir().unwrap();
        for part in ["src", "test", "script"] {
            fs::create_dir_all(folder.path().join("contracts").join(part)).unwrap();
        }
        let source = folder.path().join("contracts/src/A.sol");
        fs::write(&source, "contract A {}").unwrap();
        let workspace = Workspace::at(folder.path());
        let mutant = Mutant { file: "A.sol".into(), start: 3, end: 4, replacement: "<".into(), ..Mutant::default() };

        let journal = Journal::open(&workspace).unwrap();
        assert_eq!(journal.verdict(&mutant), None);
        journal.write(&mutant, Verdict::Survived).unwrap();
        assert_eq!(Journal::open(&workspace).unwrap().verdict(&mutant), Some(Verdict::Survived));
        fs::write(&source, "contract A { uint256 a; }").unwrap();
        assert_eq!(Journal::open(&workspace).unwrap().verdict(&mutant), None);
    }

    #[test]
    fn half_a_line_is_no_verdict() {
        assert_eq!(read(r#"{"fault":"A","verd"#), None);
    }
}
