//! Builds the contracts with forge and lays their ABIs and bytecode where `bindings` finds them.
//!
//! Without forge, as on a GPU host, the committed ABIs in `contracts/abi` serve and no bytecode is embedded: such a
//! build runs every service but cannot deploy. A test keeps the committed ABIs equal to what forge makes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, error::Error, fs};

const CONTRACTS: [&str; 5] = ["ComputeToken", "Settlement", "ProviderRegistry", "ResourceCatalog", "Messages"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..").canonicalize()?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for watched in ["contracts/src", "contracts/abi", "foundry.toml", "package-lock.json"] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    println!("cargo::rerun-if-env-changed=FORGE");
    println!("cargo::rerun-if-env-changed=FOUNDRY_SOLC");
    let abi = out.join("abi");
    fs::create_dir_all(&abi)?;
    match forge(&root) {
        Some(forge) => with_forge(&forge, &root, &out, &abi),
        None => committed(&root, &abi),
    }
}

/// The native binary. npm's wrapper is never called, because it exits 0 even where forge failed.
fn forge(root: &Path) -> Option<PathBuf> {
    let system = match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => "linux-amd64",
        ("linux", "aarch64") => "linux-arm64",
        ("macos", "x86_64") => "darwin-amd64",
        ("macos", "aarch64") => "darwin-arm64",
        _ => "unsupported",
    };
    let pinned = root.join(format!("node_modules/@foundry-rs/forge-{system}/bin/forge"));
    env::var_os("FORGE").map(PathBuf::from).or(Some(pinned)).filter(|path| path.is_file())
}

fn with_forge(forge: &Path, root: &Path, out: &Path, abi: &Path) -> Result<(), Box<dyn Error>> {
    let artifacts = out.join("artifacts");
    let solc = env::var_os("FOUNDRY_SOLC").map_or_else(|| root.join("contracts/tools/solc"), PathBuf::from);
    let output = Command::new(forge)
        .current_dir(root)
        .args(["build", "contracts/src", "--out"])
        .arg(&artifacts)
        .arg("--cache-path")
        .arg(out.join("cache"))
        .env("FOUNDRY_SOLC", solc)
        // What is embedded here is what gets deployed.
        .env("FOUNDRY_PROFILE", "production")
        .output()?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        return Err(format!("forge build failed:\n{}", String::from_utf8_lossy(&text)).into());
    }
    for name in CONTRACTS {
        let text = fs::read_to_string(artifacts.join(format!("{name}.sol/{name}.json")))?;
        let artifact: serde_json::Value = serde_json::from_str(&text)?;
        let code = artifact["bytecode"]["object"].as_str().ok_or("an artifact without bytecode")?;
        fs::write(abi.join(format!("{name}.json")), artifact["abi"].to_string())?;
        fs::write(abi.join(format!("{name}.hex")), code.trim_start_matches("0x"))?;
    }
    Ok(())
}

fn committed(root: &Path, abi: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo::warning=forge is not installed (run `npm ci`): using the committed ABIs, without bytecode");
    for name in CONTRACTS {
        fs::copy(root.join(format!("contracts/abi/{name}.json")), abi.join(format!("{name}.json")))?;
        fs::write(abi.join(format!("{name}.hex")), "")?;
    }
    Ok(())
}
