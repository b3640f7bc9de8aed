//! Real jobs with known answers, embedded so that they run where there is no source tree.
//!
//! They are the sample jobs of `examples/`: each as a WebAssembly module and as CUDA source, both of which must give
//! the result that stands in its manifest, bit for bit.

use crate::execute::JobInput;
use alloy::primitives::{B256, keccak256};
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{Blob, Envelope, Kind, Language, Limits, OutputBuffer, Program, Stage, Verify, result_hash};
use protocol::resource::Unit;
use serde::Deserialize;

/// Most that a sample may use: none of them comes near.
const MAX_UNITS: Quantity = Quantity(600_000);

/// A job with its files.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Its name.
    pub name: &'static str,
    manifest: &'static str,
    files: &'static [(&'static str, &'static [u8])],
}

macro_rules! sample {
    ($name:literal, $($file:literal),+) => {
        Sample {
            name: $name,
            manifest: include_str!(concat!("../../../examples/", $name, "/job.json")),
            files: &[$(($file, include_bytes!(concat!("../../../examples/", $name, "/", $file)))),+],
        }
    };
}

/// All samples, the quickest first.
pub const SAMPLES: [Sample; 4] = [
    sample!("asian-option", "job.wasm", "job.cu", "params.bin"),
    sample!("n-body", "job.wasm", "job.cu", "bodies.bin", "params.bin"),
    sample!("heat-equation", "job.wasm", "job.cu", "plate.pgm", "params.bin"),
    sample!("sha256", "job.wasm", "job.cu", "alice29.txt", "params.bin"),
];

/// A sample that cannot be made into a job: this program was built from a broken tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the sample {name} is broken: {reason}")]
pub struct SampleError {
    name: &'static str,
    reason: String,
}

/// A sample that is ready to run, and the hash of what it must deliver.
#[derive(Debug, Clone)]
pub struct Exercise {
    /// The job.
    pub job: JobInput,
    /// Hash of its outputs.
    pub expected: B256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Manifest {
    version: u8,
    #[serde(rename = "name")]
    _name: String,
    inputs: Vec<String>,
    outputs: Vec<Quantity>,
    limits: Limits,
    verify: Verify,
    wasm: Wasm,
    cuda: Cuda,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wasm {
    module: String,
    toolchain: String,
    expected: B256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Cuda {
    source: String,
    toolchain: String,
    scratch: Vec<Quantity>,
    stages: Vec<Stage>,
    expected: B256,
}

impl Sample {
    /// The sample as a WebAssembly job, billed in vCPU time.
    pub fn wasm(&self) -> Result<Exercise, SampleError> {
        let manifest = self.manifest()?;
        let code = self.file(&manifest.wasm.module)?;
        let program = Program::Wasm { module: blob(&code), toolchain: manifest.wasm.toolchain.clone() };
        let expected = manifest.wasm.expected;
        self.exercise(manifest, code, program, Unit::CpuMs, expected)
    }

    /// The sample as a CUDA job for one device, billed in GPU time.
    pub fn cuda(&self) -> Result<Exercise, SampleError> {
        let mut manifest = self.manifest()?;
        let code = self.file(&manifest.cuda.source)?;
        let program = Program::Cuda {
            source: blob(&code),
            language: Language::Cuda,
            toolchain: std::mem::take(&mut manifest.cuda.toolchain),
            devices: 1,
            scratch: std::mem::take(&mut manifest.cuda.scratch),
            stages: std::mem::take(&mut manifest.cuda.stages),
        };
        let expected = manifest.cuda.expected;
        self.exercise(manifest, code, program, Unit::GpuMs, expected)
    }

    fn exercise(
        &self,
        manifest: Manifest,
        code: Bytes,
        program: Program,
        unit: Unit,
        expected: B256,
    ) -> Result<Exercise, SampleError> {
        let mut blobs = vec![code];
        for input in &manifest.inputs {
            blobs.push(self.file(input)?);
        }
        let envelope = Envelope {
            version: manifest.version,
            program,
            inputs: blobs[1..].iter().map(blob).collect(),
            outputs: manifest.outputs.into_iter().map(|length| OutputBuffer { length }).collect(),
            limits: manifest.limits,
            verify: manifest.verify,
        };
        envelope.validate().map_err(|error| self.broken(error))?;
        Ok(Exercise {
            job: JobInput { envelope, blobs, rank: 0, devices: Vec::new(), unit, max_units: MAX_UNITS },
            expected,
        })
    }

    fn manifest(&self) -> Result<Manifest, SampleError> {
        serde_json::from_str(self.manifest).map_err(|error| self.broken(error))
    }

    fn file(&self, name: &str) -> Result<Bytes, SampleError> {
        let found = self.files.iter().find(|(file, _)| *file == name);
        found.map(|(_, bytes)| Bytes::from_static(bytes)).ok_or_else(|| self.broken(format!("{name} is missing")))
    }

    fn broken(&self, reason: impl std::fmt::Display) -> SampleError {
        SampleError { name: self.name, reason: reason.to_string() }
    }
}

impl Exercise {
    /// The kind of its program.
    pub const fn kind(&self) -> Kind {
        self.job.envelope.program.kind()
    }

    /// Whether these are the outputs that it must deliver.
    pub fn is_solved_by(&self, outputs: &[Bytes]) -> bool {
        result_hash(&outputs.iter().map(blob).collect::<Vec<_>>()) == self.expected
    }
}

fn blob(bytes: &Bytes) -> Blob {
    Blob { hash: keccak256(bytes), length: Quantity(bytes.len() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_a_job_of_both_kinds() {
        for sample in SAMPLES {
            let wasm = sample.wasm().unwrap();
            let cuda = sample.cuda().unwrap();
            assert_eq!((wasm.kind(), cuda.kind()), (Kind::Wasm, Kind::Cuda), "{}", sample.name);
            assert_eq!(wasm.expected, cuda.expected, "{}", sample.name);
            assert!(!wasm.is_solved_by(&[Bytes::from_static(b"something else")]), "{}", sample.name);
        }
    }

    #[test]
    fn every_example_is_a_sample() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let jobs = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let both = |text: &str| text.contains("\"wasm\"") && text.contains("\"cuda\"");
        let mut names: Vec<_> = jobs
            .filter(|path| std::fs::read_to_string(path.join("job.json")).is_ok_and(|text| both(&text)))
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        let mut samples: Vec<_> = SAMPLES.iter().map(|sample| sample.name.to_owned()).collect();
        samples.sort();
        assert_eq!(samples, names);
    }
}
