//! Operators, by what they do to floats.

use super::super::Unknown;
use super::super::module::{Value, value};
use super::super::reader::Reader;

/// An operator with those of its operands that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Nop,
    Unreachable,
    Block(Shape),
    Loop(Shape),
    If(Shape),
    Else,
    End,
    Branch(u32),
    BranchIf(u32),
    /// The last label stands for all: they have the same types.
    BranchTable(u32),
    Return,
    Call(u32),
    /// By the number of the type.
    CallIndirect(u32),
    Drop,
    Select,
    LocalGet(u32),
    LocalSet(u32),
    LocalTee(u32),
    GlobalGet(u32),
    GlobalSet(u32),
    /// A constant; whether it is a NaN other than the canonical one.
    Constant(Value, bool),
    /// A float that is no NaN, of an integer.
    Convert,
    /// A float with bits from elsewhere, of so many plain values.
    Bring(u8),
    /// A result that may be a NaN of the machine's own, of so many floats.
    Compute(Value, u8),
    /// The sign is cleared.
    Absolute(Value),
    /// Looks at the bits of so many floats, and leaves a float with bits that are fixed.
    Sign(u8),
    /// Looks at the bits of the float on top; takes so many values and leaves so many plain ones.
    Observe(u8, u8),
    /// Takes so many values without looking at a NaN's bits, and leaves so many plain ones.
    Plain(u8, u8),
    /// Asks for more memory.
    Grow,
    /// Fills a piece of memory or of a table.
    Bulk,
}

/// The type of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Nothing,
    One(Value),
    /// By the number of the type.
    Signature(u32),
}

impl Operator {
    /// The fuel it costs wasmtime, besides what depends on its operands.
    pub(super) const fn cost(self) -> usize {
        match self {
            Self::Nop
            | Self::Drop
            | Self::Block(_)
            | Self::Loop(_)
            | Self::Unreachable
            | Self::Return
            | Self::Else
            | Self::End => 0,
            _ => 1,
        }
    }

    /// Whether fuel is looked at, kept or handed on there, or the way ends.
    pub(super) const fn settles(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::Return
                | Self::Call(_)
                | Self::CallIndirect(_)
                | Self::BranchTable(_)
                | Self::Grow
                | Self::Bulk
        )
    }

    /// Reads an operator with all its operands.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Unknown> {
        let code = reader.byte()?;
        Ok(match code {
            0x00 => Self::Unreachable,
            0x01 => Self::Nop,
            0x02 => Self::Block(shape(reader)?),
            0x03 => Self::Loop(shape(reader)?),
            0x04 => Self::If(shape(reader)?),
            0x05 => Self::Else,
            0x0b => Self::End,
            0x0c => Self::Branch(reader.index()?),
            0x0d => Self::BranchIf(reader.index()?),
            0x0e => {
                for _ in 0..reader.index()? {
                    reader.index()?;
                }
                Self::BranchTable(reader.index()?)
            }
            0x0f => Self::Return,
            0x10 => Self::Call(reader.index()?),
            0x11 => {
                let signature = reader.index()?;
                reader.index()?;
                Self::CallIndirect(signature)
            }
            0x1a => Self::Drop,
            0x1b => Self::Select,
            0x20 => Self::LocalGet(reader.index()?),
            0x21 => Self::LocalSet(reader.index()?),
            0x22 => Self::LocalTee(reader.index()?),
            0x23 => Self::GlobalGet(reader.index()?),
            0x24 => Self::GlobalSet(reader.index()?),
            0x28..=0x40 => memory(code, reader)?,
            0x41..=0x44 => constant(code, reader)?,
            0xfc => extended(reader)?,
            _ => numeric(code)?,
        })
    }
}

/// Where in memory an operator with these bytes reaches at least, should it load or store.
pub(super) fn reach(operator: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(operator);
    if !matches!(reader.byte(), Ok(0x28..=0x3e)) {
        return None;
    }
    let offset = reader.index().and_then(|_| reader.index()).ok()?;
    Some(u64::from(offset) + 8)
}

