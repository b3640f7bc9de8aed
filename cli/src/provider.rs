//! `capa provider`: a provider's record and its worker keys.

use crate::channel::report;
use crate::context::Context;
use crate::error::CliError;
use crate::keys;
use crate::output::table;
use alloy::primitives::{Address, B256};
use client::provider::consent;
use protocol::signature::Signature;
use serde_json::json;
use std::path::PathBuf;

/// Verbs of `provider`.
#[derive(Debug, clap::Subcommand)]
pub enum ProviderCommand {
    /// Register the wallet as a provider, or change its record; earnings are paid to the wallet's address
    Register {
        /// Where offers and status can be asked for
        #[arg(long, default_value = "")]
        endpoint: String,
        /// Where the text of the terms you work under can be read
        #[arg(long, default_value = "", value_name = "URI")]
        terms_uri: String,
        /// Hash of that text
        #[arg(long, default_value_t = B256::ZERO)]
        terms: B256,
    },
    /// Let a worker key sign for the wallet
    AddWorker {
        /// The worker's keystore, if it is on this machine
        #[arg(long, conflicts_with_all = ["worker", "consent"], value_name = "KEYSTORE")]
        worker_key: Option<PathBuf>,
        /// Password file of that keystore
        #[arg(long, requires = "worker_key", value_name = "FILE")]
        worker_password_file: Option<PathBuf>,
        /// The worker key's address
        #[arg(long, requires = "consent")]
        worker: Option<Address>,
        /// The signature that `capa provider consent` printed on the worker's machine
        #[arg(long, requires = "worker")]
        consent: Option<Signature>,
    },
    /// Take a worker key away
    RemoveWorker {
        /// The worker key's address
        worker: Address,
    },
    /// On a worker's machine: sign that its key may work for a provider
    Consent {
        /// The provider's address
        provider: Address,
        /// The worker's keystore
        #[arg(long, value_name = "KEYSTORE")]
        worker_key: PathBuf,
    },
    /// Print a provider's record
    Status {
        /// Which provider; the wallet if none is given
        provider: Option<Address>,
    },
}

/// Runs a verb.
pub async fn run(command: ProviderCommand, context: &Context) -> Result<(), CliError> {
    match command {
        ProviderCommand::Register { endpoint, terms_uri, terms } => {
            let wallet = context.wallet().await?;
            report(context, "registered", &wallet.register_provider(&endpoint, &terms_uri, terms).await?)
        }
        ProviderCommand::AddWorker { worker_key, worker_password_file, worker, consent } => {
            let wallet = context.wallet().await?;
            let (worker, consent) = match (worker_key, worker, consent) {
                (Some(keystore), _, _) => {
                    let file = worker_password_file.or_else(|| context.settings.password_file.value.clone());
                    signed(context, wallet.address(), &keystore, file)?
                }
                (None, Some(worker), Some(consent)) => (worker, consent),
                (None, _, _) => {
                    return Err(CliError::Usage("give --worker-key, or --worker together with --consent".into()));
                }
            };
            report(context, "added", &wallet.add_worker(worker, &consent).await?)
        }
        ProviderCommand::RemoveWorker { worker } => {
            report(context, "removed", &context.wallet().await?.remove_worker(worker).await?)
        }
        ProviderCommand::Consent { provider, worker_key } => {
            let file = context.settings.password_file.value.clone();
            let (worker, consent) = signed(context, provider, &worker_key, file)?;
            let mut view = table(&["worker", "consent"]);
            view.add_row([worker.to_string(), consent.to_string()]);
            let document = json!({ "worker": worker, "provider": provider, "consent": consent });
            context.output.data(&document, &view)
        }
        ProviderCommand::Status { provider } => status(context, provider).await,
    }
}

fn signed(
    context: &Context,
    provider: Address,
    keystore: &std::path::Path,
    password_file: Option<PathBuf>,
) -> Result<(Address, Signature), CliError> {
    let book = context.book()?;
    let key = keys::open(keystore, password_file.as_deref())?;
    Ok((key.address(), consent(book.chain_id.get(), book.registry(), provider, &key)))
}

async fn status(context: &Context, provider: Option<Address>) -> Result<(), CliError> {
    let provider = match provider {
        Some(provider) => provider,
        None => keys::address(context.wallet_path()?)?,
    };
    let book = context.book()?;
    let chain = context.chain(&book).await?;
    let record = client::provider::record(&chain, &book, provider).await?;
    if record.registered_at.is_none() {
        let text = format!("{provider} is no provider: register it with `capa provider register`");
        return Err(CliError::NotFound(text));
    }
    let mut view = table(&["provider", "worker keys", "endpoint", "terms"]);
    let row = [provider.to_string(), record.workers.to_string(), record.endpoint.clone(), record.terms.to_string()];
    view.add_row(row);
    context.output.data(&record, &view)
}
