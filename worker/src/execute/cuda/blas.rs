//! A thin owner of cuBLASLt: plans matrix products and puts them into the queue.
//!
//! The library's matrices have contiguous columns, ours contiguous rows, which is the same as transposing all three; so
//! C = A B is asked for as C' = B' A'. One algorithm is asked for per shape, with a workspace of fixed size and no
//! reduction in place: the same library on the same architecture then gives the same bits.

use super::super::ExecuteError;
use super::memory::Buffer;
use super::stream::Stream;
use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;
use cudarc::driver::result::DriverError;
use protocol::job::Element;
use std::ffi::c_void;
use std::ptr::from_ref;

type Attribute = sys::cublasLtMatmulDescAttributes_t;
type Preference = sys::cublasLtMatmulPreferenceAttributes_t;
type Scheme = sys::cublasLtReductionScheme_t;

/// The library failed, or was given buffers that are too small.
#[derive(Debug, thiserror::Error)]
pub(in crate::execute) enum BlasError {
    #[error("cuBLASLt failed: {0}")]
    Library(#[from] CublasError),
    #[error("the CUDA device failed: {0}")]
    Device(#[from] DriverError),
    #[error("a matrix is larger than its buffer")]
    Length,
}

impl From<BlasError> for ExecuteError {
    fn from(error: BlasError) -> Self {
        Self::Node(error.to_string())
    }
}

/// The library's name and version, such as `cublaslt-13.0.2`; `None` where there is none.
pub(in crate::execute) fn toolchain() -> Option<String> {
    // SAFETY: it only tries to load a system library by name.
    if !unsafe { sys::is_culib_present() } {
        return None;
    }
    // SAFETY: the library is there, and the function has no arguments.
    let version = unsafe { sys::cublasLtGetVersion() };
    Some(format!("cublaslt-{}.{}.{}", version / 10_000, version / 100 % 100, version % 100))
}

/// A product of a block of rows: `rows` rows of A (of k elements each) with all of B (k rows of n).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::execute) struct Shape {
    pub(in crate::execute) element: Element,
    pub(in crate::execute) rows: u32,
    pub(in crate::execute) k: u32,
    pub(in crate::execute) n: u32,
}

/// How the library computes a shape.
pub(in crate::execute) type Algorithm = sys::cublasLtMatmulAlgo_t;

/// The library, for a queue.
pub(in crate::execute) struct Blas {
    stream: Stream,
    raw: sys::cublasLtHandle_t,
}

impl Blas {
    /// Opens the library, which [`toolchain`] found, for a queue of the context that is current on this thread.
    pub(in crate::execute) fn open(stream: &Stream) -> Result<Self, BlasError> {
        Ok(Self { stream: stream.clone(), raw: result::create_handle()? })
    }

    /// Prepares a product, by the algorithm given, or by the one that the library thinks fastest.
    pub(in crate::execute) fn plan(
        &self,
        shape: Shape,
        workspace: u64,
        algorithm: Option<Algorithm>,
    ) -> Result<Plan, BlasError> {
        let (n, rows, k) = (u64::from(shape.n), u64::from(shape.rows), u64::from(shape.k));
        let kind = Kind::of(shape.element);
        let operation = Operation::new(&kind)?;
        // B' is stored as it is, save for signed bytes: those are handed over transposed, and turned back here.
        let left = if kind.transposed { Layout::new(kind.input, k, n)? } else { Layout::new(kind.input, n, k)? };
        let right = Layout::new(kind.input, k, rows)?;
        let product = Layout::new(kind.output, n, rows)?;
        let mut plan = Plan { shape, kind, operation, left, right, product, algorithm: Algorithm { data: [0; 8] } };
        plan.algorithm = match algorithm {
            Some(algorithm) => algorithm,
            None => self.fastest(&plan, workspace)?,
        };
        Ok(plan)
    }

    fn fastest(&self, plan: &Plan, workspace: u64) -> Result<Algorithm, BlasError> {
        let wishes = Wishes::new(workspace)?;
        let (product, operation) = (plan.product.0, plan.operation.0);
        // SAFETY: all descriptors live, and belong to matrices of these types.
        let found = unsafe {
            result::get_matmul_algo_heuristic(
                self.raw,
                operation,
                plan.left.0,
                plan.right.0,
                product,
                product,
                wishes.0,
            )
        }?;
        Ok(found.algo)
    }

