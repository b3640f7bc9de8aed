//! EIP-712 digests and EIP-2098 signatures.
//!
//! Signatures are raw secp256k1 ECDSA with low `s`, 64 bytes: `r ‖ yParityAndS`. Code put on a key by EIP-7702 does
//! not matter, because nothing here asks a contract.

use alloy::primitives::{Address, B256, keccak256};
use alloy::sol_types::{SolStruct, eip712_domain};
use secp256k1::{
    Message, PublicKey, SECP256K1, SecretKey,
    ecdsa::{RecoverableSignature, RecoveryId},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};

/// Where Capa's messages are valid: one chain and one Settlement contract. The separator is computed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    chain_id: u64,
    settlement: Address,
    separator: B256,
}

impl Domain {
    /// The domain `Capa`, version `1`, of a Settlement contract.
    pub fn new(chain_id: u64, settlement: Address) -> Self {
        let domain = eip712_domain! {
            name: "Capa",
            version: "1",
            chain_id: chain_id,
            verifying_contract: settlement,
        };
        Self { chain_id, settlement, separator: domain.separator() }
    }

    /// EIP-155 chain id.
    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Address of the Settlement contract.
    pub const fn settlement(&self) -> Address {
        self.settlement
    }

    /// The EIP-712 domain separator.
    pub const fn separator(&self) -> B256 {
        self.separator
    }

    /// The digest that is signed for a struct hash: `keccak256(0x1901 ‖ separator ‖ structHash)`.
    pub fn digest(&self, struct_hash: B256) -> B256 {
        let mut preimage = [0u8; 66];
        preimage[0] = 0x19;
        preimage[1] = 0x01;
        preimage[2..34].copy_from_slice(self.separator.as_slice());
        preimage[34..].copy_from_slice(struct_hash.as_slice());
        keccak256(preimage)
    }

    /// The digest of a message declared in Solidity.
    pub fn digest_of<M: SolStruct>(&self, message: &M) -> B256 {
        self.digest(message.eip712_hash_struct())
    }
}

/// A signature in its short form of EIP-2098.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 64]);

/// Why a signature was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Its `s` is in the upper half of the curve order, or it is no curve point at all.
    #[error("the signature is malformed: sign with low s and send the 64 bytes of EIP-2098")]
    Malformed,
    /// It is well formed, but another key made it.
    #[error("the signature is by {found}, not by {expected}")]
    WrongSigner {
        /// Who should have signed.
        expected: Address,
        /// Who signed.
        found: Address,
    },
}

impl Signature {
    /// The address whose key signed `digest`.
    pub fn recover(&self, digest: B256) -> Result<Address, SignatureError> {
        let mut compact = self.0;
        let parity = compact[32] >> 7;
        compact[32] &= 0x7f;
        let id = RecoveryId::try_from(i32::from(parity)).map_err(|_| SignatureError::Malformed)?;
        let signature = RecoverableSignature::from_compact(&compact, id).map_err(|_| SignatureError::Malformed)?;
        let mut normal = signature.to_standard();
        normal.normalize_s();
        if normal != signature.to_standard() {
            return Err(SignatureError::Malformed);
        }
        let key = SECP256K1
            .recover_ecdsa(&Message::from_digest(digest.0), &signature)
            .map_err(|_| SignatureError::Malformed)?;
        Ok(address_of(&key))
    }

    /// Checks that `signer` signed `digest`.
    pub fn verify(&self, digest: B256, signer: Address) -> Result<(), SignatureError> {
        let found = self.recover(digest)?;
        if found == signer { Ok(()) } else { Err(SignatureError::WrongSigner { expected: signer, found }) }
    }

    /// First half of the short form.
    pub fn r(&self) -> B256 {
        B256::from_slice(&self.0[..32])
    }

    /// Second half of the short form: parity bit and `s`.
    pub fn vs(&self) -> B256 {
        B256::from_slice(&self.0[32..])
    }
}

fn address_of(key: &PublicKey) -> Address {
    Address::from_slice(&keccak256(&key.serialize_uncompressed()[1..])[12..])
}

/// A secp256k1 private key that redacts itself and is wiped when dropped.
#[derive(Clone)]
pub struct SigningKey {
    secret: SecretKey,
    address: Address,
}

impl SigningKey {
    /// A key from its 32 bytes; `None` where they are zero or not below the curve order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let secret = SecretKey::from_slice(bytes).ok()?;
        let address = address_of(&secret.public_key(SECP256K1));
        Some(Self { secret, address })
    }

    /// The address of this key.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Signs a digest (RFC 6979 nonces, low `s`).
    pub fn sign(&self, digest: B256) -> Signature {
        let signature = SECP256K1.sign_ecdsa_recoverable(&Message::from_digest(digest.0), &self.secret);
        let (id, mut compact) = signature.serialize_compact();
        if i32::from(id) & 1 == 1 {
            compact[32] |= 0x80;
        }
        Signature(compact)
    }

    /// The 32 secret bytes, for a keystore or for a transaction signer.
    pub fn to_bytes(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.secret.secret_bytes())
    }
}

impl Drop for SigningKey {
    fn drop(&mut self) {
        self.secret.non_secure_erase();
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, secret redacted)", self.address)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl FromStr for Signature {
    type Err = SignatureError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 64];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes)
            .map_err(|_| SignatureError::Malformed)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_bytes(&[byte; 32]).unwrap()
    }

    #[test]
    fn recovers_the_signer() {
        for byte in 1..=40 {
            let digest = keccak256([byte]);
            assert_eq!(key(byte).sign(digest).recover(digest), Ok(key(byte).address()));
        }
    }

    #[test]
    fn another_digest_is_another_signer() {
        let signature = key(1).sign(keccak256("a"));
        assert!(matches!(signature.verify(keccak256("b"), key(1).address()), Err(SignatureError::WrongSigner { .. })));
    }

    #[test]
    fn high_s_is_refused() {
        // n - s is as valid as s on the curve, which is why only one of the two may be taken.
        const N: [u8; 32] = hex_literal("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
        let digest = keccak256("x");
        let signature = key(3).sign(digest);
        let mut s = signature.0;
        s[32] &= 0x7f;
        let mut flipped = [0u8; 32];
        let mut borrow = 0i16;
        for i in (0..32).rev() {
            let d = i16::from(N[i]) - i16::from(s[32 + i]) - borrow;
            borrow = i16::from(d < 0);
            flipped[i] = d.rem_euclid(256) as u8;
        }
        let mut high = signature.0;
        high[32..].copy_from_slice(&flipped);
        // The top bit of the second half is the parity, so a high s below 2^255 is what can be expressed at all;
        // one above reads as a different, low s, and then recovers a stranger.
        assert_ne!(Signature(high).recover(digest), Ok(key(3).address()));
    }

    const fn hex_literal(text: &str) -> [u8; 32] {
        let bytes = text.as_bytes();
        let mut out = [0; 32];
        let mut i = 0;
        while i < 32 {
            out[i] = nibble(bytes[2 * i]) << 4 | nibble(bytes[2 * i + 1]);
            i += 1;
        }
        out
    }

    const fn nibble(c: u8) -> u8 {
        if c.is_ascii_digit() { c - b'0' } else { c - b'a' + 10 }
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = format!("{:?}", key(7));
        assert!(!text.contains(&hex::encode([7u8; 4])), "{text}");
    }
}
