//! `capa wallet`: keys, and what they hold.

use crate::context::Context;
use crate::error::CliError;
use crate::keys;
use crate::output::table;
use alloy::primitives::Address;
use client::wallet::balance;
use protocol::signature::SigningKey;
use serde_json::json;
use service::keystore::{generate, write_key};
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Verbs of `wallet`.
#[derive(Debug, clap::Subcommand)]
pub enum WalletCommand {
    /// Make a wallet key and a session key, each in an encrypted file that only you can read
    New,
    /// Take over a wallet key that you have: 64 hexadecimal digits, from a file or from standard input
    Import {
        /// File with the digits; `-` reads standard input. A key never belongs on a command line.
        file: PathBuf,
    },
    /// Print the addresses of the wallet and the session key
    Show,
    /// Print how much CAPA an address holds
    Balance {
        /// Whose; the wallet's if none is given
        address: Option<Address>,
    },
}

/// Runs a verb.
pub async fn run(command: WalletCommand, context: &Context) -> Result<(), CliError> {
    match command {
        WalletCommand::New => create(context, None),
        WalletCommand::Import { file } => {
            let secret = read_secret(&file)?;
            create(context, Some(&secret))
        }
        WalletCommand::Show => show(context),
        WalletCommand::Balance { address } => print_balance(context, address).await,
    }
}

/// Writes the wallet, and a session key where there is none yet.
fn create(context: &Context, secret: Option<&[u8; 32]>) -> Result<(), CliError> {
    let (wallet, session) = (context.wallet_path()?, context.session_path()?);
    if wallet.exists() {
        let text = format!("{} exists and is never overwritten: move it away, or name another file", wallet.display());
        return Err(CliError::Refused(text));
    }
    let password = keys::new_password(context.settings.password_file.value.as_deref(), &context.output)?;
    let generated;
    let secret = match secret {
        Some(secret) => secret,
        None => {
            generated = generate();
            &generated
        }
    };
    write(wallet, secret, &password)?;
    if !session.exists() {
        write(session, &generate(), &password)?;
    }
    show(context)
}

fn write(path: &Path, secret: &[u8; 32], password: &str) -> Result<(), CliError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(write_key(path, secret, password)?)
}

fn read_secret(file: &Path) -> Result<Zeroizing<[u8; 32]>, CliError> {
    let mut text = Zeroizing::new(String::new());
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        let opened = std::fs::File::open(file);
        opened
            .and_then(|mut file| file.read_to_string(&mut text))
            .map_err(|error| CliError::Usage(format!("{} cannot be read: {error}", file.display())))?;
    }
    let mut secret = Zeroizing::new([0; 32]);
    let digits = text.trim();
    hex::decode_to_slice(digits.strip_prefix("0x").unwrap_or(digits), secret.as_mut_slice())
        .map_err(|_| CliError::Usage("a private key is 64 hexadecimal digits".into()))?;
    match SigningKey::from_bytes(&secret) {
        Some(_) => Ok(secret),
        None => Err(CliError::Usage("these digits are not a private key of secp256k1".into())),
    }
}

fn show(context: &Context) -> Result<(), CliError> {
    let (wallet, session) = (context.wallet_path()?, context.session_path()?);
    let rows = [("wallet", wallet), ("session", session)];
    let mut view = table(&["key", "address", "file"]);
    let mut document = serde_json::Map::new();
    for (name, path) in rows {
        let address = keys::address(path)?;
        view.add_row([name.to_owned(), address.to_string(), path.display().to_string()]);
        document.insert(name.into(), json!({ "address": address, "file": path }));
    }
    context.output.data(&document, &view)
}

async fn print_balance(context: &Context, address: Option<Address>) -> Result<(), CliError> {
    let owner = match address {
        Some(address) => address,
        None => keys::address(context.wallet_path()?)?,
    };
    let book = context.book()?;
    let chain = context.chain(&book).await?;
    let amount = balance(&chain, &book, owner).await?;
    let mut view = table(&["address", "CAPA"]);
    view.add_row([owner.to_string(), amount.to_capa()]);
    context.output.data(&json!({ "address": owner, "balance": amount, "decimals": 9 }), &view)
}
