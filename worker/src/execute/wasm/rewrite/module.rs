//! What the pass must know of a module around its functions' bodies.

use super::reader::Reader;
use super::{CODE, Unknown};

/// Sections by their number.
const TYPES: u8 = 1;
const IMPORTS: u8 = 2;
const FUNCTIONS: u8 = 3;
const MEMORIES: u8 = 5;
const GLOBALS: u8 = 6;
/// Bytes in a page of memory, and the most that a memory may have.
const PAGE: u64 = 64 << 10;
const MOST_MEMORY: u64 = 4 << 30;
/// First byte of a function's type.
const FUNCTION: u8 = 0x60;
/// What tables hold; other types of references have more than one byte.
const FUNCTION_REFERENCE: u8 = 0x70;
const HOST_REFERENCE: u8 = 0x6f;

/// A type of values, as far as this pass tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// Anything that is not a float.
    Plain,
    F32,
    F64,
}

/// A function's parameters and results.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) parameters: Vec<Value>,
    pub(super) results: Vec<Value>,
}

/// A function's body, and the number of its type.
#[derive(Debug)]
pub(super) struct Body<'a> {
    pub(super) signature: u32,
    pub(super) bytes: &'a [u8],
}

/// A module in its parts.
#[derive(Debug, Default)]
pub(super) struct Layout<'a> {
    pub(super) sections: Vec<(u8, &'a [u8])>,
    types: Vec<Signature>,
    /// Number of the type of each function, imported ones first.
    functions: Vec<u32>,
    /// Type of each global, imported ones first.
    globals: Vec<Value>,
    /// The most bytes that the memory may have, where that is said.
    most_memory: Option<u64>,
    pub(super) bodies: Vec<Body<'a>>,
}

impl<'a> Layout<'a> {
    pub(super) fn read(module: &'a [u8]) -> Result<Self, Unknown> {
        let mut layout = Self::default();
        let mut reader = Reader::new(module);
        if reader.take(8)? != b"\0asm\x01\0\0\0" {
            return Err(Unknown);
        }
        let mut own = 0;
        while !reader.is_at_end() {
            let (id, content) = (reader.byte()?, reader.bytes()?);
            layout.sections.push((id, content));
            let mut content = Reader::new(content);
            match id {
                TYPES => layout.read_types(&mut content)?,
                IMPORTS => layout.read_imports(&mut content)?,
                FUNCTIONS => {
                    own = layout.functions.len();
                    layout.read_functions(&mut content)?;
                }
                MEMORIES => layout.read_memories(&mut content)?,
                GLOBALS => layout.read_globals(&mut content)?,
                CODE => layout.read_code(&mut content, own)?,
                _ => continue,
            }
            // What is left over was taken for something else than it is.
            if !content.is_at_end() {
                return Err(Unknown);
            }
        }
        Ok(layout)
    }

    pub(super) fn signature(&self, number: u32) -> Result<&Signature, Unknown> {
        self.types.get(number as usize).ok_or(Unknown)
    }

    pub(super) fn function(&self, number: u32) -> Result<&Signature, Unknown> {
        self.signature(*self.functions.get(number as usize).ok_or(Unknown)?)
    }

    pub(super) fn global(&self, number: u32) -> Result<Value, Unknown> {
        self.globals.get(number as usize).copied().ok_or(Unknown)
    }

    /// The most bytes that the memory may ever have.
    pub(super) fn most_memory(&self) -> u64 {
        self.most_memory.unwrap_or(MOST_MEMORY)
    }

    fn read_types(&mut self, reader: &mut Reader<'a>) -> Result<(), Unknown> {
        for _ in 0..reader.index()? {
            if reader.byte()? != FUNCTION {
                return Err(Unknown);
            }
            let (parameters, results) = (values(reader)?, values(reader)?);
            self.types.push(Signature { parameters, results });
        }
        Ok(())
    }

    fn read_imports(&mut self, reader: &mut Reader<'a>) -> Result<(), Unknown> {
        for _ in 0..reader.index()? {
            // Whose it is, and its name.
            reader.bytes()?;
            reader.bytes()?;
            match reader.byte()? {
                0 => self.functions.push(reader.index()?),
                1 if matches!(reader.byte()?, FUNCTION_REFERENCE | HOST_REFERENCE) => drop(limits(reader)?),
                2 => self.read_memory(reader)?,
                3 => {
                    self.globals.push(value(reader.byte()?)?);
                    reader.byte()?;
                }
                _ => return Err(Unknown),
            }
        }
        Ok(())
    }

    fn read_functions(&mut self, reader: &mut Reader<'a>) -> Result<(), Unknown> {
        for _ in 0..reader.index()? {
            self.functions.push(reader.index()?);
        }
        Ok(())
    }

    fn read_memories(&mut self, reader: &mut Reader<'a>) -> Result<(), Unknown> {
        (0..reader.index()?).try_for_each(|_| self.read_memory(reader))
    }

    fn read_memory(&mut self, reader: &mut Reader<'a>) -> Result<(), Unknown> {
        self.most_memory = limits(reader)?.map(|pages| u64::from(pages) * PAGE);
        Ok(())
    }

    fn read_globals(&mut self, reader: &mut Reader<'a>) -> Result<(), Unknown> {
        for _ in 0..reader.index()? {
            self.globals.push(value(reader.byte()?)?);
            reader.byte()?;
            // Only an initial value of one constant, or of another global, is known here.
            match reader.byte()? {
                0x23 | 0x41 | 0x42 => reader.skip_number()?,
                0x43 => drop(reader.take(4)?),
                0x44 => drop(reader.take(8)?),
                _ => return Err(Unknown),
            }
            if reader.byte()? != 0x0b {
                return Err(Unknown);
            }
        }
        Ok(())
    }

    fn read_code(&mut self, reader: &mut Reader<'a>, own: usize) -> Result<(), Unknown> {
        let signatures = self.functions.get(own..).ok_or(Unknown)?;
        if reader.index()? as usize != signatures.len() {
            return Err(Unknown);
        }
        for signature in signatures {
            self.bodies.push(Body { signature: *signature, bytes: reader.bytes()? });
        }
        Ok(())
    }
}

/// A type of values by its byte. References and vectors are not known here.
pub(super) const fn value(byte: u8) -> Result<Value, Unknown> {
    match byte {
        0x7f | 0x7e => Ok(Value::Plain),
        0x7d => Ok(Value::F32),
        0x7c => Ok(Value::F64),
        _ => Err(Unknown),
    }
}

fn values(reader: &mut Reader<'_>) -> Result<Vec<Value>, Unknown> {
    (0..reader.index()?).map(|_| value(reader.byte()?)).collect()
}

/// Reads the bounds of a table or memory, and returns the upper one.
fn limits(reader: &mut Reader<'_>) -> Result<Option<u32>, Unknown> {
    let flags = reader.byte()?;
    reader.index()?;
    match flags {
        0 => Ok(None),
        1 => reader.index().map(Some),
        _ => Err(Unknown),
    }
}
