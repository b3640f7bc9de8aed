//! The body as it is compiled: with its checks, with several copies of short loops, and with its fuel in `nop`s.
//!
//! Each operator costs what it costs wasmtime, but that is added up here and paid in one place per way through the body:
//! wasmtime itself would pay before each branch, whether or not it is taken. What a branch leaves behind is paid on its
//! way out. Where fuel is looked at, kept or handed on (at heads of loops, at calls and returns, before memory is filled,
//! and where nothing but a trap can come), all is paid before.

use super::super::reader::Reader;
use super::super::{Unknown, push_length};
use super::loops::{Loop, Loops};
use super::operator::{Operator, Shape, reach};
use super::{Checks, Value};

const NOP: u8 = 0x01;
const BLOCK: u8 = 0x02;
const IF: u8 = 0x04;
const ELSE: u8 = 0x05;
const END: u8 = 0x0b;
const BRANCH: u8 = 0x0c;
const BRANCH_IF: u8 = 0x0d;
const LOCAL_GET: u8 = 0x20;
const LOCAL_SET: u8 = 0x21;
const LOCAL_TEE: u8 = 0x22;
const F32_CONST: u8 = 0x43;
const F64_CONST: u8 = 0x44;
const F32_GE: u8 = 0x60;
const F64_GE: u8 = 0x66;
const NOTHING: u8 = 0x40;
const F32: u8 = 0x7d;
const F64: u8 = 0x7c;

/// The bits of the canonical NaNs.
const F32_NAN: u32 = 0x7fc0_0000;
const F64_NAN: u64 = 0x7ff8_0000_0000_0000;

/// The most fuel that is paid on two ways, as it is written on both.
const MOST_ON_TWO_WAYS: usize = 32;
/// How much longer a body may become: as many times as it was, and as many bytes.
const MOST_GROWTH: (usize, usize) = (6, 64 << 10);

/// What is known of a body when it is written.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    /// The number of the first local for checks.
    pub(super) first: u32,
    /// The most bytes that the memory may ever have.
    pub(super) most_memory: u64,
    pub(super) checks: &'a Checks,
    pub(super) loops: &'a Loops,
}

impl Plan<'_> {
    /// Writes the body whose operators start there.
    pub(super) fn emit(self, bytes: &[u8], start: usize) -> Result<Vec<u8>, Unknown> {
        let mut reader = Reader::new(bytes);
        let mut out = Vec::with_capacity(bytes.len() * 2);
        let runs = reader.index()? as usize;
        push_length(&mut out, runs + 2)?;
        out.extend_from_slice(bytes.get(reader.at()..start).ok_or(Unknown)?);
        // One more of each type, for the checks.
        out.extend_from_slice(&[1, F32, 1, F64]);
        let frames = vec![Frame { kind: Block::Function, added: 0 }];
        let mut emitter = Emitter { bytes, plan: self, out, frames, owed: 0 };
        let (times, more) = MOST_GROWTH;
        let mut at = start;
        while at < bytes.len() {
            at = match self.loops.get(&at) {
                Some(found) => emitter.copies(at, *found)?,
                None => emitter.operator(at)?,
            };
            if emitter.out.len() > bytes.len() * times + more {
                return Err(Unknown);
            }
        }
        Ok(emitter.out)
    }
}

/// A block that is not yet at its end.
struct Frame {
    kind: Block,
    /// How many blocks are around it that were not there before.
    added: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Function,
    /// Whether a branch to its end carries nothing.
    Plain(bool),
    /// The same of an `if`, and what was owed when it began.
    If(bool, usize),
    Else(bool),
    Loop,
}

struct Emitter<'a> {
    bytes: &'a [u8],
    plan: Plan<'a>,
    out: Vec<u8>,
    frames: Vec<Frame>,
    /// What the operators cost that were written since fuel was paid.
    owed: usize,
}

impl<'a> Emitter<'a> {
    /// Writes an operator with its check, and returns where the next one is.
    fn operator(&mut self, at: usize) -> Result<usize, Unknown> {
        let mut reader = Reader::new(self.bytes);
        reader.take(at)?;
        let operator = Operator::read(&mut reader)?;
        let original = reader.since(at)?;
        self.owed += operator.cost();
        match operator {
            Operator::Nop => {}
            Operator::Block(shape) => self.open(original, Block::Plain(shape == Shape::Nothing)),
            Operator::If(shape) => {
                if self.owed > MOST_ON_TWO_WAYS {
                    self.pay();
                }
                self.open(original, Block::If(shape == Shape::Nothing, self.owed));
            }
            Operator::Loop(_) => {
                self.pay();
                self.open(original, Block::Loop);
            }
            Operator::Else => self.turn()?,
            Operator::End => self.close()?,
            Operator::Branch(label) => {
                self.pay();
                self.branch(BRANCH, label, 0)?;
            }
            Operator::BranchIf(label) => self.branch_if(label)?,
            Operator::BranchTable(_) if self.is_inside_copy() => return Err(Unknown),
            other => {
                // Beyond all memory that there can be, a trap is certain.
                let is_beyond = reach(original).is_some_and(|end| end > self.plan.most_memory);
                if is_beyond || other.settles() {
                    self.pay();
                }
                self.out.extend_from_slice(original);
            }
        }
        if let Some(value) = self.plan.checks.get(&at) {
            self.check(*value)?;
        }
        Ok(reader.at())
    }

