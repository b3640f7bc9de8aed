//! Following floats through a body, from what makes them to what looks at their bits.
//!
//! The stack is followed as the validator does it. A float is one of three kinds:
//! - **fixed**: no NaN, or the canonical one;
//! - **moved**: its bits come from memory, from a caller or callee, or from an integer, and must stay as they are;
//! - **computed**: it may be a NaN of the machine's own, and must be checked before anything looks at its bits.
//!
//! A local that only ever gets fixed and computed floats is itself computed, so that a sum in a loop needs no check before
//! it is stored. All others are moved, and what is computed is checked before it is put into one. Where values meet, at
//! the ends of blocks and at branches, they are moved as well.

use super::super::Unknown;
use super::super::module::{Layout, Signature, Value};
use super::super::reader::Reader;
use super::operator::{Operator, Shape};
use super::{Checks, Locals};
use std::collections::HashSet;

/// A value on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// No float, or unknown in code that is never reached.
    Plain,
    Fixed,
    Moved,
    /// By the operator at that place, whose result is of that type.
    Computed(usize, Value),
}

struct Frame {
    height: usize,
    is_loop: bool,
    shape: Shape,
    /// Whether the code at hand is never reached.
    is_dead: bool,
}

/// What was found out about a body.
pub(super) struct Flow<'a> {
    pub(super) checks: Checks,
    /// Locals that were taken for computed and are not.
    pub(super) moved: HashSet<u32>,
    pub(super) has_arithmetic: bool,
    layout: &'a Layout<'a>,
    signature: &'a Signature,
    locals: &'a Locals,
    known: &'a HashSet<u32>,
    /// Takes every local for moved.
    all_moved: bool,
    stack: Vec<Kind>,
    frames: Vec<Frame>,
}

impl<'a> Flow<'a> {
    /// Follows a body, where these locals are known to be moved.
    pub(super) fn follow(
        layout: &'a Layout<'a>,
        signature: &'a Signature,
        locals: &'a Locals,
        known: &'a HashSet<u32>,
        all_moved: bool,
        mut reader: Reader<'_>,
    ) -> Result<Self, Unknown> {
        let outermost = Frame { height: 0, is_loop: false, shape: Shape::Nothing, is_dead: false };
        let mut flow = Self {
            checks: Checks::new(),
            moved: HashSet::new(),
            has_arithmetic: false,
            layout,
            signature,
            locals,
            known,
            all_moved,
            stack: Vec::new(),
            frames: vec![outermost],
        };
        while !reader.is_at_end() {
            let at = reader.at();
            let operator = Operator::read(&mut reader)?;
            flow.step(at, operator)?;
        }
        if flow.frames.is_empty() { Ok(flow) } else { Err(Unknown) }
    }

    fn step(&mut self, at: usize, operator: Operator) -> Result<(), Unknown> {
        match operator {
            Operator::Nop => Ok(()),
            Operator::Unreachable => self.die(),
            Operator::Block(shape) => self.enter(shape, false),
            Operator::Loop(shape) => self.enter(shape, true),
            Operator::If(shape) => self.pop().and_then(|_| self.enter(shape, false)),
            Operator::Else => self.turn(),
            Operator::End => self.leave(),
            Operator::Branch(label) => self.observe_label(label).and_then(|()| self.die()),
            Operator::BranchIf(label) => self.pop().and_then(|_| self.observe_label(label)),
            Operator::BranchTable(label) => {
                self.pop()?;
                self.observe_label(label)?;
                self.die()
            }
            Operator::Return => {
                self.observe_top(self.signature.results.len())?;
                self.die()
            }
            Operator::Call(function) => self.call(self.layout.function(function)?),
            Operator::CallIndirect(signature) => {
                self.pop()?;
                self.call(self.layout.signature(signature)?)
            }
            Operator::Drop => self.pop().map(drop),
            Operator::Select => self.select(at),
            Operator::LocalGet(local) => self.get(at, local),
            Operator::LocalSet(local) => self.set(local).map(drop),
            Operator::LocalTee(local) => {
                let kept = self.set(local)?;
                self.push(kept)
            }
            Operator::GlobalGet(global) => {
                let value = self.layout.global(global)?;
                self.push(moved(value))
            }
            Operator::GlobalSet(_) => self.observe_top(1).and_then(|()| self.pop().map(drop)),
            _ => self.compute(at, operator),
        }
    }

