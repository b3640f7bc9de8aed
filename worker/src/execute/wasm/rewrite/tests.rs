//! Rewritten modules against wasmtime's own pass: the same memory, the same fuel, the same end.

use super::super::engines::Engines;
use super::rewrite;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::fmt::Write;
use wasmtime::{Engine, Instance, Module, Store};

/// Fuel of one run: some random programs loop for ever.
const FUEL: u64 = 20_000;

fn engines() -> (Engine, Engine) {
    let Engines { rewritten, canonical } = Engines::new().unwrap();
    (canonical, rewritten)
}

/// How a run ended, the fuel that was left, and the memory.
fn run(engine: &Engine, module: &[u8]) -> (String, u64, Vec<u8>) {
    let module = Module::from_binary(engine, module).unwrap_or_else(|error| panic!("{error:#}"));
    let mut store = Store::new(engine, ());
    store.set_fuel(FUEL).unwrap();
    store.set_epoch_deadline(1);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let run = instance.get_typed_func::<(), i32>(&mut store, "run").unwrap();
    let end = match run.call(&mut store, ()) {
        Ok(code) => code.to_string(),
        Err(error) => error.root_cause().to_string(),
    };
    let memory = instance.get_memory(&mut store, "memory").unwrap().data(&store).to_vec();
    (end, store.get_fuel().unwrap(), memory)
}

fn assert_same(text: &str, (own, rewriting): &(Engine, Engine)) {
    let module = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let rewritten = rewrite(&module).unwrap_or_else(|| panic!("not rewritten:\n{text}"));
    let (expected, found) = (run(own, &module), run(rewriting, &rewritten));
    if expected.1 == 0 {
        // Where exactly it is noticed that no fuel is left depends on the copies.
        assert_eq!(found.1, 0, "{text}");
        return;
    }
    assert_eq!((&expected.0, expected.1), (&found.0, found.1), "{text}");
    let differs = expected.2.iter().zip(&found.2).position(|(a, b)| a != b);
    assert_eq!(differs, None, "memory differs at {differs:?}:\n{text}");
}

fn body(text: &str) -> String {
    format!(
        r#"(module (memory (export "memory") 1)
            (data (i32.const 0) "\00\00\00\00\00\de\f8\7f\00\00\00\00\00\be\f0\ff\00\de\ca\7f\00\be\91\ff")
            (global $g (mut f64) (f64.const 0))
            (type $two (func (param f64) (result f64 f64)))
            (func $half (param f64) (result f64) (f64.mul (local.get 0) (f64.const 0.5)))
            (func $same (param f64) (result f64) (local.get 0))
            (func (export "run") (result i32) (local $a f64) (local $b f64) (local $c f32) (local $i i32) {text}
                (i32.const 0)))"#
    )
}

/// A NaN of the machine's own: its sign differs between machines, and on this one it is set.
const NAN: &str = "(f64.div (f64.const 0) (f64.const 0))";

