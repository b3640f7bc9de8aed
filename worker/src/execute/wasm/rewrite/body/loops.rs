//! The loops that are worth more than one copy of their body.
//!
//! At the head of a loop wasmtime looks whether there is fuel and time left, which is a call in the rare case. A call
//! leaves nothing in a floating-point register and little in others, so what a small loop needs in each round is fetched
//! from the stack in each round: half as much again as the loop itself took. Several copies of the body behind one head
//! share that. A branch to the head goes from each copy to the next, and from the last one to the head.

use super::super::Unknown;
use super::super::reader::Reader;
use super::operator::{Operator, Shape};
use std::collections::BTreeMap;

/// How many copies there are of a body.
pub(super) const COPIES: usize = 4;
/// The longest body that is copied, in operators: in a longer one the head counts for little.
const MOST_OPERATORS: usize = 160;
/// How many operators copies may add to a function, so that it takes not much longer to compile.
const MOST_ADDED: usize = 4_096;
/// The most locals that a function with copies may have. The compiler has them meet at the end of every copy.
const MOST_LOCALS: u32 = 512;

/// A loop whose body is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Loop {
    /// Where its body begins.
    pub(super) body: usize,
    /// Where the `end` behind its body is.
    pub(super) end: usize,
}

/// Loops by where they begin.
pub(super) type Loops = BTreeMap<usize, Loop>;

/// A block that is not yet at its end.
struct Open {
    at: usize,
    body: usize,
    /// Whether it may be copied, should it be short enough.
    is_candidate: bool,
    /// How many operators came before its body.
    before: usize,
}

/// Finds the innermost loops of a body that are short, leave at most one value, and call nothing.
pub(super) fn find(mut reader: Reader<'_>, locals: u32) -> Result<Loops, Unknown> {
    let (mut found, mut open, mut count, mut added) = (Loops::new(), Vec::<Open>::new(), 0, 0);
    if locals > MOST_LOCALS {
        return Ok(found);
    }
    while !reader.is_at_end() {
        let at = reader.at();
        let operator = Operator::read(&mut reader)?;
        count += 1;
        match operator {
            Operator::Block(_) | Operator::If(_) | Operator::Loop(_) => {
                let is_loop = matches!(operator, Operator::Loop(_));
                if is_loop {
                    open.iter_mut().for_each(|outer| outer.is_candidate = false);
                }
                let is_candidate = matches!(operator, Operator::Loop(Shape::Nothing | Shape::One(_)));
                open.push(Open { at, body: reader.at(), is_candidate, before: count });
            }
            // What is called has a head of its own, and a table of labels would have to be changed.
            Operator::Call(_) | Operator::CallIndirect(_) | Operator::BranchTable(_) => {
                open.iter_mut().for_each(|outer| outer.is_candidate = false);
            }
            Operator::End => {
                let Some(block) = open.pop() else { continue };
                let operators = count - block.before;
                let more = operators * (COPIES - 1);
                if block.is_candidate && operators <= MOST_OPERATORS && added + more <= MOST_ADDED {
                    added += more;
                    found.insert(block.at, Loop { body: block.body, end: at });
                }
            }
            _ => {}
        }
    }
    Ok(found)
}
