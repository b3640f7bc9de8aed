//! From a folder with a `job.json` to a job envelope and its blobs.

use alloy::primitives::{B256, keccak256};
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{
    Blob, Builtin, Envelope, EnvelopeError, Kind, Language, Limits, OutputBuffer, Program, Stage, Verify,
};
use serde::Deserialize;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Version of the format.
const VERSION: u8 = 1;
/// Name of the manifest in its folder.
const FILE: &str = "job.json";

/// A job as its author describes it, with files by name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format: 1.
    pub version: u8,
    /// For people.
    pub name: String,
    /// Files beside the manifest, in the order of the job's inputs.
    pub inputs: Vec<PathBuf>,
    /// Lengths of the outputs.
    pub outputs: Vec<Quantity>,
    /// Where the job is stopped.
    pub limits: Limits,
    /// How its result may be checked.
    pub verify: Verify,
    /// The program as a WebAssembly module.
    pub wasm: Option<WasmProgram>,
    /// The program as CUDA source.
    pub cuda: Option<CudaProgram>,
    /// A kernel that ships with the worker.
    pub builtin: Option<BuiltinProgram>,
    /// A container image.
    pub oci: Option<OciProgram>,
}

/// A kernel that ships with the worker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BuiltinProgram {
    /// Which, and its parameters.
    pub call: Builtin,
    /// keccak256 of the machine code that must run, where it matters.
    pub cubin: Option<B256>,
    /// Result hash that its author found.
    pub expected: Option<B256>,
}

/// A container image, by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OciProgram {
    /// Digest of its manifest.
    pub image: String,
    /// What runs in it; the image's own command where this is empty.
    #[serde(default)]
    pub command: Vec<String>,
    /// How many GPUs it is handed.
    #[serde(default)]
    pub devices: u32,
}

/// A WebAssembly module.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WasmProgram {
    /// The binary module.
    pub module: PathBuf,
    /// What counts its fuel.
    pub toolchain: String,
    /// Result hash that its author found.
    pub expected: Option<B256>,
}

/// CUDA C++ source and its launches.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CudaProgram {
    /// The source text.
    pub source: PathBuf,
    /// What it is written in; CUDA C++ where nothing is said.
    #[serde(default)]
    pub language: Language,
    /// How many devices of one worker run it.
    #[serde(default = "one")]
    pub devices: u32,
    /// The compiler; empty for any.
    #[serde(default)]
    pub toolchain: String,
    /// Lengths of zeroed device buffers.
    #[serde(default)]
    pub scratch: Vec<Quantity>,
    /// Run in order.
    pub stages: Vec<Stage>,
    /// Result hash that its author found.
    pub expected: Option<B256>,
}

const fn one() -> u32 {
    1
}

/// A job that can be ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// For people.
    pub name: String,
    /// The whole job, by hash.
    pub envelope: Envelope,
    /// keccak256 of the envelope's bytes, which the order signs.
    pub spec: B256,
    /// The envelope, the program and the inputs, each once.
    pub blobs: Vec<Bytes>,
    /// Result hash that the job should have, where its author knows one.
    pub expected: Option<B256>,
}

/// A manifest cannot be turned into a job.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// There is no manifest.
    #[error("there is no job at {path} ({source}): name a folder with a job.json, or the file itself")]
    NoManifest {
        /// Where it should be.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The manifest is not what this version reads.
    #[error("{path} is not a job manifest: {source}. See examples/README.md for the format")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Another version of the format.
    #[error("{path} has version {found}, this software reads version {VERSION}")]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u8,
    },
    /// It has no program of that kind.
    #[error("job {name:?} has no {kind} program: use --kind {other}")]
    NoProgram {
        /// The job's name.
        name: String,
        /// What was asked for.
        kind: Kind,
        /// What it has.
        other: String,
    },
    /// A file outside the manifest's folder: a manifest from elsewhere could send private files away.
    #[error("the manifest names {0}, which is not in its own folder: copy the file there")]
    Outside(PathBuf),
    /// The finished envelope breaks a rule.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

