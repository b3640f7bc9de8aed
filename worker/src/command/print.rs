//! How the verbs print: a document for programs, a table for people.

use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle};
use serde::Serialize;
use std::io::{self, Write};

/// One line under the head and none between rows, so that `grep` and `awk` find rows only.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// An empty table with a head. Nothing is ever wrapped: a hash that is broken over two lines cannot be copied.
pub(super) fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.iter().copied());
    table
}

/// A text that somebody else wrote, as one line of a table.
pub(super) fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Prints `document` as JSON, or else `text`.
pub(super) fn print(json: bool, document: &impl Serialize, text: &str) -> anyhow::Result<()> {
    let text = if json { serde_json::to_string_pretty(document)? } else { text.to_owned() };
    match writeln!(io::stdout().lock(), "{text}") {
        // Whoever reads may have read enough, such as `head`.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_row() {
        let mut shown = table(&["job", "reason"]);
        shown.add_row(["0x1".to_owned(), line("it failed\n0x2  delivered\u{1b}[1A")]);
        let shown = shown.to_string();
        assert_eq!(shown.lines().count(), 3, "{shown}");
        assert!(!shown.contains('\u{1b}'));
    }
}
