//! Places faults by the compiler's syntax tree.

use serde_json::Value;

/// One fault: some bytes of one source replaced by others.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Mutant {
    /// Relative to `contracts/src`.
    pub(super) file: String,
    /// The function it is in; empty for a constant of the contract.
    pub(super) function: String,
    pub(super) line: usize,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) original: String,
    pub(super) replacement: String,
}

impl Mutant {
    /// What is written instead of what, on one line.
    pub(super) fn change(&self) -> String {
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let replacement = one_line(&self.replacement);
        let replacement = if replacement.is_empty() || replacement == "{}" { "nothing".into() } else { replacement };
        format!("{} → {replacement}", one_line(&self.original))
    }

    pub(super) fn describe(&self) -> String {
        format!("{}:{} {}: {}", self.file, self.line, self.function, self.change())
    }

    pub(super) fn apply(&self, source: &str) -> String {
        format!("{}{}{}", &source[..self.start], self.replacement, &source[self.end..])
    }
}

/// Every fault of a source, in the order of the text.
pub(super) fn place(file: &str, source: &str, syntax: &Value) -> Vec<Mutant> {
    let mut placing = Placing { file, source, function: String::new(), mutants: Vec::new() };
    placing.visit(syntax);
    let mut mutants = placing.mutants;
    mutants.sort_by(|a, b| (a.start, a.end, &a.replacement).cmp(&(b.start, b.end, &b.replacement)));
    mutants.dedup();
    mutants
}

struct Placing<'a> {
    file: &'a str,
    source: &'a str,
    function: String,
    mutants: Vec<Mutant>,
}

impl Placing<'_> {
    fn visit(&mut self, node: &Value) {
        match node {
            Value::Array(nodes) => nodes.iter().for_each(|node| self.visit(node)),
            Value::Object(_) if node["nodeType"].is_string() => self.node(node),
            _ => {}
        }
    }

    fn node(&mut self, node: &Value) {
        let kind = node["nodeType"].as_str().unwrap_or_default();
        let outer = self.function.clone();
        if kind == "FunctionDefinition" {
            let name =
                [&node["name"], &node["kind"]].into_iter().filter_map(Value::as_str).find(|name| !name.is_empty());
            self.function = name.unwrap_or_default().to_owned();
        }
        self.faults(kind, node);
        for (key, child) in node.as_object().into_iter().flatten() {
            // Types, comments and how a loop advances, without which it never ends.
            let skipped =
                matches!(key.as_str(), "typeName" | "documentation" | "loopExpression" | "post" | "overrides");
            if !skipped {
                self.visit(child);
            }
        }
        self.function = outer;
    }

    fn faults(&mut self, kind: &str, node: &Value) {
        match kind {
            "BinaryOperation" => self.operation(node, &node["leftExpression"], &node["rightExpression"]),
            "Assignment" => self.assignment(node),
            "UnaryOperation" if node["operator"] == "!" => self.replace(node, self.text(&node["subExpression"])),
            "Literal" if node["kind"] == "number" => self.replace(node, format!("({} + 1)", self.text(node))),
            "Literal" if node["kind"] == "bool" => self.replace(node, (node["value"] != "true").to_string()),
            "IfStatement" | "YulIf" => self.condition(kind, &node["condition"]),
            "Conditional" => {
                self.replace(node, self.text(&node["trueExpression"]));
                self.replace(node, self.text(&node["falseExpression"]));
            }
            "ExpressionStatement" | "EmitStatement" => self.remove_statement(node),
            "ModifierInvocation" if node["kind"] == "modifierInvocation" => self.replace(node, String::new()),
            "YulExpressionStatement" | "YulAssignment" => self.replace(node, "{}".into()),
            "YulLiteral" if node["kind"] == "number" => self.replace(node, format!("add({}, 1)", self.text(node))),
            "YulFunctionCall" => self.builtin(node),
            _ => {}
        }
    }

    /// Another operator between the same operands; of a logical operation also one operand alone.
    fn operation(&mut self, node: &Value, left: &Value, right: &Value) {
        let (Some((_, at)), Some((end, _))) = (range(left), range(right)) else { return };
        let operator = node["operator"].as_str().unwrap_or_default();
        let Some(offset) = self.source.get(at..end).and_then(|between| between.find(operator)) else { return };
        let others: &[&str] = match operator {
            "<" => &["<=", ">="],
            "<=" => &["<", ">"],
            ">" => &[">=", "<="],
            ">=" => &[">", "<"],
            "==" => &["!="],
            "!=" => &["=="],
            "+" => &["-"],
            "-" => &["+"],
            "*" => &["/"],
            "/" | "%" => &["*"],
            "<<" => &[">>"],
            ">>" => &["<<"],
            "&" => &["|"],
            "|" => &["&"],
            "&&" => &["||"],
            "||" => &["&&"],
            _ => &[],
        };
        for other in others {
            self.push(at + offset, at + offset + operator.len(), (*other).to_owned());
        }
        if matches!(operator, "&&" | "||") {
            self.replace(node, self.text(left));
            self.replace(node, self.text(right));
        }
    }

    /// A compound assignment that does something else. Plain ones are removed with their statement.
    fn assignment(&mut self, node: &Value) {
        let other = match node["operator"].as_str() {
            Some("+=") => "-=",
            Some("-=") => "+=",
            Some("|=") => "&=",
            _ => return,
        };
        let (left, right) = (self.text(&node["leftHandSide"]), self.text(&node["rightHandSide"]));
        self.replace(node, format!("{left} {other} {right}"));
        self.replace(node, format!("{left} = {right}"));
    }

    fn condition(&mut self, kind: &str, condition: &Value) {
        let constants = if kind == "YulIf" { ["1", "0"] } else { ["true", "false"] };
        constants.into_iter().for_each(|constant| self.replace(condition, constant.into()));
    }

    /// The tree leaves the semicolon out.
    fn remove_statement(&mut self, node: &Value) {
        let Some((start, end)) = range(node) else { return };
        if let Some(semicolon) = self.source.get(end..).and_then(|rest| rest.find(';')) {
            self.push(start, end + semicolon + 1, "{}".into());
        }
    }

    /// Assembly's operators are functions.
    fn builtin(&mut self, node: &Value) {
        let name = node["functionName"]["name"].as_str().unwrap_or_default();
        let other = match name {
            "add" => "sub",
            "sub" => "add",
            "mul" => "div",
            "div" => "mul",
            "and" => "or",
            "or" => "and",
            "shl" => "shr",
            "shr" => "shl",
            "gt" => "lt",
            "lt" => "gt",
            "iszero" => return self.replace(node, self.text(&node["arguments"][0])),
            "eq" => return self.replace(node, format!("iszero({})", self.text(node))),
            _ => return,
        };
        self.replace(&node["functionName"], other.into());
        if matches!(name, "gt" | "lt") {
            // The same comparison with or without equality.
            let arguments = format!("({}, {})", self.text(&node["arguments"][0]), self.text(&node["arguments"][1]));
            self.replace(node, format!("iszero({other}{arguments})"));
        }
    }

    fn replace(&mut self, node: &Value, replacement: String) {
        if let Some((start, end)) = range(node) {
            self.push(start, end, replacement);
        }
    }

    fn push(&mut self, start: usize, end: usize, replacement: String) {
        let Some(original) = self.source.get(start..end) else { return };
        let line = self.source[..start].matches('\n').count() + 1;
        let (file, function) = (self.file.to_owned(), self.function.clone());
        self.mutants.push(Mutant { file, function, line, start, end, original: original.to_owned(), replacement });
    }

    fn text(&self, node: &Value) -> String {
        range(node).and_then(|(start, end)| self.source.get(start..end)).unwrap_or_default().to_owned()
    }
}