    /// Puts a product into the queue. `a` and `c` are a buffer and where in it the rows start, in bytes;
    /// the columns of `b` are contiguous for signed bytes, its rows otherwise.
    pub(in crate::execute) fn multiply(
        &self,
        plan: &Plan,
        a: (&Buffer, u64),
        b: &Buffer,
        c: (&Buffer, u64),
        workspace: &Buffer,
    ) -> Result<(), BlasError> {
        let Shape { element, rows, k, n } = plan.shape;
        let bytes = |rows: u32, columns: u32, size: u64| u128::from(rows) * u128::from(columns) * u128::from(size);
        let fits = |buffer: &Buffer, offset: u64, bytes: u128| u128::from(offset) + bytes <= buffer.length() as u128;
        let size = element.size();
        if !fits(a.0, a.1, bytes(rows, k, size)) || !fits(b, 0, bytes(k, n, size)) || !fits(c.0, c.1, bytes(rows, n, 4))
        {
            return Err(BlasError::Length);
        }
        let (alpha, beta) = plan.kind.scales();
        let product = (c.0.address() + c.1) as *mut c_void;
        // SAFETY: the layouts are those of matrices that lie in their buffers, as was just checked; the buffers are
        // kept by the caller until the device is done, and the factors are read before the call returns.
        unsafe {
            result::matmul(
                self.raw,
                plan.operation.0,
                alpha,
                beta,
                b.address() as *const c_void,
                plan.left.0,
                (a.0.address() + a.1) as *const c_void,
                plan.right.0,
                product,
                plan.product.0,
                product,
                plan.product.0,
                from_ref(&plan.algorithm),
                workspace.address() as *mut c_void,
                workspace.length(),
                self.stream.raw().cast(),
            )
        }?;
        Ok(())
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        // SAFETY: nothing uses the handle after this. A failure would only leak it.
        let _ = unsafe { result::destroy_handle(self.raw) };
    }
}

/// A product that is ready to be computed.
pub(in crate::execute) struct Plan {
    shape: Shape,
    kind: Kind,
    operation: Operation,
    left: Layout,
    right: Layout,
    product: Layout,
    pub(in crate::execute) algorithm: Algorithm,
}

/// The library's types of a product.
struct Kind {
    input: sys::cudaDataType,
    output: sys::cudaDataType,
    compute: sys::cublasComputeType_t,
    transposed: bool,
}

impl Kind {
    const fn of(element: Element) -> Self {
        let (input, output, compute) = match element {
            Element::Bf16 => (
                sys::cudaDataType::CUDA_R_16BF,
                sys::cudaDataType::CUDA_R_32F,
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            ),
            Element::Fp16 => (
                sys::cudaDataType::CUDA_R_16F,
                sys::cudaDataType::CUDA_R_32F,
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            ),
            Element::Int8 => (
                sys::cudaDataType::CUDA_R_8I,
                sys::cudaDataType::CUDA_R_32I,
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32I,
            ),
        };
        Self { input, output, compute, transposed: matches!(element, Element::Int8) }
    }

    /// One and zero, in the type of the sums.
    fn scales(&self) -> (*const c_void, *const c_void) {
        if self.transposed {
            (from_ref(&1i32).cast(), from_ref(&0i32).cast())
        } else {
            (from_ref(&1f32).cast(), from_ref(&0f32).cast())
        }
    }
}

struct Operation(sys::cublasLtMatmulDesc_t);

impl Operation {
    fn new(kind: &Kind) -> Result<Self, CublasError> {
        let operation = Self(result::create_matmul_desc(kind.compute, kind.output)?);
        // CUBLAS_OP_T and CUBLAS_OP_N, which these bindings do not name.
        let transposed = i32::from(kind.transposed);
        let value = from_ref(&transposed).cast();
        // SAFETY: the descriptor lives, and the attribute is a 32-bit integer.
        unsafe { result::set_matmul_desc_attribute(operation.0, Attribute::CUBLASLT_MATMUL_DESC_TRANSA, value, 4) }?;
        Ok(operation)
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        // SAFETY: nothing uses the descriptor after this.
        let _ = unsafe { result::destroy_matmul_desc(self.0) };
    }
}

/// A matrix with contiguous columns.
struct Layout(sys::cublasLtMatrixLayout_t);

impl Layout {
    fn new(element: sys::cudaDataType, rows: u64, columns: u64) -> Result<Self, CublasError> {
        // A side is below 2^31.
        Ok(Self(result::create_matrix_layout(element, rows, columns, rows.cast_signed())?))
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: nothing uses the layout after this.
        let _ = unsafe { result::destroy_matrix_layout(self.0) };
    }
}

/// What an algorithm may use.
struct Wishes(sys::cublasLtMatmulPreference_t);

impl Wishes {
    fn new(workspace: u64) -> Result<Self, CublasError> {
        let wishes = Self(result::create_matmul_pref()?);
        let reductions = Scheme::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE as u32;
        let set = |attribute, value: *const c_void, size| {
            // SAFETY: the descriptor lives, and each value is of the size that its attribute has.
            unsafe { result::set_matmul_pref_attribute(wishes.0, attribute, value, size) }
        };
        set(Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, from_ref(&workspace).cast(), 8)?;
        set(Preference::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, from_ref(&reductions).cast(), 4)?;
        Ok(wishes)
    }
}

impl Drop for Wishes {
    fn drop(&mut self) {
        // SAFETY: nothing uses the descriptor after this.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}
