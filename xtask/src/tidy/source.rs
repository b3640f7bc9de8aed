//! Source text split into code and comments, so that rules do not trip over words in strings.

use std::path::Path;

/// A language that the rules read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Rust,
    Solidity,
    /// Read as plain text: every word counts.
    Text,
}

impl Language {
    /// The language of a file by its name; `None` for files that no rule reads.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "rs" => Some(Self::Rust),
            "sol" => Some(Self::Solidity),
            "md" | "toml" | "yml" | "ts" | "tsx" | "css" | "html" | "cu" | "c" | "h" | "sql" => Some(Self::Text),
            _ => None,
        }
    }
}

/// One file of the repository.
pub(crate) struct Source {
    /// From the root of the repository.
    pub(crate) path: String,
    pub(crate) language: Language,
    pub(crate) text: String,
    /// The text with comments, and all strings' contents, replaced by spaces. Line breaks stay.
    pub(crate) code: String,
    /// The text with everything but comments replaced by spaces. Line breaks stay.
    pub(crate) comments: String,
}

impl Source {
    pub(crate) fn new(path: String, language: Language, text: String) -> Self {
        let (code, comments) = match language {
            Language::Text => (text.clone(), text.clone()),
            Language::Rust | Language::Solidity => split(&text, language),
        };
        let code = if language == Language::Rust { without_tests(&code) } else { code };
        Self { path, language, text, code, comments }
    }

    /// Whether the whole file is a test, a benchmark or their support.
    pub(crate) fn is_test(&self) -> bool {
        let mut parts = self.path.split('/');
        parts.any(|part| matches!(part, "tests" | "test" | "benches" | "tests.rs")) && self.language != Language::Text
    }

    /// The code with the number of each line, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code.lines())
    }
}

/// What a stretch of source is, with its length in bytes.
enum Piece {
    Comment(usize),
    Quoted(usize),
    Code(usize),
}

fn split(text: &str, language: Language) -> (String, String) {
    let (mut code, mut comments) = (String::with_capacity(text.len()), String::with_capacity(text.len()));
    let mut rest = text;
    while !rest.is_empty() {
        let (length, in_code, in_comments) = match piece(rest, language) {
            Piece::Comment(length) => (length, false, true),
            Piece::Quoted(length) => (length, false, false),
            Piece::Code(length) => (length, true, false),
        };
        let (head, tail) = rest.split_at(length);
        push(&mut code, head, in_code);
        push(&mut comments, head, in_comments);
        rest = tail;
    }
    (code, comments)
}

/// Appends `piece`, or as many spaces with the same line breaks.
fn push(out: &mut String, piece: &str, keep: bool) {
    if keep {
        out.push_str(piece);
    } else {
        out.extend(piece.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
    }
}

fn piece(rest: &str, language: Language) -> Piece {
    let first = rest.chars().next().map_or(1, char::len_utf8);
    if rest.starts_with("//") {
        return Piece::Comment(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Piece::Comment(block(rest, language == Language::Rust));
    }
    match (rest.as_bytes()[0], language) {
        (b'"', _) => Piece::Quoted(quoted(rest, b'"')),
        (b'\'', Language::Solidity) => Piece::Quoted(quoted(rest, b'\'')),
        (b'\'', _) => character(rest).map_or(Piece::Code(1), Piece::Quoted),
        (b'r', Language::Rust) => raw(rest).map_or_else(|| word(rest), Piece::Quoted),
        (letter, _) if letter.is_ascii_alphanumeric() || letter == b'_' => word(rest),
        _ => Piece::Code(first),
    }
}

/// A whole word at once, so that the `r` of `for` does not begin a raw string. `b` and `br` are taken alone, since
/// they may prefix a string.
fn word(rest: &str) -> Piece {
    if rest.starts_with("br\"") || rest.starts_with("br#") {
        return Piece::Code(1);
    }
    Piece::Code(rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len()))
}

/// Length of a block comment; Rust's may be nested.
fn block(rest: &str, nested: bool) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") && (nested || depth == 0) {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Length of a string with escapes, quotes included.
fn quoted(rest: &str, quote: u8) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            byte if byte == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Length of a Rust character; `None` where the quote begins a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut letters = rest.char_indices().skip(1);
    let (_, first) = letters.next()?;
    if first == '\\' {
        return Some(quoted(rest, b'\''));
    }
    letters.next().filter(|(_, close)| *close == '\'').map(|(at, _)| at + 1)
}

/// Length of a raw Rust string; `None` where `r` begins a word.
fn raw(rest: &str) -> Option<usize> {
    let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
    if rest.as_bytes().get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    Some(rest[body..].find(&close).map_or(rest.len(), |at| body + at + close.len()))
}

/// Rust code with every item under `#[cfg(test)]` replaced by spaces.
fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        let (before, item) = rest.split_at(at);
        out.push_str(before);
        let (item, after) = item.split_at(item_length(item));
        push(&mut out, item, false);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Length of the item at the start of `code`: up to its closing brace, or to its semicolon if none opens before.
pub(crate) fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    let mut inner = 0_usize;
    for (at, letter) in code.char_indices() {
        match letter {
            '(' | '[' => inner += 1,
            ')' | ']' => inner = inner.saturating_sub(1),
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 && inner == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new("a.rs".into(), Language::Rust, text.into()).code
    }

    #[test]
    fn strings_and_comments_are_not_code() {
        assert_eq!(code("a(\"// { b\"); // c").trim_end(), "a(        );");
        assert_eq!(code("x /* { /* } */ */ y"), "x                 y");
        assert_eq!(code("r#\"\"{\"#; for"), "       ; for");
        assert_eq!(code("b'{' '\\'' &'a str"), "b         &'a str");
        assert_eq!(code("\"a\nb\""), "  \n  ");
    }

    #[test]
    fn comments_are_kept_apart() {
        let source = Source::new("a.rs".into(), Language::Rust, "x; // why\ny".into());
        assert_eq!(source.comments, "   // why\n ");
    }

    #[test]
    fn test_items_are_not_code() {
        assert_eq!(code("a;\n#[cfg(test)]\nmod tests { fn b() { } }\nc;").replace([' ', '\n'], ""), "a;c;");
        assert_eq!(code("#[cfg(test)]\nmod tests;\nc").trim(), "c");
        assert_eq!(code("#[cfg(test)]\nfn a(x: [u8; 2]) { b; }\nc").trim(), "c");
    }

    #[test]
    fn solidity_has_single_quotes() {
        let source = Source::new("a.sol".into(), Language::Solidity, "f('{'); // x".into());
        assert_eq!(source.code.trim_end(), "f(   );");
    }
}