/// First byte of a node, and the first behind it.
fn range(node: &Value) -> Option<(usize, usize)> {
    let mut fields = node["src"].as_str()?.split(':');
    let (start, length): (usize, usize) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((start, start + length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn src(source: &str, part: &str) -> String {
        format!("{}:{}:0", source.find(part).unwrap(), part.len())
    }

    fn changes(mutants: &[Mutant]) -> Vec<String> {
        mutants.iter().map(Mutant::change).collect()
    }

    #[test]
    fn a_condition_is_weakened_turned_and_fixed() {
        let source = "if (a < b) revert No();";
        let operation = json!({
            "nodeType": "BinaryOperation", "operator": "<", "src": src(source, "a < b"),
            "leftExpression": { "src": src(source, "a") }, "rightExpression": { "src": src(source, "b)").replace(":2:", ":1:") },
        });
        let node = json!({ "nodeType": "IfStatement", "src": src(source, source), "condition": operation });
        let mutants = place("A.sol", source, &node);
        assert_eq!(changes(&mutants), ["a < b → false", "a < b → true", "< → <=", "< → >="]);
        assert_eq!(mutants[2].apply(source), "if (a <= b) revert No();");
    }

    #[test]
    fn a_statement_is_removed_with_its_semicolon() {
        let source = "if (c) paid = 1; rest();";
        let node = json!({ "nodeType": "ExpressionStatement", "src": src(source, "paid = 1") });
        assert_eq!(place("A.sol", source, &node)[0].apply(source), "if (c) {} rest();");
    }

    #[test]
    fn assembly_has_faults_too() {
        let source = "gt(a, b)";
        let argument = |part| json!({ "src": src(source, part) });
        let node = json!({
            "nodeType": "YulFunctionCall", "src": src(source, source),
            "functionName": { "name": "gt", "src": src(source, "gt") }, "arguments": [argument("a"), argument("b")],
        });
        let mutants = place("A.sol", source, &node);
        assert_eq!(changes(&mutants), ["gt → lt", "gt(a, b) → iszero(lt(a, b))"]);
    }

    #[test]
    fn a_fault_knows_its_function_and_line() {
        let source = "contract A {\n  function f() { x += 1; }\n}";
        let assignment = json!({
            "nodeType": "Assignment", "operator": "+=", "src": src(source, "x += 1"),
            "leftHandSide": { "src": src(source, "x +").replace(":3:", ":1:") }, "rightHandSide": { "src": src(source, "1") },
        });
        let node = json!({ "nodeType": "FunctionDefinition", "name": "f", "src": "15:24:0", "body": assignment });
        let mutants = place("A.sol", source, &node);
        assert_eq!(changes(&mutants), ["x += 1 → x -= 1", "x += 1 → x = 1"]);
        assert!(mutants.iter().all(|mutant| mutant.function == "f" && mutant.line == 2));
    }
}