    /// Operators that take and leave values, and nothing else.
    fn compute(&mut self, at: usize, operator: Operator) -> Result<(), Unknown> {
        match operator {
            Operator::Constant(Value::Plain, _) => self.push(Kind::Plain),
            Operator::Constant(_, is_strange) => self.push(if is_strange { Kind::Moved } else { Kind::Fixed }),
            Operator::Convert => self.exchange(1, Kind::Fixed),
            Operator::Bring(taken) => self.exchange(taken, Kind::Moved),
            Operator::Compute(value, taken) => {
                self.has_arithmetic = true;
                self.exchange(taken, Kind::Computed(at, value))
            }
            // Clearing the sign of a NaN and making it canonical can be done in either order.
            Operator::Absolute(value) => match self.pop()? {
                Kind::Computed(..) => self.push(Kind::Computed(at, value)),
                other => self.push(other),
            },
            Operator::Sign(taken) => {
                self.observe_top(taken.into())?;
                self.exchange(taken, Kind::Moved)
            }
            Operator::Observe(taken, left) => {
                self.observe_top(1)?;
                self.plain(taken, left)
            }
            Operator::Plain(taken, left) => self.plain(taken, left),
            Operator::Grow => self.plain(1, 1),
            Operator::Bulk => self.plain(3, 0),
            _ => Err(Unknown),
        }
    }

    fn push(&mut self, kind: Kind) -> Result<(), Unknown> {
        self.stack.push(kind);
        Ok(())
    }

    fn pop(&mut self) -> Result<Kind, Unknown> {
        let frame = self.frames.last().ok_or(Unknown)?;
        if self.stack.len() > frame.height {
            return self.stack.pop().ok_or(Unknown);
        }
        // Code that is never reached finds whatever it wants.
        if frame.is_dead { Ok(Kind::Plain) } else { Err(Unknown) }
    }

    fn exchange(&mut self, taken: u8, left: Kind) -> Result<(), Unknown> {
        for _ in 0..taken {
            self.pop()?;
        }
        self.push(left)
    }

    fn plain(&mut self, taken: u8, left: u8) -> Result<(), Unknown> {
        for _ in 0..taken {
            self.pop()?;
        }
        for _ in 0..left {
            self.push(Kind::Plain)?;
        }
        Ok(())
    }

    /// Something looks at the bits of the values on top, or may: those that were computed are checked where they were.
    fn observe_top(&mut self, count: usize) -> Result<(), Unknown> {
        let height = self.frames.last().ok_or(Unknown)?.height;
        let start = self.stack.len().saturating_sub(count).max(height);
        for kind in &mut self.stack[start..] {
            if let Kind::Computed(at, value) = *kind {
                self.checks.insert(at, value);
                *kind = Kind::Fixed;
            }
        }
        Ok(())
    }

    /// The code behind this is never reached.
    fn die(&mut self) -> Result<(), Unknown> {
        let frame = self.frames.last_mut().ok_or(Unknown)?;
        frame.is_dead = true;
        self.stack.truncate(frame.height);
        Ok(())
    }

    /// What a block takes, and what it leaves.
    fn types(&self, shape: Shape) -> Result<(&'a [Value], &'a [Value]), Unknown> {
        Ok(match shape {
            Shape::Nothing => (&[], &[]),
            Shape::One(Value::Plain) => (&[], &[Value::Plain]),
            Shape::One(Value::F32) => (&[], &[Value::F32]),
            Shape::One(Value::F64) => (&[], &[Value::F64]),
            Shape::Signature(number) => {
                let Signature { parameters, results } = self.layout.signature(number)?;
                (parameters, results)
            }
        })
    }