impl Manifest {
    /// Reads the manifest of a folder, or the file itself. Returns it with the folder of its files.
    pub fn read(path: &Path) -> Result<(Self, PathBuf), ManifestError> {
        let path = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
        let text = fs::read(&path).map_err(|source| ManifestError::NoManifest { path: path.clone(), source })?;
        let manifest: Self =
            serde_json::from_slice(&text).map_err(|source| ManifestError::Malformed { path: path.clone(), source })?;
        if manifest.version != VERSION {
            return Err(ManifestError::Version { path, found: manifest.version });
        }
        let folder = path.parent().unwrap_or_else(|| Path::new(".")).to_owned();
        Ok((manifest, folder))
    }

    /// The kinds of program that there are.
    fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        let wasm = self.wasm.as_ref().map(|_| Kind::Wasm);
        let cuda = self.cuda.as_ref().map(|_| Kind::Cuda);
        let builtin = self.builtin.as_ref().map(|_| Kind::Builtin);
        let oci = self.oci.as_ref().map(|_| Kind::Oci);
        [wasm, cuda, builtin, oci].into_iter().flatten()
    }

    /// The only kind of program that there is; `None` where there are several.
    pub fn only_kind(&self) -> Option<Kind> {
        let mut kinds = self.kinds();
        kinds.next().filter(|_| kinds.next().is_none())
    }

    /// Replaces each file by its hash and length.
    pub fn prepare(&self, folder: &Path, kind: Kind) -> Result<Prepared, ManifestError> {
        let mut blobs = Vec::new();
        let (program, expected) = self.program(folder, kind, &mut blobs)?;
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for file in &self.inputs {
            inputs.push(load(folder, file, &mut blobs)?);
        }
        let envelope = Envelope {
            version: 1,
            program,
            inputs,
            outputs: self.outputs.iter().map(|length| OutputBuffer { length: *length }).collect(),
            limits: self.limits,
            verify: self.verify,
        };
        let bytes = envelope.to_bytes();
        let spec = keccak256(&bytes);
        // Read back as a worker will, so that a mistake is found here and not after paying for it.
        Envelope::from_bytes(&bytes, spec)?;
        blobs.insert(0, bytes.into());
        Ok(Prepared { name: self.name.clone(), envelope, spec, blobs, expected })
    }

    fn program(&self, folder: &Path, kind: Kind, blobs: &mut Vec<Bytes>) -> Result<Found, ManifestError> {
        let found = match kind {
            Kind::Wasm => self.wasm.as_ref().map(|wasm| wasm.program(folder, blobs)),
            Kind::Cuda => self.cuda.as_ref().map(|cuda| cuda.program(folder, blobs)),
            Kind::Builtin => self.builtin.as_ref().map(|builtin| Ok(builtin.program())),
            Kind::Oci => self.oci.as_ref().map(|oci| Ok(oci.program())),
        };
        found.unwrap_or_else(|| {
            let other = self.only_kind().map_or_else(|| "of another manifest".into(), |kind| kind.to_string());
            Err(ManifestError::NoProgram { name: self.name.clone(), kind, other })
        })
    }
}

type Found = (Program, Option<B256>);

impl WasmProgram {
    fn program(&self, folder: &Path, blobs: &mut Vec<Bytes>) -> Result<Found, ManifestError> {
        let module = load(folder, &self.module, blobs)?;
        Ok((Program::Wasm { module, toolchain: self.toolchain.clone() }, self.expected))
    }
}

impl CudaProgram {
    fn program(&self, folder: &Path, blobs: &mut Vec<Bytes>) -> Result<Found, ManifestError> {
        let program = Program::Cuda {
            source: load(folder, &self.source, blobs)?,
            language: self.language,
            toolchain: self.toolchain.clone(),
            devices: self.devices,
            scratch: self.scratch.clone(),
            stages: self.stages.clone(),
        };
        Ok((program, self.expected))
    }
}

