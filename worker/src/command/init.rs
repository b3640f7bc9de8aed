//! `capa-worker init`: writes a configuration and makes a worker key.

use crate::Config;
use alloy::primitives::Address;
use anyhow::{Context, bail};
use clap::Args;
use protocol::amount::Price;
use service::keystore::{generate, write_key};
use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use url::Url;

/// The commented configuration that the new one is made from.
const EXAMPLE: &str = include_str!("../../worker.example.toml");
/// How much one offer sells, in base units, by how the names of its resources begin: a day of one vCPU, GPU or lease.
/// An order is never matched with an offer of less.
const CAPACITIES: [(&str, u64); 3] = [("cpu.", 86_400_000), ("gpu.", 86_400_000), ("lease.", 86_400)];
/// The same for builtin kernels, whose units are small.
const WORK: u64 = 1_000_000_000_000_000_000;

/// What cannot be known without the operator. What is not given is asked for.
#[derive(Debug, Args)]
pub struct Init {
    /// Where the configuration is written; the key lies beside it.
    #[arg(long, default_value = "worker.toml")]
    config: PathBuf,
    /// The registered address that is paid. Its key does not belong on this machine.
    #[arg(long)]
    provider: Option<Address>,
    /// The keeper to work for, such as `https://keeper.example`; `none` serves direct clients only.
    #[arg(long)]
    keeper: Option<String>,
    /// An indexer to ask how the market sees this provider; not needed.
    #[arg(long)]
    indexer: Option<Url>,
    /// The chain's JSON-RPC endpoint, one that you trust.
    #[arg(long)]
    rpc: Option<Url>,
    /// The chain's number.
    #[arg(long)]
    chain_id: Option<u64>,
    /// The deployment's address book.
    #[arg(long)]
    address_book: Option<PathBuf>,
    /// Folder of the ledger and of direct jobs' blobs; beside the configuration if none is given.
    #[arg(long)]
    data: Option<PathBuf>,
    /// What is sold and the least price, in nano CAPA per human unit: `cpu.x86-64=50000000`. May be given several times.
    #[arg(long = "offer", value_name = "RESOURCE=PRICE", value_parser = offer)]
    offers: Vec<(String, Price)>,
}

/// The files that are made. None of them may be there before.
struct Files {
    config: PathBuf,
    keystore: PathBuf,
    password: PathBuf,
    data: PathBuf,
}

/// All answers.
struct Answers {
    provider: Address,
    keeper: Option<Url>,
    indexer: Option<Url>,
    rpc: Url,
    chain_id: u64,
    address_book: PathBuf,
    offers: Vec<(String, Price)>,
}

impl Init {
    /// Writes what is needed, and says what comes next.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let files = Files::beside(&self.config, self.data.as_deref())?;
        files.check_absent()?;
        let answers = self.answers()?;
        let text = configuration(&answers, &files)?;
        let worker = files.write(&text)?;
        println!("{}", next_steps(&files, &answers, worker));
        Ok(ExitCode::SUCCESS)
    }

    fn answers(self) -> anyhow::Result<Answers> {
        let keeper = given_or_asked(self.keeper, "--keeper", "The keeper's address (or none)")?;
        Ok(Answers {
            provider: given_or_asked(self.provider, "--provider", "The provider's address, which is paid")?,
            keeper: match keeper.as_str() {
                "none" => None,
                text => Some(text.parse().context("the keeper is no address such as https://keeper.example")?),
            },
            indexer: self.indexer,
            rpc: given_or_asked(self.rpc, "--rpc", "The chain's RPC endpoint")?,
            chain_id: given_or_asked(self.chain_id, "--chain-id", "The chain's number")?,
            address_book: given_or_asked(self.address_book, "--address-book", "The file of the address book")?,
            offers: self.offers,
        })
    }
}

/// A value from the command line, or else from the person at the terminal.
fn given_or_asked<T: std::str::FromStr>(given: Option<T>, flag: &str, question: &str) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    if let Some(given) = given {
        return Ok(given);
    }
    if !std::io::stdin().is_terminal() {
        bail!("{flag} is missing, and there is nobody to ask");
    }
    let mut out = std::io::stderr();
    write!(out, "{question}: ").and_then(|()| out.flush())?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    line.trim().parse().with_context(|| format!("{flag}: `{}` cannot be used", line.trim()))
}

