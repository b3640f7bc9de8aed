//! Modules are changed before they are compiled, so that metering and determinism cost less.
//!
//! **NaNs.** A result that is not a number may have different bits on different machines. wasmtime can replace it by the one
//! canonical NaN after each operation, which makes programs of floating-point arithmetic two to six times as slow. But
//! which NaN it is shows only where bits are looked at: in memory, in an integer, in a sign. So this pass rewrites a
//! module: [`body`] follows each value from the operation that makes it to where it goes, and a check, which hardly ever
//! finds anything, is put behind those operations alone whose result leaves arithmetic. What a program observes is the
//! same as if every result were made canonical; what it moves from memory to memory keeps its bits, as the standard says.
//!
//! **Loops.** Short ones get several copies of their body behind one head ([`body`] says why).
//!
//! **Fuel** stays the same. Operators cost nothing in [`costs`] but for `nop`, and what the program's own cost wasmtime is
//! written in `nop`s, which make no code.
//!
//! A module that uses more of WebAssembly than this pass knows, such as vectors, is compiled as it is, with wasmtime's own
//! pass for NaNs: it gives the same results for the same fuel.

mod reader;
mod module;
mod body;
mod costs;

pub(super) use costs::costs;

use body::Budget;
use module::Layout;
use reader::Reader;

/// Section of function bodies.
const CODE: u8 = 10;
/// Section that programs do not depend on.
const CUSTOM: u8 = 0;
/// Custom sections that name places in function bodies, which move.
const HINTS: &[u8] = b"metadata.code.";

/// Something that this pass does not know.
#[derive(Debug, PartialEq, Eq)]
struct Unknown;

/// The module as it is compiled; `None` where it is for wasmtime's own pass, or where there is nothing to gain.
///
/// The module must be valid: a wrong one might become a right one.
pub(super) fn rewrite(module: &[u8]) -> Option<Vec<u8>> {
    let layout = Layout::read(module).ok()?;
    let mut budget = Budget::new(module.len());
    let mut is_worthwhile = false;
    let mut code = Vec::new();
    push_length(&mut code, layout.bodies.len()).ok()?;
    for body in &layout.bodies {
        let body = body::rewrite(&layout, body, &mut budget).ok()?;
        is_worthwhile |= body.is_worthwhile;
        push_length(&mut code, body.bytes.len()).ok()?;
        code.extend_from_slice(&body.bytes);
    }
    if !is_worthwhile {
        return None;
    }
    let mut out = module.get(..8)?.to_vec();
    for (id, content) in layout.sections {
        let content = match id {
            CODE => &code,
            CUSTOM if is_hint(content) => continue,
            _ => content,
        };
        out.push(id);
        push_length(&mut out, content.len()).ok()?;
        out.extend_from_slice(content);
    }
    Some(out)
}

fn is_hint(section: &[u8]) -> bool {
    Reader::new(section).bytes().is_ok_and(|name| name.starts_with(HINTS))
}

fn push_length(out: &mut Vec<u8>, length: usize) -> Result<(), Unknown> {
    let mut rest = u32::try_from(length).map_err(|_| Unknown)?;
    loop {
        let byte = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            out.push(byte);
            return Ok(());
        }
        out.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests;
