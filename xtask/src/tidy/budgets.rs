//! Files and functions that can be read in one go.

use super::Repository;
use super::source::{Language, Source, item_length};
use anyhow::Result;

/// The longest file and function, in lines, tests left out.
fn budget(language: Language) -> Option<(usize, usize)> {
    match language {
        Language::Rust => Some((400, 50)),
        Language::Solidity => Some((500, 40)),
        Language::Text => None,
    }
}

pub(super) fn files(repository: &Repository<'_>) -> Result<Vec<String>> {
    let too_long = |source: &Source| {
        let (limit, _) = budget(source.language).filter(|_| !source.is_test())?;
        let lines = length(source);
        (lines > limit).then(|| format!("{}: {lines} lines, more than {limit}", source.path))
    };
    Ok(repository.sources.iter().filter_map(too_long).collect())
}

/// Lines of a file, those of its inline tests left out.
fn length(source: &Source) -> usize {
    let tests = source.text.find("\n#[cfg(test)]\nmod tests {").filter(|_| source.language == Language::Rust);
    source.text[..tests.unwrap_or(source.text.len())].lines().count()
}

pub(super) fn functions(repository: &Repository<'_>) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    for source in repository.sources.iter().filter(|source| !source.is_test()) {
        let Some((_, limit)) = budget(source.language) else { continue };
        for (line, name, lines) in bodies(source) {
            if lines > limit {
                violations.push(format!("{}:{line}: {name} has {lines} lines, more than {limit}", source.path));
            }
        }
    }
    Ok(violations)
}

/// Line, name and length of every function with a body.
fn bodies(source: &Source) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (at, word) in words(&source.code) {
        let rest = &source.code[at..];
        let Some(name) = function(rest, word, source.language) else { continue };
        let item = &rest[..item_length(rest)];
        if item.ends_with('}') {
            let line = source.code[..at].lines().count().max(1) + usize::from(source.code[..at].ends_with('\n'));
            found.push((line, name, item.lines().count()));
        }
    }
    found
}

/// Every word with its place.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let boundary = |letter: char| !letter.is_alphanumeric() && letter != '_';
    let mut at = 0;
    code.split(boundary).map(move |word| {
        let start = at;
        at += word.len() + code[at + word.len()..].chars().next().map_or(0, char::len_utf8);
        (start, word)
    })
}

/// The name of the function that begins with `word`, if one does.
fn function(rest: &str, word: &str, language: Language) -> Option<String> {
    match (language, word) {
        (Language::Solidity, "constructor" | "fallback" | "receive") => {
            rest[word.len()..].trim_start().starts_with('(').then(|| word.to_owned())
        }
        (Language::Rust, "fn") | (Language::Solidity, "function" | "modifier") => {
            let name = rest[word.len()..].strip_prefix(' ')?;
            let end = name.find(|letter: char| !letter.is_alphanumeric() && letter != '_')?;
            Some(name[..end].to_owned()).filter(|name| !name.is_empty())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(language: Language, text: &str) -> Vec<(usize, String, usize)> {
        bodies(&Source::new("a".into(), language, text.into()))
    }

    #[test]
    fn measures_rust_functions() {
        let text =
            "trait A { fn none(&self); }\n\nfn one(f: fn(u8) -> u8, x: [u8; 2]) {\n    if x { y }\n}\nfn two() {}";
        assert_eq!(found(Language::Rust, text), [(3, "one".into(), 3), (6, "two".into(), 1)]);
    }

    #[test]
    fn measures_solidity_functions() {
        let text =
            "contract A {\n  constructor() {\n  }\n  function f(uint256 a) external;\n  function g() {\n\n\n  }\n}";
        assert_eq!(found(Language::Solidity, text), [(2, "constructor".into(), 2), (5, "g".into(), 4)]);
    }

    #[test]
    fn inline_tests_do_not_count() {
        let text = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\n";
        assert_eq!(length(&Source::new("a.rs".into(), Language::Rust, text.into())), 1);
    }
}