impl BuiltinProgram {
    fn program(&self) -> Found {
        (Program::Builtin { call: self.call.clone(), cubin: self.cubin }, self.expected)
    }
}

impl OciProgram {
    fn program(&self) -> Found {
        let (image, command) = (self.image.clone(), self.command.clone());
        (Program::Oci { image, command, devices: self.devices }, None)
    }
}

/// Reads a manifest and prepares its program of one kind; without `kind`, its only one, else wasm.
pub fn prepare(path: &Path, kind: Option<Kind>) -> Result<Prepared, ManifestError> {
    let (manifest, folder) = Manifest::read(path)?;
    let kind = kind.or_else(|| manifest.only_kind()).unwrap_or(Kind::Wasm);
    manifest.prepare(&folder, kind)
}

fn load(folder: &Path, file: &Path, blobs: &mut Vec<Bytes>) -> Result<Blob, ManifestError> {
    if !file.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(ManifestError::Outside(file.into()));
    }
    let bytes = Bytes::from(read(&folder.join(file))?);
    let blob = Blob { hash: keccak256(&bytes), length: Quantity(bytes.len() as u64) };
    if !blobs.contains(&bytes) {
        blobs.push(bytes);
    }
    Ok(blob)
}

fn read(path: &Path) -> Result<Vec<u8>, ManifestError> {
    fs::read(path).map_err(|source| ManifestError::Io { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"version":1,"name":"t","inputs":["a.bin","a.bin"],"outputs":["4"],
        "limits":{"memory":"65536","wallMs":"1000"},"verify":"reexecute",
        "wasm":{"module":"job.wasm","toolchain":"wasmtime-48"}}"#;

    fn folder(text: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("job.json"), text).unwrap();
        fs::write(folder.path().join("a.bin"), b"input").unwrap();
        fs::write(folder.path().join("job.wasm"), b"\0asm").unwrap();
        folder
    }

    #[test]
    fn every_file_becomes_a_blob_once() {
        let folder = folder(TEXT);
        let job = prepare(folder.path(), None).unwrap();
        assert_eq!(job.blobs.len(), 3, "envelope, module, and the input that is used twice");
        assert_eq!(keccak256(&job.blobs[0]), job.spec);
        let named: Vec<_> = job.envelope.blobs().map(|blob| blob.hash).collect();
        assert_eq!(named, [keccak256(b"\0asm"), keccak256(b"input"), keccak256(b"input")]);
        assert_eq!(prepare(&folder.path().join("job.json"), Some(Kind::Wasm)).unwrap(), job);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, kind, words) in [
            (TEXT.replace("\"name\"", "\"nam\""), None, "not a job manifest"),
            (TEXT.replace("\"version\":1", "\"version\":2"), None, "version 2"),
            (TEXT.replace("job.wasm", "../job.wasm"), None, "not in its own folder"),
            (TEXT.replace("job.wasm", "/etc/passwd"), None, "not in its own folder"),
            (TEXT.replace("job.wasm", "none.wasm"), None, "cannot be read"),
            (TEXT.replace("[\"4\"]", "[]"), None, "at least one output"),
            (TEXT.to_owned(), Some(Kind::Cuda), "use --kind wasm"),
        ] {
            let error = prepare(folder(&text).path(), kind).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn the_examples_are_jobs() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        for name in ["asian-option", "heat-equation", "sha256", "n-body"] {
            let folder = examples.join(name);
            for kind in [Kind::Wasm, Kind::Cuda] {
                let job = prepare(&folder, Some(kind)).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(job.envelope.program.kind(), kind);
                assert!(job.expected.is_some(), "{name} says no expected result for {kind}");
            }
        }
        for name in ["hash-search", "matrix-product", "option-price"] {
            let job = prepare(&examples.join(name), None).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(job.envelope.program.kind(), Kind::Builtin);
            assert!(job.expected.is_some(), "{name} says no expected result");
        }
    }
}
