//! A folder with a worker's files, and the program run in it.

use alloy::primitives::Address;
use protocol::signature::SigningKey;
use serde_json::Value;
use service::keystore::write_key_with;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

pub(crate) const PROVIDER: Address = Address::repeat_byte(0x70);

pub(crate) fn worker_key() -> SigningKey {
    SigningKey::from_bytes(&[0x51; 32]).unwrap()
}

/// A worker's folder.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    /// Where the worker tells its health.
    pub(crate) admin: String,
}

/// What a program did.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) text: String,
}

impl Place {
    /// With a key, and no configuration yet.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = fs::OpenOptions::new();
        let password = options.write(true).create_new(true).mode(0o600).open(folder.path().join("password"));
        password.unwrap().write_all(b"secret").unwrap();
        write_key_with(&folder.path().join("key.json"), &worker_key().to_bytes(), "secret", 4).unwrap();
        let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        Self { folder, admin }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn config(&self) -> String {
        self.file("worker.toml").display().to_string()
    }

    /// Writes a configuration for direct clients, with `more` at its end.
    pub(crate) fn configure(&self, rpc: &str, book: &str, more: &str) {
        let text = format!(
            "provider = \"{PROVIDER}\"\naddress_book = {book:?}\ndata = {data:?}\nadmin = \"{admin}\"\n\
             [key]\nkeystore = {keystore:?}\npassword_file = {password:?}\n\
             [chain]\nendpoints = [{rpc:?}]\nchain_id = {id}\n\
             [[offers]]\nresource = \"cpu.x86-64\"\nprice = \"50000000\"\ncapacity = \"86400000\"\n\
             [direct]\nmax_store = \"1000000\"\n{more}",
            data = self.file("data"),
            admin = self.admin,
            keystore = self.file("key.json"),
            password = self.file("password"),
            id = crate::chain::CHAIN_ID,
        );
        fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_capa-worker"));
        command.args(arguments).current_dir(self.folder.path()).env("RUST_LOG", "error");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = String::from_utf8(stdout).unwrap();
        println!("{arguments:?}: {status}\n{text}{}", String::from_utf8_lossy(&stderr));
        Ran { code: status.code().unwrap(), text }
    }
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

/// The check of that name in a doctor's report.
pub(crate) fn check<'a>(report: &'a Value, id: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no check {id} in {report:#}"))
}

/// Whether this machine can confine jobs as strangers' jobs must be; said aloud where it cannot.
pub(crate) fn is_confined(report: &Value) -> bool {
    let level = check(report, "sandbox.level");
    if level["state"] != "ok" {
        println!("this machine cannot confine jobs: {level}");
    }
    level["state"] == "ok"
}