#[test]
fn every_way_out_of_arithmetic_is_checked() {
    let engines = engines();
    for text in [
        format!("(f64.store (i32.const 64) {NAN})"),
        format!("(f32.store (i32.const 64) (f32.demote_f64 {NAN}))"),
        format!("(i64.store (i32.const 64) (i64.reinterpret_f64 {NAN}))"),
        format!("(f64.store (i32.const 64) (f64.neg {NAN}))"),
        format!("(f64.store (i32.const 64) (f64.abs {NAN}))"),
        format!("(f64.store (i32.const 64) (f64.copysign (f64.const 1) {NAN}))"),
        "(f32.store (i32.const 64) (f32.sqrt (f32.const -1)))".into(),
        "(local.set $c (f32.min (f32.sqrt (f32.const -1)) (f32.const 1))) (f32.store (i32.const 64) (local.get $c))"
            .into(),
        "(i32.store (i32.const 64) (i32.reinterpret_f32 (f32.nearest (f32.sqrt (f32.const -1)))))".into(),
        "(f32.store (i32.const 64) (f32.copysign (f32.const 1) (f32.neg (f32.abs (f32.sqrt (f32.const -1))))))".into(),
        format!("(f64.store (i32.const 64) (f64.copysign {NAN} (f64.const -1)))"),
        format!("(global.set $g {NAN}) (f64.store (i32.const 64) (global.get $g))"),
        format!("(f64.store (i32.const 64) (call $half {NAN})) (f64.store (i32.const 72) (call $same {NAN}))"),
        format!("(local.set $a {NAN}) (f64.store (i32.const 64) (local.get $a))"),
        format!("(f64.store (i32.const 64) (local.tee $a {NAN})) (f64.store (i32.const 72) (local.get $a))"),
        format!("(local.set $a {NAN}) (local.set $b (local.get $a)) (f64.store (i32.const 64) (local.get $b))"),
        format!("(f64.store (i32.const 64) (select {NAN} (f64.const 1) (i32.const 1)))"),
        format!("(f64.store (i32.const 64) (select {NAN} (f64.load (i32.const 0)) (i32.const 1)))"),
        format!("(f64.store (i32.const 64) (select (f64.load (i32.const 0)) {NAN} (i32.const 0)))"),
        format!("(f64.store (i32.const 64) (block (result f64) (br 0 {NAN})))"),
        format!("(f64.store (i32.const 64) (block (result f64) (drop (br_if 0 {NAN} (i32.const 1))) (f64.const 1)))"),
        format!("(f64.store (i32.const 64) (block (result f64) (br_table 0 0 {NAN} (i32.const 1))))"),
        format!("(f64.store (i32.const 64) (if (result f64) (i32.const 1) (then {NAN}) (else (f64.const 1))))"),
        format!("{NAN} (loop (param f64) (i64.reinterpret_f64) (i64.store (i32.const 64) (i64.const 1)) (drop))"),
        format!(
            "{NAN} (if (param f64) (result f64) (i32.const 0) (then)) (local.set $b) (f64.store (i32.const 64) (local.get $b))"
        ),
        format!(
            "{NAN} (block (param f64) (result f64 f64) (local.tee $a) (local.get $a)) (drop) (drop) (f64.store (i32.const 64) (local.get $a))"
        ),
        format!(
            "(i32.store (i32.const 64) (f64.ne {NAN} {NAN})) (i32.store (i32.const 68) (f64.lt {NAN} (f64.const 1)))"
        ),
        format!("(i64.store (i32.const 64) (i64.trunc_sat_f64_s {NAN}))"),
        format!("(drop (i64.trunc_f64_s {NAN}))"),
        format!("(nop) (f64.store (i32.const 64) (f64.min {NAN} (f64.const 1))) (unreachable) (drop (f64.add))"),
    ] {
        assert_same(&body(&text), &engines);
    }
}

#[test]
fn what_is_only_moved_keeps_its_bits() {
    let (_, engine) = engines();
    let text = body(
        "(f64.store (i32.const 64) (f64.load (i32.const 0)))
         (local.set $a (f64.load (i32.const 8))) (f64.store (i32.const 72) (local.get $a))
         (f64.store (i32.const 80) (call $same (f64.load (i32.const 0))))
         (f64.store (i32.const 88) (select (f64.load (i32.const 0)) (f64.add (f64.const 1) (f64.const 1)) (i32.const 1)))
         (local.set $b (f64.load (i32.const 0)))
         (if (i32.const 0) (then (local.set $b (f64.add (local.get $b) (f64.const 1)))))
         (f64.store (i32.const 96) (local.get $b))
         (f64.store (i32.const 104) (f64.const nan:0x8dead))",
    );
    let rewritten = rewrite(&wat::parse_str(&text).unwrap()).unwrap();
    let (_, _, memory) = run(&engine, &rewritten);
    for (to, from) in [(64, 0), (72, 8), (80, 0), (88, 0), (96, 0)] {
        assert_eq!(memory[to..to + 8], memory[from..from + 8], "{to}");
    }
    assert_eq!(memory[104..112], 0x7ff0_0000_0008_dead_u64.to_le_bytes()[..], "a constant");
}

