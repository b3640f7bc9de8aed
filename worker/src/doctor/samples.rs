//! Real jobs with known answers, embedded so that they run where there is no source tree.
//!
//! They are the sample jobs of `examples/`, each as every kind of program that its manifest names. All of them must give
//! the result that stands there, bit for bit.

use crate::execute::JobInput;
use alloy::primitives::{B256, keccak256};
use bytes::Bytes;
use protocol::amount::Quantity;
use protocol::job::{
    Blob, Builtin, Envelope, Kind, Language, Limits, OutputBuffer, Program, Stage, Verify, result_hash,
};
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
    ($name:literal $(, $file:literal)*) => {
        Sample {
            name: $name,
            manifest: include_str!(concat!("../../../examples/", $name, "/job.json")),
            files: &[$(($file, include_bytes!(concat!("../../../examples/", $name, "/", $file)))),*],
        }
    };
}

/// All samples; of each kind the quickest comes first.
pub const SAMPLES: [Sample; 7] = [
    sample!("asian-option", "job.wasm", "job.cu", "params.bin"),
    sample!("n-body", "job.wasm", "job.cu", "bodies.bin", "params.bin"),
    sample!("heat-equation", "job.wasm", "job.cu", "plate.pgm", "params.bin"),
    sample!("sha256", "job.wasm", "job.cu", "alice29.txt", "params.bin"),
    sample!("hash-search", "prefix.bin"),
    sample!("option-price"),
    sample!("matrix-product", "a.bin", "b.bin"),
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
    wasm: Option<Wasm>,
    cuda: Option<Cuda>,
    builtin: Option<Shipped>,
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Shipped {
    call: Builtin,
    #[serde(default)]
    cubin: Option<B256>,
    expected: B256,
}

/// A program with its code, where it has any, and what it must deliver.
struct Code {
    program: Program,
    code: Option<Bytes>,
    expected: B256,
}

impl Sample {
    /// The sample as a job of that kind, billed in the kind's own unit; `None` where it is no program of that kind.
    pub fn exercise(&self, kind: Kind) -> Result<Option<Exercise>, SampleError> {
        let manifest = self.manifest()?;
        let code = match kind {
            Kind::Wasm => self.wasm(&manifest)?,
            Kind::Cuda => self.cuda(&manifest)?,
            Kind::Builtin => manifest.builtin.as_ref().map(builtin),
            Kind::Oci => None,
        };
        code.map(|code| self.assemble(manifest, code)).transpose()
    }

    fn wasm(&self, manifest: &Manifest) -> Result<Option<Code>, SampleError> {
        let Some(wasm) = &manifest.wasm else { return Ok(None) };
        let code = self.file(&wasm.module)?;
        let program = Program::Wasm { module: blob(&code), toolchain: wasm.toolchain.clone() };
        Ok(Some(Code { program, code: Some(code), expected: wasm.expected }))
    }

    fn cuda(&self, manifest: &Manifest) -> Result<Option<Code>, SampleError> {
        let Some(cuda) = &manifest.cuda else { return Ok(None) };
        let code = self.file(&cuda.source)?;
        let program = Program::Cuda {
            source: blob(&code),
            language: Language::Cuda,
            toolchain: cuda.toolchain.clone(),
            devices: 1,
            scratch: cuda.scratch.clone(),
            stages: cuda.stages.clone(),
        };
        Ok(Some(Code { program, code: Some(code), expected: cuda.expected }))
    }

    fn assemble(&self, manifest: Manifest, code: Code) -> Result<Exercise, SampleError> {
        let Code { program, code, expected } = code;
        let inputs: Vec<Bytes> = manifest.inputs.iter().map(|name| self.file(name)).collect::<Result<_, _>>()?;
        // The work of a builtin is known before, and an order for less refuses it.
        let work = if let Program::Builtin { call, .. } = &program { call.work() } else { 0 };
        let (unit, max_units) = (program.unit(), MAX_UNITS.max(Quantity(work)));
        let envelope = Envelope {
            version: manifest.version,
            program,
            inputs: inputs.iter().map(blob).collect(),
            outputs: manifest.outputs.into_iter().map(|length| OutputBuffer { length }).collect(),
            limits: manifest.limits,
            verify: manifest.verify,
        };
        envelope.validate().map_err(|error| self.broken(error))?;
        let blobs = code.into_iter().chain(inputs).collect();
        Ok(Exercise { job: JobInput { envelope, blobs, rank: 0, devices: Vec::new(), unit, max_units }, expected })
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

fn builtin(shipped: &Shipped) -> Code {
    let program = Program::Builtin { call: shipped.call.clone(), cubin: shipped.cubin };
    Code { program, code: None, expected: shipped.expected }
}

/// The sample of that name as a job of WebAssembly, for those who need one that takes a while.
pub fn wasm_sample(name: &str) -> Result<Exercise, SampleError> {
    let unknown = || SampleError { name: "wanted", reason: format!("{name} is no sample of WebAssembly") };
    let sample = SAMPLES.iter().find(|sample| sample.name == name).ok_or_else(unknown)?;
    sample.exercise(Kind::Wasm)?.ok_or_else(unknown)
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
    fn every_sample_is_a_job_of_each_of_its_kinds() {
        let count = |kind| SAMPLES.iter().filter(|sample| sample.exercise(kind).unwrap().is_some()).count();
        assert_eq!([Kind::Wasm, Kind::Cuda, Kind::Builtin, Kind::Oci].map(count), [4, 4, 3, 0]);
        for sample in SAMPLES {
            let kinds = [Kind::Wasm, Kind::Cuda, Kind::Builtin];
            let exercises = kinds.into_iter().filter_map(|kind| sample.exercise(kind).unwrap());
            for exercise in exercises {
                assert!(!exercise.is_solved_by(&[Bytes::from_static(b"something else")]), "{}", sample.name);
            }
        }
    }

    #[test]
    fn builtins_are_solved_by_the_reference() {
        for sample in SAMPLES {
            let Some(exercise) = sample.exercise(Kind::Builtin).unwrap() else { continue };
            let Program::Builtin { call, .. } = &exercise.job.envelope.program else { panic!("{}", sample.name) };
            let outputs = crate::execute::reference::outputs(call, &exercise.job.blobs);
            let outputs: Vec<Bytes> = outputs.into_iter().map(Bytes::from).collect();
            assert!(exercise.is_solved_by(&outputs), "{}", sample.name);
        }
    }

    #[test]
    fn every_example_is_a_sample() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let folders = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let jobs = folders.filter(|path| path.join("job.json").is_file());
        let mut names: Vec<_> = jobs.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        let mut samples: Vec<_> = SAMPLES.iter().map(|sample| sample.name.to_owned()).collect();
        samples.sort();
        assert_eq!(samples, names);
    }
}
