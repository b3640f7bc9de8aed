//! The kernels' machine code, and whether it is the one that this release was tested with.
//!
//! `kernels/cubins.json` says for each source, compiler and architecture which machine code is known, by keccak-256. A
//! compiler of that name with other code is refused: its patch level differs, or it was tampered with. Where the file
//! says nothing, as for a newer compiler or architecture, the code is taken as it is, and a job can still ask for one.
//!
//! After a change of a kernel or a sample job, write the file anew by
//! `CAPA_REFRESH_CUBINS=1 cargo test -p worker --lib pinned`, with `CAPA_NVRTC` naming the folder of another NVRTC to add
//! that one's code.

use super::CudaExecutor;
use crate::execute::Executor;
use alloy::primitives::{B256, keccak256};
use protocol::job::Builtin;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Names and sources of the kernels, in the order of [`index`].
const SOURCES: [(&str, &str); 5] = [
    ("gemm", include_str!("../../../kernels/gemm.cu")),
    ("hashsearch", include_str!("../../../kernels/hashsearch.cu")),
    ("montecarlo", include_str!("../../../kernels/montecarlo.cu")),
    ("reduce", include_str!("../../../kernels/reduce.cu")),
    ("sort", include_str!("../../../kernels/sort.cu")),
];
const PINS: &str = include_str!("../../../kernels/cubins.json");
/// Where the kernels lie, as `cubins.json` names them.
const FOLDER: &str = "worker/kernels";

/// What is known of a source's machine code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    /// keccak-256 of the source.
    source: B256,
    /// keccak-256 of its machine code, by compiler and architecture; one for each patch level of the compiler.
    cubins: BTreeMap<String, BTreeMap<String, Vec<B256>>>,
}

type Pins = BTreeMap<String, Pin>;

/// Machine code of a kernel.
pub(super) struct Code {
    pub(super) machine: Vec<u8>,
    /// keccak-256 of it.
    pub(super) hash: B256,
    /// Compiler and architecture, for people.
    pub(super) target: String,
}

/// All kernels, each compiled or refused with a sentence when it is first asked for: a process that serves a tenant who
/// never asks is ready the sooner.
#[derive(Default)]
pub(super) struct Shipped([OnceLock<Result<Code, String>>; SOURCES.len()]);

impl Shipped {
    /// The code that a call runs.
    pub(super) fn code(&self, cuda: &CudaExecutor, call: &Builtin) -> Result<&Code, &String> {
        let index = index(call);
        let (name, source) = SOURCES[index];
        let refused = |reason: String| format!("the builtin {name} is refused: {reason}");
        self.0[index].get_or_init(|| compile(cuda, name, source).map_err(refused)).as_ref()
    }
}

fn compile(cuda: &CudaExecutor, name: &str, source: &str) -> Result<Code, String> {
    let (compiler, architecture) = (cuda.toolchain(), architecture(cuda.capability()));
    let machine = cuda.machine_code(source.as_bytes())?;
    let hash = keccak256(&machine);
    let pins: Pins =
        serde_json::from_str(PINS).map_err(|error| format!("this release's cubins.json cannot be read: {error}"))?;
    check(pins.get(&format!("{FOLDER}/{name}.cu")), &compiler, &architecture, hash)?;
    Ok(Code { machine, hash, target: format!("{architecture} by {compiler}") })
}

/// Where in [`SOURCES`] the kernel of a call stands.
const fn index(call: &Builtin) -> usize {
    match call {
        Builtin::Gemm { .. } => 0,
        Builtin::Hashsearch { .. } => 1,
        Builtin::Montecarlo(_) => 2,
        Builtin::Reduce { .. } => 3,
        Builtin::Sort { .. } => 4,
    }
}

fn architecture((major, minor): (i32, i32)) -> String {
    format!("sm_{major}{minor}")
}

