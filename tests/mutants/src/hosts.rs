//! Where in a file each mutant is put: the node whose text it changes.

use crate::list::Mutant;
use proc_macro2::{LineColumn, Span};
use std::collections::HashMap;
use std::ops::Range;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr};

/// How a mutant is put into the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// An expression that is evaluated as it stands or as one of its mutants.
    Expr(usize, usize),
    /// The start of a body: a mutant returns before it.
    Body(usize),
    /// The end of a pattern: a mutant does not match it.
    Pattern(usize),
}

/// What becomes of a mutant before anything is built.
pub enum Place {
    In(Host),
    /// It is no Rust.
    NotRust,
    /// It has to be built alone.
    Alone,
}

/// Byte offsets of lines; a column counts characters.
pub struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a str) -> Lines<'a> {
        let ends = text.bytes().enumerate().filter(|&(_, b)| b == b'\n').map(|(i, _)| i + 1);
        Lines { text, starts: std::iter::once(0).chain(ends).collect() }
    }

    /// Of a line that counts from one and a column that counts from zero.
    pub fn offset(&self, line: usize, column: usize) -> usize {
        let start = self.starts[line - 1];
        let behind = self.text[start..].char_indices().nth(column);
        behind.map_or(self.text.len(), |(i, _)| start + i)
    }

    fn at(&self, place: LineColumn) -> usize {
        self.offset(place.line, place.column)
    }

    fn range(&self, span: Span) -> Range<usize> {
        self.at(span.start())..self.at(span.end())
    }
}

struct Binary {
    range: Range<usize>,
    /// How tightly the operator binds.
    binds: u8,
    /// The binary expression that this is an operand of, without parentheses, and whether it is the left one.
    parent: Option<(usize, bool)>,
    has_let: bool,
}

enum Arm {
    /// Without it others match; its pattern ends here.
    Deletable(usize),
    /// Matches what no other does.
    Last,
    Unknown,
}

/// What a file has that mutants change, by the offset where their span starts.
pub struct Nodes<'a> {
    lines: &'a Lines<'a>,
    binaries: Vec<Binary>,
    operators: HashMap<usize, usize>,
    unaries: HashMap<usize, Range<usize>>,
    fields: HashMap<usize, Range<usize>>,
    guards: HashMap<usize, Range<usize>>,
    arms: HashMap<usize, Arm>,
    bodies: HashMap<usize, bool>,
    /// What is evaluated by the compiler.
    constants: Vec<Range<usize>>,
    /// Words `const` of functions, with the name and the range of each.
    pub const_fns: Vec<(Range<usize>, String, Range<usize>)>,
    /// Modules of tests.
    pub tests: Vec<Range<usize>>,
    parent: Option<(usize, bool)>,
}

impl<'a> Nodes<'a> {
    pub fn new(lines: &'a Lines<'a>, file: &syn::File) -> Nodes<'a> {
        let mut nodes = Nodes {
            lines,
            binaries: Vec::new(),
            operators: HashMap::new(),
            unaries: HashMap::new(),
            fields: HashMap::new(),
            guards: HashMap::new(),
            arms: HashMap::new(),
            bodies: HashMap::new(),
            constants: Vec::new(),
            const_fns: Vec::new(),
            tests: Vec::new(),
            parent: None,
        };
        nodes.visit_file(file);
        nodes
    }

    /// `kept_const`: functions that have to stay `const`.
    pub fn place(&self, mutant: &Mutant, kept_const: &[String]) -> Place {
        let start = mutant.range.start;
        let is_const = |r: &Range<usize>| r.contains(&start);
        // A body may begin with a constant.
        let is_body = mutant.genre == "FnValue";
        if self.constants.iter().any(|r| is_const(r) && !(is_body && r.start == start))
            || self.const_fns.iter().any(|(_, name, r)| kept_const.contains(name) && is_const(r))
        {
            return Place::Alone;
        }
        let expr = |r: &Range<usize>| Host::Expr(r.start, r.end);
        let host = match mutant.genre.as_str() {
            // What an opaque type stands for has to be one type.
            "FnValue" if self.bodies.get(&start) == Some(&false) => Some(Host::Body(start)),
            "BinaryOperator" => match self.operators.get(&start).map(|&i| self.climb(i, mutant)) {
                // No `let` stands beside `||`.
                Some(binary) if binary.has_let => return Place::NotRust,
                found => found.map(|binary| expr(&binary.range)),
            },
            "UnaryOperator" => self.unaries.get(&start).map(expr),
            "StructField" => self.fields.get(&start).map(expr),
            "MatchArmGuard" => self.guards.get(&start).map(expr),
            "MatchArm" => match self.arms.get(&start) {
                Some(Arm::Deletable(end)) => Some(Host::Pattern(*end)),
                Some(Arm::Last) => return Place::NotRust,
                _ => None,
            },
            _ => None,
        };
        let Some(host) = host else { return Place::Alone };
        let text = match &host {
            Host::Expr(start, end) => mutant.text(self.lines.text, *start..*end),
            Host::Body(_) => mutant.replacement.clone(),
            Host::Pattern(_) => return Place::In(host),
        };
        if syn::parse_str::<Expr>(&text).is_err() { Place::NotRust } else { Place::In(host) }
    }

    /// An operator that binds less tightly than the one it replaces takes operands of the expression around it.
    fn climb(&self, mut at: usize, mutant: &Mutant) -> &Binary {
        let new = syn::parse_str(&mutant.replacement).map_or(u8::MAX, |op| binds(&op));
        if new < self.binaries[at].binds {
            while let Some((parent, left)) = self.binaries[at].parent {
                let around = self.binaries[parent].binds;
                if around < new || around == new && left {
                    break;
                }
                at = parent;
            }
        }
        &self.binaries[at]
    }

    fn operand(&mut self, expr: &Expr, parent: Option<(usize, bool)>) {
        self.parent = matches!(expr, Expr::Binary(_)).then_some(parent).flatten();
        self.visit_expr(expr);
    }

    fn function(&mut self, sig: &syn::Signature, block: &syn::Block, range: Range<usize>) {
        if let Some(first) = block.stmts.first() {
            let opaque = quote_type(&sig.output).contains("impl ");
            self.bodies.insert(self.lines.at(first.span().start()), opaque);
        }
        if let Some(word) = &sig.constness {
            let word = self.lines.range(word.span);
            self.const_fns.push((word, sig.ident.to_string(), range));
        }
    }
}

