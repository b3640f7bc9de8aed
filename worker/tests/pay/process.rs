//! The program itself, as an operator runs it.

use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::time::{Duration, Instant};
use worker::Config;

const PROGRAM: &str = env!("CARGO_BIN_EXE_capa-worker");

/// Writes the configuration down.
pub(crate) fn write(config: &Config, folder: &Path) -> PathBuf {
    let path = folder.join("worker.toml");
    let quoted = |path: &Path| format!("{:?}", path.display().to_string());
    let offer = &config.offers[0];
    let mut text = String::new();
    if let Some(keeper) = &config.keeper {
        text.push_str(&format!("keeper = \"{keeper}\"\n"));
    }
    text.push_str(&format!(
        "provider = \"{}\"\naddress_book = {}\ndata = {}\nadmin = \"{}\"\nslots = {}\n\
         [key]\nkeystore = {}\npassword_file = {}\n\
         [chain]\nendpoints = [\"{}\"]\nchain_id = {}\npoll_ms = 20\n\
         [[offers]]\nresource = \"{}\"\nprice = \"{}\"\ncapacity = \"{}\"\nlifetime = {}\n\
         [limits]\nchain_age_ms = {}\npatience_ms = {}\n\
         [claim]\nminimum = \"{}\"\npoll_ms = {}\ncoin_price = \"{}\"\n\
         [drain]\ntimeout_s = {}\n",
        config.provider,
        quoted(&config.address_book),
        quoted(&config.data),
        config.admin,
        config.slots,
        quoted(&config.key.keystore),
        quoted(&config.key.password_file),
        config.chain.endpoints[0],
        config.chain.chain_id,
        offer.resource,
        offer.price,
        offer.capacity,
        offer.lifetime,
        config.limits.chain_age_ms,
        config.limits.patience_ms,
        config.claim.minimum,
        config.claim.poll_ms,
        config.claim.coin_price,
        config.drain.timeout_s,
    ));
    if let Some(direct) = &config.direct {
        text.push_str(&format!("[direct]\nlisten = \"{}\"\nredeem = \"{}\"\n", direct.listen, direct.redeem));
    }
    std::fs::write(&path, text).unwrap();
    path
}

/// `capa-worker run`, killed with the test.
pub(crate) struct Worker(Child);

impl Worker {
    pub(crate) fn start(config: &Config, folder: &Path) -> Self {
        let log = File::options().create(true).append(true).open(folder.join("worker.log")).unwrap();
        let file = write(config, folder);
        let child = Command::new(PROGRAM)
            .args(["run", "--config"])
            .arg(file)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "the worker does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Another verb of the program, to its end.
pub(crate) async fn verb(config: &Config, folder: &Path, arguments: &[&str]) -> Output {
    let (file, arguments) = (write(config, folder), arguments.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
    let run = move || Command::new(PROGRAM).args(arguments).arg("--config").arg(file).output().unwrap();
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Its answer for programs.
pub(crate) fn document(output: &Output) -> Value {
    let text = || format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text()))
}
