//! The loops that are worth more than one copy of their body.
//!
//! At the head of a loop wasmtime looks whether there is fuel and time left, which is a call in the rare case. A call
//! leaves nothing in a floating-point register and little in others, so what a small loop needs in each round is fetched
//! from the stack in each round: half as much again as the loop itself took. Several copies of the body behind one head
//! share that. A branch to the head goes from each copy to the next, and from the last one to the head.

use super::super::Unknown;
use super::super::reader::Reader;
use super::operator::{Operator, Shape};
use super::{Locals, Value};
use std::collections::{BTreeMap, HashSet};

/// How many copies there are of a body.
const COPIES: usize = 8;
/// The same where many floats are at work: they do not fit into registers over so many copies.
const COPIES_OF_FLOATS: usize = 4;
/// So many locals of floats are many.
const MANY_FLOATS: usize = 5;
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
    pub(super) copies: usize,
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

/// Finds the innermost loops of a body that are short, leave at most one value, and call nothing. What their copies add
/// is taken from what is `left` for the module.
pub(super) fn find(mut reader: Reader<'_>, locals: &Locals, left: &mut usize) -> Result<Loops, Unknown> {
    let (mut found, mut open, mut count, mut added) = (Loops::new(), Vec::<Open>::new(), 0, 0);
    // Those of the loop that was entered last.
    let mut floats = HashSet::new();
    // So many of the open blocks, from the outermost, hold what must not be copied.
    let mut barred = 0;
    let most_added = if locals.count() > MOST_LOCALS { 0 } else { MOST_ADDED.min(*left) };
    while !reader.is_at_end() {
        let at = reader.at();
        let operator = Operator::read(&mut reader)?;
        count += 1;
        match operator {
            Operator::Block(_) | Operator::If(_) | Operator::Loop(_) => {
                let is_loop = matches!(operator, Operator::Loop(_));
                if is_loop {
                    barred = open.len();
                    floats.clear();
                }
                let is_candidate = matches!(operator, Operator::Loop(Shape::Nothing | Shape::One(_)));
                open.push(Open { at, body: reader.at(), is_candidate, before: count });
            }
            // What is called has a head of its own, and a table of labels would have to be changed.
            Operator::Call(_) | Operator::CallIndirect(_) | Operator::BranchTable(_) => {
                barred = open.len();
            }
            Operator::LocalGet(local) | Operator::LocalSet(local) | Operator::LocalTee(local)
                if locals.value(local)? != Value::Plain =>
            {
                floats.insert(local);
            }
            Operator::End => {
                let Some(block) = open.pop() else { continue };
                let operators = count - block.before;
                let copies = if floats.len() < MANY_FLOATS { COPIES } else { COPIES_OF_FLOATS };
                let more = operators * (copies - 1);
                let is_free = open.len() >= barred;
                barred = barred.min(open.len());
                if block.is_candidate && is_free && operators <= MOST_OPERATORS && added + more <= most_added {
                    added += more;
                    found.insert(block.at, Loop { body: block.body, end: at, copies });
                }
            }
            _ => {}
        }
    }
    *left -= added;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many copies each loop of a body gets.
    fn copies(text: &str) -> Vec<usize> {
        let module = format!(
            r#"(module (type $t (func (param i32) (result i32))) (func $f) (func {} {text}))"#,
            "(local $i i32) (local $a f64) (local $b f64) (local $c f64) (local $d f64) (local $e f32)"
        );
        let module = wat::parse_str(module).unwrap();
        let layout = super::super::super::Layout::read(&module).unwrap();
        let mut reader = Reader::new(layout.bodies[1].bytes);
        let locals = Locals::read(&[], &mut reader).unwrap();
        find(reader, &locals, &mut { usize::MAX }).unwrap().values().map(|found| found.copies).collect()
    }

    #[test]
    fn short_innermost_loops_are_copied() {
        assert_eq!(copies("(loop (br_if 0 (local.get $i)))"), [8]);
        assert_eq!(
            copies("(loop (loop (br_if 1 (local.get $i)) (br_if 0 (local.get $i))) (br_if 0 (local.get $i)))"),
            [8]
        );
        assert_eq!(copies("(loop (block (loop (nop)) (loop (if (local.get $i) (then (nop))))) (br 0))"), [8, 8]);
        let floats = "(local.set $a (f64.add (f64.add (local.get $b) (local.get $c)) (local.get $d)))";
        assert_eq!(copies(&format!("(loop {floats} (br 0))")), [8]);
        assert_eq!(copies(&format!("(loop {floats} (local.set $e (f32.const 1)) (br 0)) (loop (br 0))")), [4, 8]);
    }

    #[test]
    fn others_are_not() {
        let long = "(local.set $i (i32.add (local.get $i) (i32.const 1)))";
        for text in [
            "(loop (call $f) (br 0))",
            "(loop (block (block (call $f))) (br 0))",
            "(loop (br_table 0 0 (local.get $i)))",
            "(local.get $i) (loop (type $t)) (drop)",
            &format!("(loop {} (br 0))", long.repeat(40)),
        ] {
            assert_eq!(copies(text), [0; 0], "{text}");
        }
        let many = "(loop (br_if 0 (local.get $i)))".repeat(1_000);
        assert!(copies(&many).len() < 300);
    }
}
