//! Matrix products by cuBLASLt, in blocks of rows.
//!
//! The blocks follow from the sizes alone, and the algorithm of each shape is picked once, so a product has the same bits
//! whenever the library and the architecture are the same.

use super::CudaExecutor;
use super::pinned::Code;
use super::session::{Session, Stopped};
use crate::execute::cuda::blas::{self, Algorithm, Blas, BlasError, Plan, Shape};
use crate::execute::cuda::call::Value;
use crate::execute::cuda::memory::Buffer;
use crate::execute::cuda::module::Module;
use crate::execute::cuda::run::Outcome;
use crate::execute::{ExecuteError, Produced, Region};
use bytes::Bytes;
use protocol::job::{Element, GEMM_WORKSPACE};
use protocol::resource::Usage;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Operations of a block of rows: some tens of milliseconds on a data-centre GPU, under a second on a small one.
const BLOCK_WORK: u64 = 1 << 44;
/// Rows of a block are a multiple of this, which suits every tile of the library and keeps each block aligned.
const ROWS_STEP: u64 = 256;
/// Side of the tiles that the transposition works on.
const TILE: u32 = 32;
/// Shapes whose algorithm is remembered.
const MAX_ALGORITHMS: usize = 1024;

/// Sizes of a product.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sides {
    element: Element,
    m: u32,
    k: u32,
    n: u32,
}

impl Sides {
    pub(super) const fn new(element: Element, m: u32, k: u32, n: u32) -> Self {
        Self { element, m, k, n }
    }

    /// Operations of one row.
    const fn row_work(&self) -> u64 {
        2 * self.k as u64 * self.n as u64
    }

    /// Rows of every block but the last.
    fn block_rows(&self) -> u32 {
        let rows = BLOCK_WORK.div_ceil(self.row_work()).next_multiple_of(ROWS_STEP);
        u32::try_from(rows).unwrap_or(u32::MAX).min(self.m)
    }

    const fn shape(&self, rows: u32) -> Shape {
        Shape { element: self.element, rows, k: self.k, n: self.n }
    }
}

/// The algorithm of each shape that this device has computed.
#[derive(Default)]
pub(super) struct Algorithms(Mutex<HashMap<Shape, Algorithm>>);

impl Algorithms {
    fn plan(&self, blas: &Blas, shape: Shape) -> Result<Plan, BlasError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = blas.plan(shape, GEMM_WORKSPACE, known.get(&shape).copied())?;
        if known.len() >= MAX_ALGORITHMS {
            // The library picks the same ones again.
            known.clear();
        }
        known.insert(shape, plan.algorithm);
        Ok(plan)
    }
}

/// Multiplies two small matrices, so that the library is loaded and known to work. Tells its name and version.
pub(super) fn warm_up(cuda: &CudaExecutor) -> Result<String, String> {
    let toolchain = blas::toolchain().ok_or(
        "gemm needs cuBLASLt (libcublasLt.so.13 or .12): install it, for instance by pip from nvidia-cublas, and name its \
         folder in cuda.libraries",
    )?;
    let tried = cuda.on_device(|device| {
        let mut multiply = || -> Result<(), Stopped> {
            const SIDE: u32 = 256;
            let side = u64::from(SIDE);
            let zeroed = |length: u64| Buffer::zeroed(&device.stream, length as usize);
            let (a, b, c) = (zeroed(2 * side * side)?, zeroed(2 * side * side)?, zeroed(4 * side * side)?);
            let workspace = zeroed(GEMM_WORKSPACE)?;
            let blas = Blas::open(&device.stream)?;
            let shape = Shape { element: Element::Bf16, rows: SIDE, k: SIDE, n: SIDE };
            let plan = blas.plan(shape, GEMM_WORKSPACE, None)?;
            blas.multiply(&plan, (&a, 0), &b, (&c, 0), &workspace)?;
            // Reading waits for the product, and so for whatever went wrong in it.
            Ok(device.copier.download(&device.stream, &c, &mut vec![0; c.length()])?)
        };
        match multiply() {
            Ok(()) => Outcome::Ended(Ok(Produced { usage: Usage::default(), lengths: Vec::new() })),
            Err(stopped) => stopped.outcome(),
        }
    });
    match tried {
        Ok(_) => Ok(toolchain),
        Err(ExecuteError::Node(detail)) => Err(format!("gemm is refused, as {toolchain} does not work: {detail}")),
        Err(error) => Err(format!("gemm is refused: {error}")),
    }
}

pub(super) fn run(
    session: &mut Session<'_>,
    code: &Code,
    algorithms: &Algorithms,
    sides: Sides,
    inputs: &[Bytes],
    output: &mut Region,
) -> Result<(), Stopped> {
    let blas = Blas::open(&session.stream)?;
    let workspace = session.zeroed(GEMM_WORKSPACE)?;
    let (a, mut b) = (session.input(inputs, 0)?, session.input(inputs, 1)?);
    let c = session.zeroed(output.len() as u64)?;
    if sides.element == Element::Int8 {
        b = transposed(session, code, sides, &b)?;
    }
    let rows = sides.block_rows();
    let whole = algorithms.plan(&blas, sides.shape(rows))?;
    let rest = match sides.m % rows {
        0 => None,
        rest => Some(algorithms.plan(&blas, sides.shape(rest))?),
    };
    let mut done = 0;
    while done < sides.m {
        let count = rows.min(sides.m - done);
        let plan = if count == rows { &whole } else { rest.as_ref().unwrap_or(&whole) };
        let from_a = u64::from(done) * u64::from(sides.k) * sides.element.size();
        let from_c = u64::from(done) * u64::from(sides.n) * 4;
        session.group(u64::from(count) * sides.row_work(), || {
            blas.multiply(plan, (&a, from_a), &b, (&c, from_c), &workspace)
        })?;
        done += count;
    }
    session.read(&c, output)
}

/// B with its columns contiguous.
fn transposed(session: &mut Session<'_>, code: &Code, sides: Sides, b: &Buffer) -> Result<Buffer, Stopped> {
    let (module, stream) = (Module::load(&session.context, &code.machine)?, session.stream.clone());
    let transpose = module.kernel("gemm_transpose")?;
    let turned = session.zeroed(b.length() as u64)?;
    let grid = [sides.n.div_ceil(TILE), sides.k.div_ceil(TILE), 1];
    let values = [Value::Buffer(b), Value::Buffer(&turned), Value::U32(sides.k), Value::U32(sides.n)];
    session.group(0, || transpose.call(&stream, grid, [TILE, TILE, 1], &values))?;
    Ok(turned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_from_the_sizes() {
        let rows = |m, k, n| Sides::new(Element::Bf16, m, k, n).block_rows();
        assert_eq!(rows(5, 3, 7), 5);
        assert_eq!(rows(8192, 8192, 8192), 8192);
        assert_eq!(rows(65_536, 65_536, 65_536), 2048);
        assert_eq!(rows(1 << 20, 131_072, 262_144), 256);
        assert_eq!(rows(u32::MAX >> 1, 1, 1), u32::MAX >> 1);
    }
}