fn offer(text: &str) -> Result<(String, Price), String> {
    let parsed = text.split_once('=').and_then(|(name, price)| Some((name.to_owned(), price.parse().ok()?)));
    parsed.filter(|(name, price)| !name.is_empty() && *price > Price::ZERO).ok_or_else(|| {
        "write a resource and its price in nano CAPA per human unit, such as cpu.x86-64=50000000".to_owned()
    })
}

impl Files {
    fn beside(config: &Path, data: Option<&Path>) -> anyhow::Result<Self> {
        let folder = config.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let folder = folder.canonicalize().with_context(|| format!("there is no folder {}", folder.display()))?;
        let name = config.file_name().context("--config names no file")?;
        Ok(Self {
            config: folder.join(name),
            keystore: folder.join("worker.key.json"),
            password: folder.join("worker.password"),
            data: match data {
                Some(data) => std::path::absolute(data)?,
                None => folder.join("data"),
            },
        })
    }

    fn check_absent(&self) -> anyhow::Result<()> {
        for file in [&self.config, &self.keystore, &self.password] {
            if file.exists() {
                bail!(
                    "{} exists already, and nothing is ever overwritten: move it away, or put the new configuration \
                     into another folder by --config",
                    file.display()
                );
            }
        }
        Ok(())
    }

    /// Writes all of them for their owner alone, and returns the new key's address.
    fn write(&self, configuration: &str) -> anyhow::Result<Address> {
        let secret = generate();
        let key = protocol::signature::SigningKey::from_bytes(&secret).context("a new key is valid")?;
        let password = hex::encode(&generate()[..]);
        create(&self.password, &format!("{password}\n"))?;
        write_key(&self.keystore, &secret, &password)?;
        create(&self.config, configuration)?;
        Ok(key.address())
    }
}

fn create(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// The example with the operator's values in it.
fn configuration(answers: &Answers, files: &Files) -> anyhow::Result<String> {
    let path = |path: &Path| quoted(&path.display().to_string());
    let book = std::path::absolute(&answers.address_book)?;
    let mut text = EXAMPLE.to_owned();
    for (section, key, value) in [
        ("", "provider", quoted(&answers.provider.to_string())),
        ("", "address_book", path(&book)),
        ("", "data", path(&files.data)),
        ("[key]", "keystore", path(&files.keystore)),
        ("[key]", "password_file", path(&files.password)),
        ("[chain]", "endpoints", format!("[{}]", quoted(answers.rpc.as_str()))),
        ("[chain]", "chain_id", answers.chain_id.to_string()),
    ] {
        text = set(&text, section, key, Some(&value))?;
    }
    for (key, url) in [("keeper", &answers.keeper), ("indexer", &answers.indexer)] {
        let url = url.as_ref().map(|url| quoted(url.as_str()));
        text = set(&text, "", key, url.as_deref())?;
    }
    if !answers.offers.is_empty() {
        text = replace_offers(&text, &answers.offers)?;
    }
    let config: Config = toml::from_str(&text).context("the new configuration cannot be read back")?;
    config.validate()?;
    Ok(text)
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// The text with another value of a key, or with the key turned into a comment.
fn set(text: &str, section: &str, key: &str, value: Option<&str>) -> anyhow::Result<String> {
    let mut current = "";
    let mut found = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            current = line;
        }
        let is_it = current == section && line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" = "));
        found |= is_it;
        lines.push(match value {
            Some(value) if is_it => format!("{key} = {value}"),
            None if is_it => format!("# {line}"),
            _ => line.to_owned(),
        });
    }
    if !found {
        bail!("the example has no key {key} in {section}");
    }
    Ok(lines.join("\n") + "\n")
}

/// The text with these offers in the place of the example's.
fn replace_offers(text: &str, offers: &[(String, Price)]) -> anyhow::Result<String> {
    let start = text.find("[[offers]]").context("the example has no offer")?;
    let end = text[start..].find("\n\n").map_or(text.len(), |end| start + end + 1);
    let entry = |(resource, price): &(String, Price)| {
        let known = CAPACITIES.iter().find(|(class, _)| resource.starts_with(class));
        let capacity = known.map_or(WORK, |(_, capacity)| *capacity);
        format!(
            "[[offers]]\nresource = {}\nprice = \"{price}\"\ncapacity = \"{capacity}\"\nlifetime = 600\n",
            quoted(resource)
        )
    };
    let entries: Vec<_> = offers.iter().map(entry).collect();
    Ok(format!("{}{}{}", &text[..start], entries.join("\n"), &text[end..]))
}