fn quote_type(output: &syn::ReturnType) -> String {
    output.span().source_text().unwrap_or_default()
}

/// As the Rust reference orders them.
fn binds(op: &BinOp) -> u8 {
    match op {
        BinOp::Mul(_) | BinOp::Div(_) | BinOp::Rem(_) => 10,
        BinOp::Add(_) | BinOp::Sub(_) => 9,
        BinOp::Shl(_) | BinOp::Shr(_) => 8,
        BinOp::BitAnd(_) => 7,
        BinOp::BitXor(_) => 6,
        BinOp::BitOr(_) => 5,
        BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_) => {
            4
        }
        BinOp::And(_) => 3,
        BinOp::Or(_) => 2,
        // Assignments.
        _ => 1,
    }
}

fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(b) => has_let(&b.left) || has_let(&b.right),
        _ => false,
    }
}

fn is_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|a| {
        a.path().is_ident("cfg")
            && matches!(&a.meta, syn::Meta::List(list) if list.tokens.to_string() == "test")
    })
}

impl<'ast> Visit<'ast> for Nodes<'_> {
    fn visit_expr(&mut self, expr: &'ast Expr) {
        let parent = self.parent.take();
        let Expr::Binary(binary) = expr else {
            visit::visit_expr(self, expr);
            return;
        };
        let at = self.binaries.len();
        self.binaries.push(Binary {
            range: self.lines.range(binary.span()),
            binds: binds(&binary.op),
            parent,
            has_let: has_let(expr),
        });
        self.operators.insert(self.lines.at(binary.op.span().start()), at);
        self.operand(&binary.left, Some((at, true)));
        self.operand(&binary.right, Some((at, false)));
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        self.unaries.insert(self.lines.at(unary.op.span().start()), self.lines.range(unary.span()));
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_struct(&mut self, literal: &'ast syn::ExprStruct) {
        let range = self.lines.range(literal.span());
        for field in &literal.fields {
            self.fields.insert(self.lines.at(field.span().start()), range.clone());
        }
        visit::visit_expr_struct(self, literal);
    }

    fn visit_expr_match(&mut self, item: &'ast syn::ExprMatch) {
        // cargo-mutants is content with a `_` that has a guard.
        let named = |arm: &syn::Arm| match &arm.pat {
            syn::Pat::Ident(name) => {
                name.subpat.is_none() && name.ident.to_string().starts_with(char::is_lowercase)
            }
            _ => false,
        };
        let is_last = |arm: &syn::Arm| {
            arm.guard.is_none() && (named(arm) || matches!(arm.pat, syn::Pat::Wild(_)))
        };
        let has_last = item.arms.iter().any(is_last);
        for arm in &item.arms {
            let end = self.lines.at(arm.pat.span().end());
            let kind = match (is_last(arm), has_last) {
                (true, _) => Arm::Last,
                (false, true) => Arm::Deletable(end),
                (false, false) => Arm::Unknown,
            };
            self.arms.insert(self.lines.at(arm.span().start()), kind);
            if let Some((_, guard)) = &arm.guard {
                let range = self.lines.range(guard.span());
                self.guards.insert(range.start, range);
            }
        }
        visit::visit_expr_match(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block, self.lines.range(item.span()));
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block, self.lines.range(item.span()));
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block, self.lines.range(item.span()));
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if is_tests(&item.attrs) {
            self.tests.push(self.lines.range(item.span()));
            return;
        }
        visit::visit_item_mod(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.constants.push(self.lines.range(item.span()));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.constants.push(self.lines.range(item.span()));
    }

    fn visit_trait_item_const(&mut self, item: &'ast syn::TraitItemConst) {
        self.constants.push(self.lines.range(item.span()));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.constants.push(self.lines.range(item.span()));
    }

    fn visit_variant(&mut self, item: &'ast syn::Variant) {
        self.constants.push(self.lines.range(item.span()));
    }

    fn visit_type_array(&mut self, array: &'ast syn::TypeArray) {
        self.constants.push(self.lines.range(array.len.span()));
    }

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.constants.push(self.lines.range(repeat.len.span()));
        visit::visit_expr_repeat(self, repeat);
    }

    fn visit_expr_const(&mut self, block: &'ast syn::ExprConst) {
        self.constants.push(self.lines.range(block.span()));
    }

    fn visit_generic_argument(&mut self, argument: &'ast syn::GenericArgument) {
        if let syn::GenericArgument::Const(value) = argument {
            self.constants.push(self.lines.range(value.span()));
        }
        visit::visit_generic_argument(self, argument);
    }
}
