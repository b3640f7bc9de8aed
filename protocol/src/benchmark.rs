//! Signed benchmarks: what a worker measured of its own machine, in a form that cannot be changed afterwards.
//!
//! A benchmark is a statement, not a proof: it says who vouches for the figures. The signature covers the canonical
//! form of the whole document ([`canonical`]), so that any program can print it as it likes and still check it. It is
//! an EIP-712 message of a type of its own in Capa's domain; no voucher, receipt or login can be taken for it, nor it
//! for one of them.

use crate::amount::Timestamp;
use crate::signature::{Domain, Signature, SignatureError, SigningKey};
use alloy::primitives::{Address, B256, keccak256};
use alloy::sol_types::SolValue;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The EIP-712 type that is signed.
const TYPE: &str = "Benchmark(address provider,address worker,bytes32 document,uint64 at)";

/// A benchmark with the signature of the worker that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedBenchmark {
    /// Whose worker it is. The registry says whether the worker key signs for it.
    pub provider: Address,
    /// The worker key.
    pub worker: Address,
    /// When it was measured.
    pub at: Timestamp,
    /// What was measured: objects, lists, text and integers only.
    pub document: Value,
    /// Over all of the above.
    pub signature: Signature,
}

/// Why a benchmark is not what it claims to be, or cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BenchmarkError {
    /// A number whose text differs between programs.
    #[error("{0} is no integer between -(2^53-1) and 2^53-1: write larger numbers as text")]
    Number(String),
    /// The worker named did not sign this document.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl SignedBenchmark {
    /// Signs a document.
    pub fn sign(
        document: Value,
        provider: Address,
        at: Timestamp,
        domain: &Domain,
        key: &SigningKey,
    ) -> Result<Self, BenchmarkError> {
        let worker = key.address();
        let signature = key.sign(digest(domain, provider, worker, &document, at)?);
        Ok(Self { provider, worker, at, document, signature })
    }

    /// Checks that the worker it names signed it, for this provider and this deployment.
    pub fn verify(&self, domain: &Domain) -> Result<(), BenchmarkError> {
        let digest = digest(domain, self.provider, self.worker, &self.document, self.at)?;
        Ok(self.signature.verify(digest, self.worker)?)
    }
}

fn digest(
    domain: &Domain,
    provider: Address,
    worker: Address,
    document: &Value,
    at: Timestamp,
) -> Result<B256, BenchmarkError> {
    let document = keccak256(canonical(document)?);
    let hash = keccak256((keccak256(TYPE), provider, worker, document, at.get()).abi_encode());
    Ok(domain.digest(hash))
}

/// The one text of a document: no spaces, keys in the order of their bytes, integers only.
///
/// It is the form of RFC 8785 for documents whose keys are ASCII and whose numbers are such integers.
pub fn canonical(document: &Value) -> Result<String, BenchmarkError> {
    let mut text = String::new();
    write(document, &mut text)?;
    Ok(text)
}

fn write(value: &Value, text: &mut String) -> Result<(), BenchmarkError> {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(index, text);
                write(item, text)?;
            }
            text.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| name.as_bytes());
            text.push('{');
            for (index, (name, field)) in fields.into_iter().enumerate() {
                separate(index, text);
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write(field, text)?;
            }
            text.push('}');
        }
        Value::Number(number) if !number.as_i64().is_some_and(is_exact) => {
            return Err(BenchmarkError::Number(number.to_string()));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => text.push_str(&value.to_string()),
    }
    Ok(())
}

fn separate(index: usize, text: &mut String) {
    if index > 0 {
        text.push(',');
    }
}

/// Whether every JSON program reads the number as the same one.
const fn is_exact(number: i64) -> bool {
    const MOST: u64 = (1 << 53) - 1;
    number.unsigned_abs() <= MOST
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::login_digest;
    use serde_json::json;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32]).unwrap()
    }

    fn domain() -> Domain {
        Domain::new(51_866, Address::repeat_byte(0x5e))
    }

    fn signed() -> SignedBenchmark {
        let document = json!({ "machine": { "cores": 2, "cpu": "some \"CPU\"" }, "figures": [1, -2, null, true] });
        SignedBenchmark::sign(document, Address::repeat_byte(0x70), Timestamp(9), &domain(), &key()).unwrap()
    }

    #[test]
    fn the_canonical_text_does_not_depend_on_the_order_of_keys() {
        let text = r#"{"b":[1,{"d":null,"c":"ä\n"}],"a":-7}"#;
        let document: Value = serde_json::from_str(text).unwrap();
        assert_eq!(canonical(&document).unwrap(), r#"{"a":-7,"b":[1,{"c":"ä\n","d":null}]}"#);
    }

    #[test]
    fn numbers_that_programs_read_differently_are_refused() {
        for text in ["0.5", "1e3", "9007199254740992", "18446744073709551615", "-9007199254740992"] {
            let document: Value = serde_json::from_str(text).unwrap();
            assert!(matches!(canonical(&document), Err(BenchmarkError::Number(_))), "{text}");
        }
        assert_eq!(canonical(&json!(9_007_199_254_740_991u64)).unwrap(), "9007199254740991");
    }

    #[test]
    fn a_benchmark_survives_its_journey_as_json() {
        let text = serde_json::to_string_pretty(&signed()).unwrap();
        let read: SignedBenchmark = serde_json::from_str(&text).unwrap();
        assert_eq!(read, signed());
        read.verify(&domain()).unwrap();
    }

    #[test]
    fn whatever_is_changed_the_signature_no_longer_holds() {
        let changes: [fn(&mut SignedBenchmark); 4] = [
            |benchmark| benchmark.document["machine"]["cores"] = json!(64),
            |benchmark| benchmark.at = Timestamp(10),
            |benchmark| benchmark.provider = Address::repeat_byte(0x71),
            |benchmark| benchmark.worker = Address::repeat_byte(0x72),
        ];
        for change in changes {
            let mut benchmark = signed();
            change(&mut benchmark);
            assert!(matches!(benchmark.verify(&domain()), Err(BenchmarkError::Signature(_))));
        }
        let elsewhere = Domain::new(1, Address::repeat_byte(0x5e));
        assert!(signed().verify(&elsewhere).is_err());
    }

    #[test]
    fn a_login_is_no_benchmark() {
        let login = login_digest(Address::repeat_byte(0x70), keccak256("nonce"));
        let forged = SignedBenchmark { signature: key().sign(login), ..signed() };
        assert!(forged.verify(&domain()).is_err());
    }
}