#[test]
fn every_way_through_a_loop_costs_the_same() {
    let engines = engines();
    let again = "(br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 13)))";
    let put = "(f64.store (i32.mul (local.get $i) (i32.const 8)) (local.get $a))";
    let at = |round: u32| format!("(i32.eq (local.get $i) (i32.const {round}))");
    let grow = "(local.set $a (f64.add (local.get $a) (f64.const 0.7)))";
    let mut texts = vec![
        format!("(loop $l {grow} {put} {again})"),
        format!("(drop (loop $l (result f64) {grow} {again} (local.get $a)))"),
        format!("(loop $l {grow} (if (i32.and (local.get $i) (i32.const 1)) (then {put}) (else (nop) (nop))) {again})"),
        format!("(loop $l (if (i32.and (local.get $i) (i32.const 2)) (then {grow})) {again} {put})"),
        format!("(loop $m (loop $l {grow} {again}) {put} (br_if $m (f64.lt (local.get $a) (f64.const 30))))"),
        format!("(loop $l {grow} (drop (call $half (local.get $a))) {again})"),
        format!("(loop $l {grow} (block $x (block $y (br_table $x $y (local.get $i))) {put}) {again})"),
        format!("(loop $l {again} (return (i32.const 3)))"),
        format!("(block $out (loop $l {again} (br $out)) (unreachable))"),
        format!("(loop $l {again} (br $l))"),
    ];
    for round in [0, 1, 2, 3, 4, 7, 8, 9, 12] {
        let now = at(round);
        texts.extend([
            format!("(block $out (loop $l {grow} (br_if $out {now}) {put} {again}) {grow})"),
            format!("(drop (block $out (result f64) (loop $l {grow} (drop (br_if $out (local.get $a) {now})) {again}) (f64.const 2)))"),
            format!("(drop (loop $l (result f64) {grow} (block $x (br_if $x {now}) {put}) {again} (local.get $a)))"),
            format!("(loop $l {grow} (block $x (br_if $x {now}) (block $y (br_if $y {now}) {again} (br $x))) {put})"),
            format!("(block $o (block $out (loop $l (if {now} (then {grow} (br $out)) (else (br_if $o (i32.const 0)))) {again}) {put}) {grow})"),
            format!("(loop $l {grow} (if {now} (then (return (i32.const 5)))) {again})"),
            format!("(loop $l {grow} (if {now} (then (unreachable))) {again} {put})"),
            format!("(loop $l {grow} (drop (i32.div_u (i32.const 1) (i32.ne (local.get $i) (i32.const {round})))) {again})"),
            format!("(loop $l {grow} (if {now} (then (drop (f64.load offset=4294967290 (local.get $i))))) {again})"),
            format!("(loop $l {grow} (if {now} (then (local.set $i (i32.const 11)) (br $l))) {put} {again})"),
        ]);
    }
    for text in texts {
        assert_same(&body(&text), &engines);
    }
}

#[test]
fn what_is_paid_on_two_ways_makes_no_body_much_longer() {
    let long = "(local.set $i (i32.add (local.get $i) (i32.const 1)))".repeat(200);
    let blocks = 3_000;
    for exit in ["(br_if 0 (local.get $i))", "(if (local.get $i) (then (nop)))"] {
        let text =
            body(&format!("(loop {long}) {} {long} {} {}", "(block ".repeat(20), exit.repeat(blocks), ")".repeat(20)));
        let module = wat::parse_str(&text).unwrap();
        let rewritten = rewrite(&module).unwrap();
        assert!(rewritten.len() < 6 * module.len() + (64 << 10), "{} bytes of {}", rewritten.len(), module.len());
        assert_same(&text, &engines());
    }
}

#[test]
fn a_module_of_many_functions_does_not_grow_as_one_function_may() {
    let most = |module: &[u8]| 6 * module.len() + (4 << 20);
    let of = |body: &str, count: usize| {
        let function = format!("(func (result i32) (local $i i32) {body} (i32.const 0))");
        wat::parse_str(format!("(module {})", function.repeat(count))).unwrap()
    };
    // In code that is never reached a branch needs no condition, and has but two bytes.
    let dense = format!("(block (loop (unreachable) {}))", "(br_if 1)".repeat(75)).repeat(3);
    assert!(rewrite(&of(&dense, 1)).is_some_and(|rewritten| rewritten.len() > 30_000), "a single one may");
    let many = of(&dense, 600);
    let length = rewrite(&many).map_or(0, |rewritten| rewritten.len());
    assert!(length <= most(&many), "{length} bytes of {}", many.len());
    // What is copied is bounded even where the bytes are not many.
    let step = "(local.set $i (i32.add (local.get $i) (i32.const 1)))".repeat(8);
    let ordinary = format!("(loop {step} (br_if 0 (local.get $i)))").repeat(16);
    let (one, many) = (of(&ordinary, 1), of(&ordinary, 300));
    let [one, many] = [one, many].map(|module| rewrite(&module).unwrap().len() as f64 / module.len() as f64);
    assert!(many < one / 2.0, "{one} times as long, {many} times as long");
}

