//! Builds `libcuda.so.1` from the emulation, the kernels of the sample jobs and those that ship with the worker, and
//! beside it `libcublasLt.so.13`.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What marks a kernel in the sources.
const KERNEL: &str = "extern \"C\" __global__ void ";
/// What marks a variable in device memory: at the start of a line that calls and defines no function.
const VARIABLE: &str = "__device__ ";
/// The parts of the emulated driver.
const DRIVER: [&str; 5] = ["device.cpp", "memory.cpp", "stream.cpp", "launch.cpp", "assembler.cpp"];
/// Numbers of devices that tests ask for; see `lib.rs`.
const COUNTS: [u32; 2] = [2, 4];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let (examples, shipped) = (root.join("../../examples"), root.join("../../worker/kernels"));
    let mut sources: Vec<PathBuf> = DRIVER.iter().map(|file| root.join("src").join(file)).collect();
    let mut wrapped: Vec<PathBuf> = std::fs::read_dir(&examples)?
        .filter_map(|entry| Some(entry.ok()?.path().join("job.cu")))
        .filter(|path| path.is_file())
        .collect();
    let kernels = std::fs::read_dir(&shipped)?.filter_map(|entry| Some(entry.ok()?.path()));
    wrapped.extend(kernels.filter(|path| path.extension().is_some_and(|extension| extension == "cu")));
    wrapped.extend(["faults", "residue"].map(|name| root.join(format!("kernels/{name}.cu"))));
    wrapped.sort();
    for (number, path) in wrapped.iter().enumerate() {
        println!("cargo::rerun-if-changed={}", path.display());
        let wrapper = out.join(format!("kernels{number}.cpp"));
        std::fs::write(&wrapper, wrap(path, number)?)?;
        sources.push(wrapper);
    }
    for changed in ["src", "include", "build.rs"] {
        println!("cargo::rerun-if-changed={}", root.join(changed).display());
    }
    for folder in [&examples, &shipped] {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    link(&root, &out, "libcuda.so.1", &sources)?;
    // It asks the emulated driver what memory there is, and finds it in its own folder.
    let driver = [root.join("src/cublaslt.cpp"), out.join("libcuda.so.1")];
    link(&root, &out, "libcublasLt.so.13", &driver)?;
    for count in COUNTS {
        let folder = out.join(format!("devices-{count}"));
        std::fs::create_dir_all(&folder)?;
        for library in ["libcuda.so.1", "libcublasLt.so.13"] {
            std::fs::copy(out.join(library), folder.join(library))?;
        }
    }
    Ok(())
}

/// A C++ source that holds the kernels of one CUDA source in a namespace of their own, and registers them and its
/// variables.
fn wrap(path: &Path, number: usize) -> Result<String, Box<dyn Error>> {
    let source = std::fs::read_to_string(path)?;
    let barriers = source.contains("__syncthreads");
    let mut text = format!("#include \"emulated_cuda.h\"\nnamespace job{number} {{\n#include \"{}\"\n", path.display());
    for declaration in source.split(KERNEL).skip(1) {
        let bounds = declaration.strip_prefix("__launch_bounds__").and_then(|bounds| bounds.split_once(')'));
        let declaration = bounds.map_or(declaration, |(_, rest)| rest.trim_start());
        let name = declaration.split('(').next().unwrap_or_default();
        writeln!(text, "static emulated::registration register_{name}(\"{name}\", {name}, {barriers});")?;
    }
    for name in source.lines().filter_map(variable) {
        writeln!(text, "static emulated::variable remember_{name}(\"{name}\", {name});")?;
    }
    text.push_str("}\n");
    Ok(text)
}

/// The name of the variable that a line declares.
fn variable(line: &str) -> Option<&str> {
    let declared = line.strip_prefix(VARIABLE)?.split(['=', '[', ';']).next()?.trim_end();
    if declared.contains('(') { None } else { declared.rsplit([' ', '*']).next() }
}

fn link(root: &Path, out: &Path, name: &str, sources: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    let compiler = cc::Build::new().cpp(true).opt_level(2).debug(false).std("c++17").get_compiler();
    let status = compiler
        .to_command()
        .args(["-fPIC", "-shared", "-pthread", "-ffp-contract=off", "-fvisibility=hidden", "-Wl,-rpath,$ORIGIN"])
        // Its checks would not let a kernel be left from the handler of a bad address.
        .arg("-U_FORTIFY_SOURCE")
        .arg(format!("-Wl,-soname,{name}"))
        .arg("-I")
        .arg(root.join("include"))
        .args(sources)
        .arg("-o")
        .arg(out.join(name))
        .status()
        .map_err(|error| format!("no C++ compiler ({error}): install g++"))?;
    if !status.success() {
        return Err(format!("{} cannot build the emulated {name}: {status}", compiler.path().display()).into());
    }
    Ok(())
}
