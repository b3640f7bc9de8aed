//! Data to stdout, everything else to stderr.

use crate::error::CliError;
use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle};
use serde::Serialize;
use serde_json::json;
use std::io::{self, IsTerminal, Write};

/// How this run prints.
#[derive(Debug, Clone)]
pub struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    /// From the flags.
    pub const fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether stdout carries JSON.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a live line can be drawn.
    pub fn is_live(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// The answer of a command: a document, or its table.
    pub fn data(&self, document: &impl Serialize, table: &Table) -> Result<(), CliError> {
        if self.json { self.line(document) } else { Self::write(&table.to_string()) }
    }

    /// One document on one line.
    pub fn line(&self, document: &impl Serialize) -> Result<(), CliError> {
        Self::write(&serde_json::to_string(document)?)
    }

    /// A closed pipe, such as `capa job list | head -1`, is no failure.
    fn write(text: &str) -> Result<(), CliError> {
        match writeln!(io::stdout().lock(), "{text}") {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }

    /// A hint or a step, for people.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// A failure; scripts that read JSON get it as JSON, on stderr as well.
    pub fn error(&self, error: &CliError) {
        if self.json {
            eprintln!("{}", json!({ "error": error.to_string(), "exit": error.exit_code() }));
        } else {
            eprintln!("error: {error}");
        }
    }

    /// Asks before something is paid or ended. Without a terminal nothing is asked: the command itself is the answer.
    pub fn confirm(&self, question: &str, yes: bool) -> Result<(), CliError> {
        if yes || self.json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            self.note(question);
            return Ok(());
        }
        eprint!("{question} Go on? [y/N] ");
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            Ok(())
        } else {
            Err(CliError::Refused("nothing was done".into()))
        }
    }
}

/// One line under the head and none between rows, so that `grep` and `awk` find rows only.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// An empty table with a head.
pub fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    // A hash that is broken over two lines cannot be copied, so nothing is ever wrapped.
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.iter().copied());
    table
}

/// Shows what happens inside, on stderr.
pub fn log(verbose: u8) {
    let level = match verbose {
        0 => "error",
        1 => "client=info,service=info",
        2 => "client=debug,service=debug",
        _ => "debug",
    };
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| level.into());
    let subscriber = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter).finish();
    // Only the first caller in a process sets it, which is the right one.
    tracing::subscriber::set_global_default(subscriber).ok();
}