#[test]
fn what_is_not_known_is_left_alone() {
    for text in [
        "(module (func (drop (i32.add (i32.const 1) (i32.const 2)))))",
        "(module (func (drop (f64x2.add (v128.const f64x2 0 0) (v128.const f64x2 0 0)))))",
        "(module (func (param externref)) (func (drop (f64.add (f64.const 1) (f64.const 2)))))",
        r#"(module (type $t (func (result f64))) (import "" "" (table 1 1 (ref null $t))) (func (drop (f64.sqrt (f64.const 1)))))"#,
    ] {
        assert_eq!(rewrite(&wat::parse_str(text).unwrap()), None, "{text}");
    }
    for bytes in [&b""[..], b"\0asm\x01\0\0\0", b"\0asm\x02\0\0\0", b"\0asm\x01\0\0\0\x0a\xff\xff\xff\xff\x0f"] {
        assert_eq!(rewrite(bytes), None);
    }
}

#[test]
fn a_sum_in_a_loop_needs_one_check() {
    let text = body(
        "(loop $l
            (local.set $a (f64.add (local.get $a) (f64.mul (local.get $b) (f64.const 0.5))))
            (local.set $b (f64.sub (f64.const 1) (local.get $b)))
            (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 9))))
         (f64.store (i32.const 64) (local.get $a))",
    );
    let module = wat::parse_str(&text).unwrap();
    let rewritten = rewrite(&module).unwrap();
    let canonical = 0x7ff8_0000_0000_0000_u64.to_le_bytes();
    let count = rewritten.windows(8).filter(|bytes| *bytes == canonical).count();
    // One before the store, and one for what `$half` returns.
    assert_eq!(count, 2);
    assert_same(&text, &engines());
}

/// Random programs: expressions over locals, memory with NaNs of all kinds in it, calls, blocks, branches and loops.
struct Author {
    random: StdRng,
    text: String,
}

impl Author {
    fn float(&mut self, depth: u32) {
        let leaf = depth == 0;
        let choice = self.random.random_range(if leaf { 0..5 } else { 0..22 });
        match choice {
            0 => write!(self.text, "(local.get {})", ["$a", "$b", "$c", "$d"][self.random.random_range(0..4)]).unwrap(),
            1 => write!(self.text, "(f64.load (i32.const {}))", 8 * self.random.random_range(0..16)).unwrap(),
            2 => {
                let constants = ["0", "-0", "1.5", "-2", "inf", "-inf", "nan", "nan:0x123", "-nan", "1e300"];
                let constant = constants[self.random.random_range(0..constants.len())];
                write!(self.text, "(f64.const {constant})").unwrap();
            }
            3 => self.text.push_str("(global.get $g)"),
            4 => self.text.push_str("(f64.convert_i32_s (local.get $i))"),
            5..=10 => {
                let name = ["add", "sub", "mul", "div", "min", "max", "copysign"][self.random.random_range(0..7)];
                self.call(&format!("f64.{name}"), 2, depth);
            }
            11..=13 => {
                let names = ["sqrt", "neg", "abs", "ceil", "floor", "trunc", "nearest"];
                let name = names[self.random.random_range(0..names.len())];
                self.call(&format!("f64.{name}"), 1, depth);
            }
            14 => {
                self.text.push_str("(f64.promote_f32 (f32.demote_f64 ");
                self.float(depth - 1);
                self.text.push_str("))");
            }
            15 => {
                self.text.push_str("(f64.reinterpret_i64 (i64.reinterpret_f64 ");
                self.float(depth - 1);
                self.text.push_str("))");
            }
            16 => {
                let name = ["call $half", "call $same"][self.random.random_range(0..2)];
                self.call(name, 1, depth);
            }
            17 => {
                self.text.push_str("(select ");
                self.float(depth - 1);
                self.float(depth - 1);
                self.condition(depth - 1);
                self.text.push(')');
            }
            18 => {
                self.text.push_str("(if (result f64) ");
                self.condition(depth - 1);
                self.text.push_str("(then ");
                self.float(depth - 1);
                self.text.push_str(") (else ");
                self.float(depth - 1);
                self.text.push_str("))");
            }
            19 => {
                self.text.push_str("(block (result f64) (br_if 0 ");
                self.float(depth - 1);
                self.condition(depth - 1);
                self.text.push_str(") (drop) ");
                self.float(depth - 1);
                self.text.push(')');
            }
            20 => {
                let local = ["$a", "$b", "$c"][self.random.random_range(0..3)];
                self.call(&format!("local.tee {local}"), 1, depth);
            }
            _ => {
                self.text.push_str("(block (result f64) ");
                self.statement(depth - 1);
                self.float(depth - 1);
                self.text.push(')');
            }
        }
    }

