//! The command line as a shell sees it: texts, exit codes, files. Set `UPDATE_SNAPSHOTS=1` to rewrite the snapshots.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail by panicking, too")]

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::write(home.path("password"), "correct horse\n").unwrap();
        fs::set_permissions(home.path("password"), fs::Permissions::from_mode(0o600)).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn capa(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_capa"));
        command.args(arguments).env_clear().env("HOME", self.0.path());
        command
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn snapshot(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{} is not up to date", path.display());
}

#[test]
fn help_texts() {
    let home = Home::new();
    for (name, arguments) in [
        ("help", vec!["--help"]),
        ("job", vec!["job", "--help"]),
        ("job-submit", vec!["job", "submit", "--help"]),
        ("channel", vec!["channel", "--help"]),
        ("channel-open", vec!["channel", "open", "--help"]),
        ("market", vec!["market", "--help"]),
        ("wallet", vec!["wallet", "--help"]),
        ("provider-add-worker", vec!["provider", "add-worker", "--help"]),
    ] {
        let output = home.capa(&arguments);
        assert_eq!(output.status.code(), Some(0), "{name}");
        snapshot(name, &text(&output.stdout));
    }
}

#[test]
fn usage_errors_exit_with_2_and_say_what_to_do() {
    let home = Home::new();
    fs::write(home.path("broken.toml"), "keper = \"http://127.0.0.1\"\n").unwrap();
    let broken = home.path("broken.toml");
    for (arguments, words) in [
        (vec!["jobs"], "similar"),
        (vec!["job", "submit"], "--max-total"),
        (vec!["job", "submit", "x", "--max-total", "1e3"], "at most 9 decimals"),
        (vec!["job", "submit", "x", "--max-total", "1", "--out", "o"], "--watch"),
        (vec!["job", "show", "12"], "64 hexadecimal digits"),
        (vec!["job", "submit", "none", "--max-total", "1"], "job.json"),
        (vec!["channel", "open", "-5"], "unexpected argument"),
        (vec!["channel", "status"], "CAPA_KEEPER"),
        (vec!["wallet", "balance", "0x00000000000000000000000000000000000000aa"], "CAPA_ADDRESS_BOOK"),
        (
            vec!["--address-book", "none.json", "provider", "status", "0x00000000000000000000000000000000000000aa"],
            "--address-book",
        ),
        (vec!["--config", "none.toml", "config", "show"], "cannot be read"),
        (vec!["--config", broken.to_str().unwrap(), "config", "show"], "keper"),
        (vec!["wallet", "new"], "--password-file"),
    ] {
        let output = home.command(&arguments).stdin(std::process::Stdio::null()).output().unwrap();
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(words), "{arguments:?} does not say {words:?}: {errors}");
        assert!(output.stdout.is_empty(), "{arguments:?} wrote to stdout");
    }
}

#[test]
fn a_wallet_is_made_once_and_only_its_owner_can_read_it() {
    let home = Home::new();
    let password = home.path("password");
    let password = password.to_str().unwrap();
    let missing = home.capa(&["wallet", "show"]);
    assert_eq!(missing.status.code(), Some(3), "{}", text(&missing.stderr));
    let made = home.capa(&["wallet", "new", "--password-file", password, "--json"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let document: Value = serde_json::from_slice(&made.stdout).unwrap();
    for name in ["wallet", "session"] {
        let file = document[name]["file"].as_str().unwrap();
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_ne!(document["wallet"]["address"], document["session"]["address"]);
    let shown = home.capa(&["wallet", "show", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&shown.stdout).unwrap(), document);
    let again = home.capa(&["wallet", "new", "--password-file", password, "--json"]);
    assert_eq!(again.status.code(), Some(4));
    let error: Value = serde_json::from_slice(&again.stderr).unwrap();
    assert!(error["error"].as_str().unwrap().contains("never overwritten"));
    assert_eq!(error["exit"], 4);
}

#[test]
fn an_imported_key_keeps_its_address() {
    let home = Home::new();
    fs::write(home.path("key"), "0x4646464646464646464646464646464646464646464646464646464646464646\n").unwrap();
    let (key, password) = (home.path("key"), home.path("password"));
    let arguments =
        ["wallet", "import", key.to_str().unwrap(), "--password-file", password.to_str().unwrap(), "--json"];
    let output = home.capa(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["wallet"]["address"], "0x9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f");
    fs::write(home.path("key"), "46").unwrap();
    fs::remove_file(document["wallet"]["file"].as_str().unwrap()).unwrap();
    let bad = home.capa(&["wallet", "import", key.to_str().unwrap(), "--password-file", password.to_str().unwrap()]);
    assert_eq!(bad.status.code(), Some(2));
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let home = Home::new();
    let file = home.path("config.toml");
    fs::write(&file, "keeper = \"http://file:1\"\nindexer = \"http://file:2\"\nrpc = \"http://file:3\"\n").unwrap();
    let output = home
        .command(&["config", "show", "--json", "--config", file.to_str().unwrap(), "--keeper", "http://flag:1"])
        .env("CAPA_KEEPER", "http://environment:1")
        .env("CAPA_INDEXER", "http://environment:2")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |key: &str| {
        let row = rows.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap();
        (row["value"].as_str().unwrap_or_default().to_owned(), row["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(of("keeper"), ("http://flag:1/".into(), "flag".into()));
    assert_eq!(of("indexer"), ("http://environment:2/".into(), "environment".into()));
    assert_eq!(of("rpc"), ("http://file:3/".into(), "file".into()));
    assert_eq!(of("state").1, "default");
    assert_eq!(of("address_book").1, "unset");
}

#[test]
fn a_keeper_that_is_not_there_is_a_network_failure() {
    let home = Home::new();
    let output = home.capa(&["market", "offers", "--keeper", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
}

#[test]
fn completions_name_every_noun() {
    let home = Home::new();
    let output = home.capa(&["completions", "bash"]);
    assert_eq!(output.status.code(), Some(0));
    let script = text(&output.stdout);
    for noun in ["wallet", "channel", "job", "market", "provider", "keeper", "config"] {
        assert!(
            script.contains(&format!("capa__subcmd__{noun}")) || script.contains(&format!("capa__{noun}")),
            "{noun}"
        );
    }
}