fn check(pin: Option<&Pin>, compiler: &str, architecture: &str, hash: B256) -> Result<(), String> {
    match pin.and_then(|pin| pin.cubins.get(compiler)?.get(architecture)) {
        Some(known) if !known.contains(&hash) => Err(format!(
            "its machine code for {architecture} by {compiler} is {hash}, which this release does not know. Install \
             the NVRTC that it was tested with (pip package nvidia-cuda-nvrtc==13.0.88) and name its folder in \
             cuda.libraries"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::CudaConfig;
    use crate::execute::cuda::compile::machine_code;
    use std::path::{Path, PathBuf};

    /// Architectures that the pinned compiler has and that operators own: Turing to Blackwell.
    const ARCHITECTURES: [(i32, i32); 9] = [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (10, 3), (12, 0), (12, 1)];
    const TESTED: (i32, i32) = (9, 0);
    const REFRESH: &str = "CAPA_REFRESH_CUBINS";

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    /// Loads the compiler of the test kit and tells its name.
    fn compiler() -> String {
        let libraries = emulated_cuda::libraries().unwrap();
        let config = CudaConfig { libraries, allow_emulated: true, ..CudaConfig::default() };
        CudaExecutor::find(&config).unwrap().toolchain()
    }

    /// A path, what is there, and the architectures.
    type Source = (String, Vec<u8>, Vec<(i32, i32)>);

    /// Every CUDA source of the project that has a fixed result, and the architectures that it is pinned for.
    fn sources() -> Vec<Source> {
        let mut samples: Vec<String> = std::fs::read_dir(root().join("examples"))
            .unwrap()
            .map(|entry| format!("examples/{}/job.cu", entry.unwrap().file_name().to_string_lossy()))
            .filter(|path| root().join(path).is_file())
            .collect();
        samples.sort();
        assert!(samples.len() >= 4, "there are no samples in examples/");
        let kernels = SOURCES.iter().map(|(name, _)| (format!("{FOLDER}/{name}.cu"), ARCHITECTURES.to_vec()));
        let all = samples.into_iter().map(|path| (path, vec![TESTED])).chain(kernels);
        all.map(|(path, targets)| (path.clone(), std::fs::read(root().join(path)).unwrap(), targets)).collect()
    }

    fn refresh(pins: &mut Pins, compiler: &str) {
        let sources = sources();
        pins.retain(|path, pin| sources.iter().any(|(other, text, _)| other == path && pin.source == keccak256(text)));
        for (path, text, targets) in sources {
            let pin = pins.entry(path).or_insert_with(|| Pin { source: keccak256(&text), ..Pin::default() });
            let by_architecture = pin.cubins.entry(compiler.to_owned()).or_default();
            for target in targets {
                let hash = keccak256(machine_code(&text, target).unwrap());
                let known = by_architecture.entry(architecture(target)).or_default();
                if !known.contains(&hash) {
                    known.push(hash);
                }
            }
        }
        let text = serde_json::to_string_pretty(pins).unwrap() + "\n";
        std::fs::write(root().join(FOLDER).join("cubins.json"), text).unwrap();
    }

    #[test]
    fn machine_code_is_the_one_that_is_committed() {
        let compiler = compiler();
        // From the file, and not from what this program holds, so that two compilers can be added one after the other.
        let file = std::fs::read_to_string(root().join(FOLDER).join("cubins.json")).unwrap();
        let mut pins: Pins = serde_json::from_str(&file).unwrap();
        if std::env::var_os(REFRESH).is_some() {
            refresh(&mut pins, &compiler);
        }
        for (path, text, _) in sources() {
            let advice = format!("{path}: set {REFRESH}=1 for this test once, and look at what changed");
            let pin = pins.get(&path).unwrap_or_else(|| panic!("{advice}"));
            assert_eq!(pin.source, keccak256(&text), "{advice}");
            let hash = keccak256(machine_code(&text, TESTED).unwrap());
            let known = &pin.cubins[&compiler][&architecture(TESTED)];
            assert!(known.contains(&hash), "{advice}: {hash} is not among {known:?}");
        }
        assert_eq!(pins.len(), sources().len(), "cubins.json names sources that are gone");
    }

    #[test]
    fn unknown_code_of_a_known_compiler_is_refused() {
        let known = B256::repeat_byte(1);
        let by_architecture = BTreeMap::from([("sm_90".to_owned(), vec![B256::ZERO, known])]);
        let pin = Pin { source: B256::ZERO, cubins: BTreeMap::from([("nvrtc-13.0".to_owned(), by_architecture)]) };
        assert_eq!(check(Some(&pin), "nvrtc-13.0", "sm_90", known), Ok(()));
        let refused = check(Some(&pin), "nvrtc-13.0", "sm_90", B256::repeat_byte(2)).unwrap_err();
        assert!(refused.contains("sm_90 by nvrtc-13.0") && refused.contains("cuda.libraries"), "{refused}");
        assert_eq!(check(Some(&pin), "nvrtc-13.5", "sm_90", B256::repeat_byte(2)), Ok(()));
        assert_eq!(check(Some(&pin), "nvrtc-13.0", "sm_999", B256::repeat_byte(2)), Ok(()));
        assert_eq!(check(None, "nvrtc-13.0", "sm_90", B256::repeat_byte(2)), Ok(()));
    }
}