    fn call(&mut self, name: &str, operands: u32, depth: u32) {
        write!(self.text, "({name} ").unwrap();
        (0..operands).for_each(|_| self.float(depth - 1));
        self.text.push(')');
    }

    fn condition(&mut self, depth: u32) {
        let name = ["lt", "eq", "ne", "ge"][self.random.random_range(0..4)];
        write!(self.text, "(f64.{name} ").unwrap();
        self.float(depth.saturating_sub(1));
        self.float(depth.saturating_sub(1));
        self.text.push(')');
    }

    fn statement(&mut self, depth: u32) {
        match self.random.random_range(if depth == 0 { 0..3 } else { 0..7 }) {
            0 => {
                let local = ["$a", "$b", "$c"][self.random.random_range(0..3)];
                write!(self.text, "(local.set {local} ").unwrap();
            }
            1 => self.text.push_str("(global.set $g "),
            2 => write!(self.text, "(f64.store (i32.const {}) ", 8 * self.random.random_range(0..32)).unwrap(),
            3 => self.text.push_str("(drop "),
            4 => {
                self.text.push_str("(if ");
                self.condition(depth - 1);
                self.text.push_str("(then ");
                self.statement(depth - 1);
                self.text.push_str("))");
                return;
            }
            5 => {
                self.text.push_str("(loop ");
                self.statement(depth - 1);
                self.text.push_str("(br_if 0 ");
                self.condition(depth - 1);
                self.text.push_str("))");
                return;
            }
            _ => {
                self.statement(depth - 1);
                self.statement(depth - 1);
                return;
            }
        }
        self.float(depth);
        self.text.push(')');
    }

    fn program(seed: u64) -> String {
        let mut author = Self { random: StdRng::seed_from_u64(seed), text: String::new() };
        for _ in 0..4 {
            author.statement(4);
        }
        let half = author.random.random_bool(0.5);
        let parameter = if half { "(f64.mul (local.get 0) (f64.const 0.5))" } else { "(f64.neg (local.get 0))" };
        format!(
            r#"(module (memory (export "memory") 1)
                (data (i32.const 0) "\00\00\00\00\00\de\f8\7f\00\00\00\00\00\be\f0\ff\01\02\03\04\05\06\07\08")
                (global $g (mut f64) (f64.const 3))
                (func $half (param f64) (result f64) {parameter})
                (func $same (param f64) (result f64) (local.get 0))
                (func (export "run") (result i32) (local $a f64) (local $b f64) (local $c f64) (local $d f64) (local $i i32)
                    {}
                    (f64.store (i32.const 512) (f64.div (local.get $a) (local.get $b)))
                    (f64.store (i32.const 520) (local.get $c))
                    (i32.const 0)))"#,
            author.text
        )
    }
}

#[test]
fn random_programs_run_alike() {
    let engines = engines();
    for seed in 0..400 {
        assert_same(&Author::program(seed), &engines);
    }
}
