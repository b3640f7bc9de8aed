//! How a command can fail, and what the shell is told.

use client::anchor::AnchorError;
use client::keeper::KeeperError;
use client::manifest::ManifestError;
use client::session::SessionError;
use client::session::state::StateError;
use client::verify::VerifyError;
use client::wallet::WalletError;
use protocol::wire::Code;
use service::chain::ChainError;
use service::keystore::KeystoreError;

/// A command did not succeed. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Something went wrong that fits nowhere else.
    #[error("{0}")]
    Failed(String),
    /// The command line or the configuration is not usable.
    #[error("{0}")]
    Usage(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// Somebody said no: the contract, the keeper, or a limit that you set.
    #[error("{0}")]
    Refused(String),
    /// The chain, the keeper or the indexer does not answer.
    #[error("{0}")]
    Network(String),
    /// The job ran and did not deliver.
    #[error("{0}")]
    JobFailed(String),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl CliError {
    /// What the shell gets: 1 failed, 2 usage, 3 not found, 4 refused, 5 network, 6 the job failed, 130 interrupted.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::Refused(_) => 4,
            Self::Network(_) => 5,
            Self::JobFailed(_) => 6,
            Self::Interrupted => 130,
        }
    }
}

impl From<KeeperError> for CliError {
    fn from(error: KeeperError) -> Self {
        let text = error.to_string();
        match error.code() {
            Some(Code::NotFound | Code::UnknownChannel) => Self::NotFound(text),
            Some(_) => Self::Refused(text),
            None if error.is_retryable() => Self::Network(text),
            None => Self::Failed(text),
        }
    }
}

impl From<AnchorError> for CliError {
    fn from(error: AnchorError) -> Self {
        if error.is_retryable() { Self::Network(error.to_string()) } else { Self::Failed(error.to_string()) }
    }
}

impl From<ChainError> for CliError {
    fn from(error: ChainError) -> Self {
        AnchorError::from(error).into()
    }
}

impl From<WalletError> for CliError {
    fn from(error: WalletError) -> Self {
        let text = error.to_string();
        match error {
            WalletError::Anchor(error) => error.into(),
            WalletError::Reverted(_) | WalletError::Poor { .. } | WalletError::KeeperGone { .. } => Self::Refused(text),
            other if other.is_retryable() => Self::Network(text),
            WalletError::Send(_) | WalletError::Failed(_) | WalletError::StrangeToken(_) => Self::Failed(text),
        }
    }
}

impl From<SessionError> for CliError {
    fn from(error: SessionError) -> Self {
        let text = error.to_string();
        match error {
            SessionError::Keeper(error) => error.into(),
            SessionError::Anchor(error) => error.into(),
            SessionError::NoChannel(_) => Self::NotFound(text),
            SessionError::UnknownResource(_) => Self::NotFound(text),
            SessionError::Unreachable { .. } => Self::Network(text),
            SessionError::Closing(_) | SessionError::VoucherRefused { .. } | SessionError::Terms(_) => {
                Self::Refused(text)
            }
            SessionError::State(_)
            | SessionError::Reconcile(_)
            | SessionError::Acceptance(_)
            | SessionError::Ended(_) => Self::Failed(text),
        }
    }
}

impl From<VerifyError> for CliError {
    fn from(error: VerifyError) -> Self {
        let text = error.to_string();
        match error {
            VerifyError::NoResult(_) => Self::NotFound(text),
            VerifyError::Keeper(error) => error.into(),
            VerifyError::Mismatch { .. } | VerifyError::Length { .. } | VerifyError::Product(_) => Self::Failed(text),
        }
    }
}

impl From<ManifestError> for CliError {
    fn from(error: ManifestError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<StateError> for CliError {
    fn from(error: StateError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<KeystoreError> for CliError {
    fn from(error: KeystoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