fn shape(reader: &mut Reader<'_>) -> Result<Shape, Unknown> {
    let mut ahead = *reader;
    let byte = ahead.byte()?;
    if byte == 0x40 {
        *reader = ahead;
        return Ok(Shape::Nothing);
    }
    if let Ok(value) = value(byte) {
        *reader = ahead;
        return Ok(Shape::One(value));
    }
    // A negative number is a type that is not known here; as an index it would need more than one byte.
    if byte & 0xc0 == 0x40 { Err(Unknown) } else { Ok(Shape::Signature(reader.index()?)) }
}

/// Loads, stores, and the memory's size.
fn memory(code: u8, reader: &mut Reader<'_>) -> Result<Operator, Unknown> {
    // The alignment; a larger number says that a memory is named.
    if reader.index()? > 4 && code < 0x3f {
        return Err(Unknown);
    }
    if code < 0x3f {
        reader.skip_number()?;
    }
    Ok(match code {
        0x2a | 0x2b => Operator::Bring(1),
        0x28..=0x35 => Operator::Plain(1, 1),
        0x38 | 0x39 => Operator::Observe(2, 0),
        0x36..=0x3e => Operator::Plain(2, 0),
        0x3f => Operator::Plain(0, 1),
        _ => Operator::Grow,
    })
}

fn constant(code: u8, reader: &mut Reader<'_>) -> Result<Operator, Unknown> {
    Ok(match code {
        0x43 => {
            let bits = reader.take(4)?.try_into().map(u32::from_le_bytes).map_err(|_| Unknown)?;
            Operator::Constant(Value::F32, f32::from_bits(bits).is_nan() && bits != 0x7fc0_0000)
        }
        0x44 => {
            let bits = reader.take(8)?.try_into().map(u64::from_le_bytes).map_err(|_| Unknown)?;
            Operator::Constant(Value::F64, f64::from_bits(bits).is_nan() && bits != 0x7ff8_0000_0000_0000)
        }
        _ => {
            reader.skip_number()?;
            Operator::Constant(Value::Plain, false)
        }
    })
}

/// Conversions that cannot trap, and whole pieces of memory and tables.
fn extended(reader: &mut Reader<'_>) -> Result<Operator, Unknown> {
    let (operands, operator) = match reader.index()? {
        0..=7 => (0, Operator::Plain(1, 1)),
        // Initial pieces are given up.
        9 | 13 => (1, Operator::Plain(0, 0)),
        11 => (1, Operator::Bulk),
        8 | 10 | 12 | 14 => (2, Operator::Bulk),
        _ => return Err(Unknown),
    };
    for _ in 0..operands {
        reader.index()?;
    }
    Ok(operator)
}

const fn numeric(code: u8) -> Result<Operator, Unknown> {
    Ok(match code {
        // One integer: comparison with zero, bits, and conversions between integers.
        0x45 | 0x50 | 0x67..=0x69 | 0x79..=0x7b | 0xa7 | 0xac | 0xad | 0xc0..=0xc4 => Operator::Plain(1, 1),
        // Two values: comparisons, and arithmetic of integers.
        0x46..=0x66 | 0x6a..=0x78 | 0x7c..=0x8a => Operator::Plain(2, 1),
        // A float made an integer by its value.
        0xa8..=0xab | 0xae..=0xb1 => Operator::Plain(1, 1),
        0x8b => Operator::Absolute(Value::F32),
        0x99 => Operator::Absolute(Value::F64),
        0x8c | 0x9a => Operator::Sign(1),
        0x98 | 0xa6 => Operator::Sign(2),
        0x8d..=0x91 => Operator::Compute(Value::F32, 1),
        0x92..=0x97 => Operator::Compute(Value::F32, 2),
        0x9b..=0x9f => Operator::Compute(Value::F64, 1),
        0xa0..=0xa5 => Operator::Compute(Value::F64, 2),
        0xb2..=0xb5 | 0xb7..=0xba => Operator::Convert,
        0xb6 => Operator::Compute(Value::F32, 1),
        0xbb => Operator::Compute(Value::F64, 1),
        // Bits looked at as an integer, and the other way round.
        0xbc | 0xbd => Operator::Observe(1, 1),
        0xbe | 0xbf => Operator::Bring(1),
        _ => return Err(Unknown),
    })
}