    fn enter(&mut self, shape: Shape, is_loop: bool) -> Result<(), Unknown> {
        let (parameters, _) = self.types(shape)?;
        self.observe_top(parameters.len())?;
        for _ in parameters {
            self.pop()?;
        }
        self.frames.push(Frame { height: self.stack.len(), is_loop, shape, is_dead: false });
        self.stack.extend(parameters.iter().copied().map(moved));
        Ok(())
    }

    /// From the first to the second branch of an `if`.
    fn turn(&mut self) -> Result<(), Unknown> {
        let shape = self.frames.last().ok_or(Unknown)?.shape;
        let (parameters, results) = self.types(shape)?;
        self.observe_top(results.len())?;
        let frame = self.frames.last_mut().ok_or(Unknown)?;
        frame.is_dead = false;
        self.stack.truncate(frame.height);
        self.stack.extend(parameters.iter().copied().map(moved));
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Unknown> {
        if self.frames.len() == 1 {
            self.observe_top(self.signature.results.len())?;
            self.frames.clear();
            return Ok(());
        }
        let shape = self.frames.last().ok_or(Unknown)?.shape;
        let (_, results) = self.types(shape)?;
        self.observe_top(results.len())?;
        let frame = self.frames.pop().ok_or(Unknown)?;
        self.stack.truncate(frame.height);
        self.stack.extend(results.iter().copied().map(moved));
        Ok(())
    }

    /// A branch carries the values on top to where they meet others.
    fn observe_label(&mut self, label: u32) -> Result<(), Unknown> {
        let index = self.frames.len().checked_sub(label as usize + 1).ok_or(Unknown)?;
        let count = if index == 0 {
            self.signature.results.len()
        } else {
            let frame = &self.frames[index];
            let (parameters, results) = self.types(frame.shape)?;
            if frame.is_loop { parameters.len() } else { results.len() }
        };
        self.observe_top(count)
    }

    fn call(&mut self, signature: &Signature) -> Result<(), Unknown> {
        self.observe_top(signature.parameters.len())?;
        for _ in &signature.parameters {
            self.pop()?;
        }
        self.stack.extend(signature.results.iter().copied().map(moved));
        Ok(())
    }

    /// One of two values. Where one is moved the other must be checked, for nobody can tell later which it was.
    fn select(&mut self, at: usize) -> Result<(), Unknown> {
        self.pop()?;
        let (second, first) = (self.pop()?, self.pop()?);
        let chosen = match (first, second) {
            (Kind::Computed(_, value), Kind::Computed(..) | Kind::Fixed) | (Kind::Fixed, Kind::Computed(_, value)) => {
                Kind::Computed(at, value)
            }
            (Kind::Computed(place, value), _) | (_, Kind::Computed(place, value)) => {
                self.checks.insert(place, value);
                Kind::Moved
            }
            (Kind::Fixed, Kind::Fixed) => Kind::Fixed,
            (Kind::Moved, _) | (_, Kind::Moved) => Kind::Moved,
            (Kind::Plain, other) | (other, Kind::Plain) => other,
        };
        self.push(chosen)
    }

    fn is_moved(&self, local: u32) -> bool {
        self.all_moved || self.locals.is_parameter(local) || self.known.contains(&local)
    }

    fn get(&mut self, at: usize, local: u32) -> Result<(), Unknown> {
        let kind = match self.locals.value(local)? {
            Value::Plain => Kind::Plain,
            _ if self.is_moved(local) => Kind::Moved,
            value => Kind::Computed(at, value),
        };
        self.push(kind)
    }

    /// Takes a value into a local, and returns what it is from then on.
    fn set(&mut self, local: u32) -> Result<Kind, Unknown> {
        let is_float = self.locals.value(local)? != Value::Plain;
        if is_float && self.is_moved(local) {
            self.observe_top(1)?;
        }
        let kind = self.pop()?;
        if is_float && kind == Kind::Moved && !self.is_moved(local) {
            self.moved.insert(local);
        }
        Ok(kind)
    }
}

const fn moved(value: Value) -> Kind {
    match value {
        Value::Plain => Kind::Plain,
        Value::F32 | Value::F64 => Kind::Moved,
    }
}