    /// Writes what is owed.
    fn pay(&mut self) {
        self.out.resize(self.out.len() + self.owed, NOP);
        self.owed = 0;
    }

    fn open(&mut self, original: &[u8], kind: Block) {
        let added = self.frames.last().map_or(0, |frame| frame.added);
        self.frames.push(Frame { kind, added });
        self.out.extend_from_slice(original);
    }

    /// From the first to the second way of an `if`: what was owed before is owed on both.
    fn turn(&mut self) -> Result<(), Unknown> {
        self.pay();
        let frame = self.frames.last_mut().ok_or(Unknown)?;
        let Block::If(carries_nothing, owed) = frame.kind else { return Err(Unknown) };
        frame.kind = Block::Else(carries_nothing);
        self.owed = owed;
        self.out.push(ELSE);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Unknown> {
        self.pay();
        if let Block::If(_, owed) = self.frames.pop().ok_or(Unknown)?.kind
            && owed > 0
        {
            self.out.push(ELSE);
            self.owed = owed;
            self.pay();
        }
        self.out.push(END);
        Ok(())
    }

    fn is_inside_copy(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.added > 0)
    }

    /// Writes a branch out of so many more blocks than the body had there.
    fn branch(&mut self, operator: u8, label: u32, more: u32) -> Result<(), Unknown> {
        let target = self.target(label)?;
        let here = self.frames.last().ok_or(Unknown)?;
        let added = here.added.checked_sub(target.added).ok_or(Unknown)?;
        self.with_number(operator, label.checked_add(added + more).ok_or(Unknown)?)
    }

    fn target(&self, label: u32) -> Result<&Frame, Unknown> {
        let index = self.frames.len().checked_sub(label as usize + 1).ok_or(Unknown)?;
        self.frames.get(index).ok_or(Unknown)
    }

    /// A branch forward is seldom taken, so that what is owed is paid on its way out and owed on.
    fn branch_if(&mut self, label: u32) -> Result<(), Unknown> {
        let is_bare = match self.target(label)?.kind {
            Block::Plain(carries_nothing) | Block::If(carries_nothing, _) | Block::Else(carries_nothing) => {
                carries_nothing
            }
            Block::Function | Block::Loop => false,
        };
        if !is_bare || self.owed > MOST_ON_TWO_WAYS {
            self.pay();
            return self.branch(BRANCH_IF, label, 0);
        }
        let owed = self.owed;
        self.out.extend_from_slice(&[IF, NOTHING]);
        self.pay();
        self.branch(BRANCH, label, 1)?;
        self.out.push(END);
        self.owed = owed;
        Ok(())
    }

    /// Writes a loop with several copies of its body:
    ///
    /// ```text
    /// block                 ;; where all but the last copy leave the loop
    ///   loop
    ///     block             ;; where all but the last copy go to the next one, instead of to the head
    ///       body
    ///       br 2
    ///     end
    ///     ...
    ///     body
    ///   end
    /// end
    /// ```
    fn copies(&mut self, at: usize, Loop { body, end, copies }: Loop) -> Result<usize, Unknown> {
        let head = self.bytes.get(at..body).ok_or(Unknown)?;
        self.pay();
        self.out.push(BLOCK);
        self.out.extend_from_slice(head.get(1..).ok_or(Unknown)?);
        self.out.extend_from_slice(head);
        for _ in 1..copies {
            self.out.extend_from_slice(&[BLOCK, NOTHING]);
            self.copy(body, end, 2)?;
            self.with_number(BRANCH, 2)?;
            self.out.push(END);
        }
        self.copy(body, end, 1)?;
        self.out.extend_from_slice(&[END, END]);
        // Behind the `end`, which is a byte.
        Ok(end + 1)
    }

    /// Writes the body of a loop with so many more blocks around it.
    fn copy(&mut self, body: usize, end: usize, more: u32) -> Result<(), Unknown> {
        let added = self.frames.last().ok_or(Unknown)?.added + more;
        self.frames.push(Frame { kind: Block::Loop, added });
        let mut at = body;
        while at < end {
            at = self.operator(at)?;
        }
        self.pay();
        self.frames.pop().map(drop).ok_or(Unknown)
    }

    /// Replaces the value on top of the stack by the canonical NaN if it does not equal itself.
    fn check(&mut self, value: Value) -> Result<(), Unknown> {
        let (local, at_least) = match value {
            Value::F32 => (self.plan.first, F32_GE),
            Value::F64 => (self.plan.first + 1, F64_GE),
            Value::Plain => return Err(Unknown),
        };
        self.with_number(LOCAL_TEE, local)?;
        self.with_number(LOCAL_GET, local)?;
        // Equality would do as well, but takes two branches where this takes one.
        self.out.extend_from_slice(&[at_least, IF, NOTHING, ELSE]);
        if value == Value::F32 {
            self.out.push(F32_CONST);
            self.out.extend_from_slice(&F32_NAN.to_le_bytes());
        } else {
            self.out.push(F64_CONST);
            self.out.extend_from_slice(&F64_NAN.to_le_bytes());
        }
        self.with_number(LOCAL_SET, local)?;
        self.out.push(END);
        self.with_number(LOCAL_GET, local)
    }

    fn with_number(&mut self, operator: u8, number: u32) -> Result<(), Unknown> {
        self.out.push(operator);
        push_length(&mut self.out, number as usize)
    }
}
