//! Rules that the compiler does not know. Each is one function from the sources to its violations.

mod abis;
mod budgets;
mod documents;
mod layers;
mod operations;
mod source;
mod words;

use crate::files;
use crate::test::Counts;
use crate::workspace::Workspace;
use anyhow::{Result, bail};
use source::{Language, Source};

/// What a rule may look at.
struct Repository<'a> {
    workspace: &'a Workspace,
    sources: Vec<Source>,
}

/// A rule's name and its check, which returns one sentence per violation.
type Rule = (&'static str, fn(&Repository<'_>) -> Result<Vec<String>>);

const RULES: [Rule; 11] = [
    ("crates use only the layers below", layers::check),
    ("files are short enough", budgets::files),
    ("functions are short enough", budgets::functions),
    ("imports are named", words::imports),
    ("nothing is left to be done", words::unfinished),
    ("contracts tell time by timestamps", words::heights),
    ("unsafe code is where it must be", words::unsafe_code),
    ("every crate explains itself", documents::crates),
    ("links lead somewhere", documents::links),
    ("operations pages match the contracts", operations::check),
    ("committed ABIs are fresh", abis::check),
];

/// Checks every rule; an error if one is violated.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    crate::setup::run(workspace)?;
    let counts = check(workspace)?;
    println!("{} passed, {} failed", counts.passed, counts.failed);
    if counts.failed > 0 {
        bail!("some rules are violated");
    }
    Ok(())
}

/// Prints every violation and counts the rules.
pub(crate) fn check(workspace: &Workspace) -> Result<Counts> {
    let repository = Repository { workspace, sources: sources(workspace)? };
    let mut counts = Counts::default();
    for (name, rule) in RULES {
        let violations = rule(&repository)?;
        println!("{} {name}", if violations.is_empty() { "  ok" } else { "FAIL" });
        violations.iter().for_each(|violation| println!("       {violation}"));
        counts.passed += u64::from(violations.is_empty());
        counts.failed += u64::from(!violations.is_empty());
    }
    Ok(counts)
}

fn sources(workspace: &Workspace) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in files::below(workspace.root())? {
        if let Some(language) = Language::of(&path) {
            let relative = path.strip_prefix(workspace.root())?.to_string_lossy().into_owned();
            sources.push(Source::new(relative, language, files::read(&path)?));
        }
    }
    Ok(sources)
}
