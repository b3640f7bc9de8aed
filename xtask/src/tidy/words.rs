//! Rules about single words of code and comments.

use super::Repository;
use super::source::Language;
use anyhow::Result;

/// Where foreign code is called, the kernel is asked to confine a job, or a test does what a job must not.
const UNSAFE: [&str; 4] =
    ["worker/src/execute/cuda", "worker/src/sandbox", "worker/tests/sandbox", "testkit/emulated-cuda"];

/// Imports name what they bring in, so that a reader finds where a name comes from. Re-exports may be wide, tests too.
pub(super) fn imports(repository: &Repository<'_>) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    for source in repository.sources.iter().filter(|source| !source.is_test()) {
        for (number, line) in source.lines() {
            let line = line.trim();
            let wide = match source.language {
                Language::Rust => line.starts_with("use ") && line.contains('*'),
                Language::Solidity => line.starts_with("import ") && !line.contains('{'),
                Language::Text => false,
            };
            if wide {
                violations.push(format!("{}:{number}: import each name", source.path));
            }
        }
    }
    Ok(violations)
}

/// Work to do belongs in issues, not in the sources.
pub(super) fn unfinished(repository: &Repository<'_>) -> Result<Vec<String>> {
    let reminders = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let macros = [concat!("to", "do!"), concat!("unimple", "mented!")];
    let mut violations = Vec::new();
    for source in &repository.sources {
        let comments = (1..).zip(source.comments.lines()).filter(|(_, line)| has_word(line, &reminders));
        let code = source
            .lines()
            .filter(|(_, line)| source.language == Language::Rust && macros.iter().any(|name| line.contains(name)));
        for (number, _) in comments.chain(code) {
            violations.push(format!("{}:{number}: finish it, or open an issue", source.path));
        }
    }
    Ok(violations)
}

/// A block's number is another chain's on some rollups, so that contracts read timestamps only.
pub(super) fn heights(repository: &Repository<'_>) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    for source in repository.sources.iter().filter(|source| source.path.starts_with("contracts/src/")) {
        let lines = source.lines().filter(|(_, line)| line.contains("block.number") || line.contains("number()"));
        violations.extend(lines.map(|(number, _)| format!("{}:{number}: use block.timestamp", source.path)));
    }
    Ok(violations)
}

/// Unsafe code stays where its reasons are written.
pub(super) fn unsafe_code(repository: &Repository<'_>) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    for source in &repository.sources {
        let allowed = UNSAFE.iter().any(|path| source.path.starts_with(path));
        if source.language == Language::Rust && !allowed {
            let lines = source.lines().filter(|(_, line)| has_word(line, &["unsafe"]));
            violations.extend(lines.map(|(number, _)| format!("{}:{number}: unsafe outside {UNSAFE:?}", source.path)));
        }
    }
    Ok(violations)
}

fn has_word(line: &str, words: &[&str]) -> bool {
    line.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| words.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::*;
    use crate::workspace::Workspace;

    fn with(workspace: &Workspace, path: &str, language: Language, text: &str) -> Vec<usize> {
        let sources = vec![Source::new(path.into(), language, text.into())];
        let repository = Repository { workspace, sources };
        [imports, unfinished, unsafe_code, heights].map(|rule| rule(&repository).unwrap().len()).to_vec()
    }

    #[test]
    fn each_rule_sees_its_violation_only() {
        let workspace = &Workspace::here().unwrap();
        let reminder = concat!("// TO", "DO: later");
        assert_eq!(with(workspace, "a/src/a.rs", Language::Rust, "use a::b;\n"), [0, 0, 0, 0]);
        assert_eq!(with(workspace, "a/src/a.rs", Language::Rust, "use a::*;\n"), [1, 0, 0, 0]);
        assert_eq!(with(workspace, "a/tests/a.rs", Language::Rust, "use a::*;\n"), [0, 0, 0, 0]);
        assert_eq!(with(workspace, "a.sol", Language::Solidity, "import \"a\";\n"), [1, 0, 0, 0]);
        assert_eq!(with(workspace, "a/src/a.rs", Language::Rust, reminder), [0, 1, 0, 0]);
        assert_eq!(with(workspace, "a/src/a.rs", Language::Rust, concat!("fn a() { to", "do!() }")), [0, 1, 0, 0]);
        assert_eq!(with(workspace, "a/src/a.rs", Language::Rust, "unsafe { a() }"), [0, 0, 1, 0]);
        assert_eq!(with(workspace, "worker/src/sandbox.rs", Language::Rust, "unsafe { a() }"), [0, 0, 0, 0]);
        let height = "uint256 a = block.number;";
        assert_eq!(with(workspace, "contracts/src/A.sol", Language::Solidity, height), [0, 0, 0, 1]);
        assert_eq!(
            with(workspace, "contracts/src/A.sol", Language::Solidity, "assembly { a := number() }"),
            [0, 0, 0, 1]
        );
        assert_eq!(with(workspace, "contracts/test/A.sol", Language::Solidity, height), [0, 0, 0, 0]);
        assert_eq!(with(workspace, "contracts/src/A.sol", Language::Solidity, "// block.number"), [0, 0, 0, 0]);
        assert_eq!(with(workspace, "a/src/a.rs", Language::Rust, "let a = \"unsafe\";"), [0, 0, 0, 0]);
    }
}