fn next_steps(files: &Files, answers: &Answers, worker: Address) -> String {
    let (config, keystore) = (files.config.display(), files.keystore.display());
    let (password, provider) = (files.password.display(), answers.provider);
    format!(
        "Written: {config}, {keystore}, {password} (each for its owner alone).
The worker key is {worker}.

Next:
  1. Register the provider, once, with its wallet: capa provider register
  2. Let the worker key sign for it. If the wallet is on this machine:
       capa provider add-worker --worker-key {keystore} --worker-password-file {password}
     else print the key's consent here, and give it to the wallet there:
       capa provider consent {provider} --worker-key {keystore}
       capa provider add-worker --worker {worker} --consent <what the first command printed>
  3. Send {worker} a little of the chain's own coin: it pays the gas of claims and challenges.
  4. Look through {config}: what you sell, for how much, and how far you trust.
  5. capa-worker doctor --config {config}
  6. capa-worker run --config {config}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use service::keystore::{KeySource, read_key};
    use std::os::unix::fs::MetadataExt;

    fn init(folder: &Path) -> Init {
        Init {
            config: folder.join("worker.toml"),
            provider: Some(Address::repeat_byte(0x70)),
            keeper: Some("https://keeper.example/".into()),
            indexer: None,
            rpc: Some("https://rpc.example/token".parse().unwrap()),
            chain_id: Some(10),
            address_book: Some("/etc/capa/10.json".into()),
            data: None,
            offers: ["gpu.h200=2500000000", "cpu.x86-64=5", "gemm.bf16=7", "lease.h200=9"]
                .map(|text| offer(text).unwrap())
                .to_vec(),
        }
    }

    #[test]
    fn what_is_written_can_be_read_and_only_by_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        init(folder.path()).run().unwrap();
        let config = crate::command::load(&folder.path().join("worker.toml")).unwrap();
        config.validate().unwrap();
        assert_eq!((config.provider, config.chain.chain_id), (Address::repeat_byte(0x70), 10));
        assert_eq!(config.keeper.as_ref().unwrap().as_str(), "https://keeper.example/");
        assert!(config.indexer.is_none());
        let sold: Vec<_> = config.offers.iter().map(|offer| (offer.resource.as_str(), offer.price)).collect();
        assert_eq!(sold[..2], [("gpu.h200", Price(2_500_000_000)), ("cpu.x86-64", Price(5))]);
        let capacities: Vec<_> = config.offers.iter().map(|offer| offer.capacity.get()).collect();
        assert_eq!(capacities, [86_400_000, 86_400_000, 1_000_000_000_000_000_000, 86_400]);
        let KeySource { keystore, password_file } = &config.key;
        assert!(keystore.is_absolute());
        read_key(&config.key).unwrap();
        for file in [keystore, password_file, &folder.path().join("worker.toml")] {
            assert_eq!(std::fs::metadata(file).unwrap().mode() & 0o777, 0o600, "{}", file.display());
        }
        let text = std::fs::read_to_string(folder.path().join("worker.toml")).unwrap();
        assert!(text.contains("# Health and metrics."), "the comments stay");
    }

    #[test]
    fn nothing_is_overwritten() {
        for file in ["worker.toml", "worker.key.json", "worker.password"] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(file), "precious").unwrap();
            let refused = init(folder.path()).run().unwrap_err().to_string();
            assert!(refused.contains("nothing is ever overwritten"), "{refused}");
            assert_eq!(std::fs::read_to_string(folder.path().join(file)).unwrap(), "precious");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{file}");
        }
    }

    #[test]
    fn a_worker_for_direct_clients_names_no_keeper() {
        let folder = tempfile::tempdir().unwrap();
        Init { keeper: Some("none".into()), offers: vec![], ..init(folder.path()) }.run().unwrap();
        let config = crate::command::load(&folder.path().join("worker.toml")).unwrap();
        assert!(config.keeper.is_none() && config.direct.is_some());
        assert_eq!(config.offers[0].resource, "cpu.x86-64");
    }

    #[test]
    fn without_a_person_a_missing_value_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Init { provider: None, ..init(folder.path()) };
        // A test has no terminal.
        if !std::io::stdin().is_terminal() {
            assert!(missing.run().unwrap_err().to_string().starts_with("--provider is missing"));
        }
    }

    #[test]
    fn offers_are_read_strictly() {
        for text in ["cpu", "cpu=", "=5", "cpu=0", "cpu=1.5", "cpu=-1"] {
            assert!(offer(text).is_err(), "{text}");
        }
    }
}
