//! Documents that exist and point at things that exist.

use super::Repository;
use super::source::Source;
use anyhow::{Context, Result};
use std::path::Path;

/// Every crate's root file begins with what the crate is for.
pub(super) fn crates(repository: &Repository<'_>) -> Result<Vec<String>> {
    let metadata = repository.workspace.metadata()?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let targets = packages.iter().filter_map(|package| package["targets"].as_array()).flatten();
    let roots = targets.filter(|target| target["kind"][0] != "test").filter_map(|target| target["src_path"].as_str());
    let mut violations = Vec::new();
    for root in roots {
        let relative = Path::new(root).strip_prefix(repository.workspace.root())?.to_string_lossy();
        let source = repository.sources.iter().find(|source| source.path == relative);
        let described = source.is_some_and(|source| source.text.starts_with("//!"));
        if !described {
            violations.push(format!("{relative}: begin with a `//!` page that says what this is for"));
        }
    }
    Ok(violations)
}

/// Relative links in Markdown lead to files of the repository.
pub(super) fn links(repository: &Repository<'_>) -> Result<Vec<String>> {
    let pages = repository.sources.iter().filter(|source| source.path.ends_with(".md"));
    let broken = |page: &Source| -> Vec<String> {
        let path = repository.workspace.path(&page.path);
        let folder = path.parent().unwrap_or(repository.workspace.root());
        let local = targets(&page.text).filter(|link| !link.contains("://") && !link.starts_with('#'));
        local
            .filter(|link| !folder.join(link.split('#').next().unwrap_or(link)).exists())
            .map(|link| format!("{}: no file at {link}", page.path))
            .collect()
    };
    Ok(pages.flat_map(broken).collect())
}

/// The targets of `[text](target)`.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

#[cfg(test)]
mod tests {
    use super::super::source::Language;
    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn finds_a_broken_link() {
        let workspace = &Workspace::here().unwrap();
        let text = "[a](Cargo.toml) [b](none.md) [c](https://example.org/none) [d](#d) [e](xtask/Cargo.toml#e)";
        let sources = vec![Source::new("A.md".into(), Language::Text, text.into())];
        let repository = Repository { workspace, sources };
        assert_eq!(links(&repository).unwrap(), ["A.md: no file at none.md"]);
    }
}
