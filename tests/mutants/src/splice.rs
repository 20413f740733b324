//! A file with all of its mutants, each behind its number.

use crate::hosts::Host;
use crate::list::Mutant;
use std::collections::BTreeMap;
use std::ops::Range;

/// Where a mutant stands in the text that was made.
pub struct Part {
    pub mutant: usize,
    pub range: Range<usize>,
}

/// A choice between an expression and its mutants.
pub struct Choice {
    pub mutants: Vec<usize>,
    pub range: Range<usize>,
}

pub struct Spliced {
    pub text: String,
    pub parts: Vec<Part>,
    pub choices: Vec<Choice>,
}

struct Splicer<'a> {
    source: &'a str,
    mutants: &'a [Mutant],
    /// By start, the larger first; with the number that each mutant has.
    hosts: Vec<(Host, Vec<(usize, u32)>)>,
    /// What is left out.
    cuts: &'a [Range<usize>],
    made: Spliced,
}

/// `placed` are the mutants of this file that take part, by index, with their hosts. Numbers are given from
/// `next` on: those of one host follow each other.
pub fn splice(
    source: &str,
    mutants: &[Mutant],
    placed: &BTreeMap<usize, Host>,
    cuts: &[Range<usize>],
    next: &mut u32,
    numbers: &mut BTreeMap<usize, u32>,
) -> Spliced {
    let mut by_host = BTreeMap::<(usize, std::cmp::Reverse<usize>), (Host, Vec<usize>)>::new();
    for (&mutant, host) in placed {
        let key = match *host {
            Host::Expr(start, end) => (start, std::cmp::Reverse(end)),
            // In front of an expression that starts there.
            Host::Body(at) => (at, std::cmp::Reverse(usize::MAX)),
            Host::Pattern(at) => (at, std::cmp::Reverse(at)),
        };
        by_host.entry(key).or_insert_with(|| (host.clone(), Vec::new())).1.push(mutant);
    }
    let mut hosts = Vec::new();
    for (host, members) in by_host.into_values() {
        let mut numbered = Vec::new();
        for mutant in members {
            numbers.insert(mutant, *next);
            numbered.push((mutant, *next));
            *next += 1;
        }
        hosts.push((host, numbered));
    }
    let made = Spliced { text: String::new(), parts: Vec::new(), choices: Vec::new() };
    let mut splicer = Splicer { source, mutants, hosts, cuts, made };
    let all = splicer.hosts.len();
    splicer.render(0..source.len(), 0, all);
    splicer.made
}

impl Splicer<'_> {
    /// The part of the source with hosts `from..to`, all of which it contains.
    fn render(&mut self, range: Range<usize>, mut from: usize, to: usize) {
        let mut at = range.start;
        while from < to {
            let (host, members) = self.hosts[from].clone();
            from += 1;
            match host {
                Host::Body(start) => {
                    self.copy(at..start);
                    at = start;
                    self.body(&members);
                }
                Host::Pattern(end) => {
                    self.copy(at..end);
                    at = end;
                    self.pattern(&members, end);
                }
                Host::Expr(start, end) => {
                    self.copy(at..start);
                    at = end;
                    let inner = from;
                    while from < to && self.hosts[from].0.start() < end {
                        from += 1;
                    }
                    self.expr(start..end, &members, inner, from);
                }
            }
        }
        self.copy(at..range.end);
    }

    fn copy(&mut self, range: Range<usize>) {
        let mut at = range.start;
        for cut in self.cuts {
            if range.start <= cut.start && cut.end <= range.end {
                self.made.text.push_str(&self.source[at..cut.start]);
                at = cut.end;
            }
        }
        self.made.text.push_str(&self.source[at..range.end]);
    }

    fn body(&mut self, members: &[(usize, u32)]) {
        let start = self.choose(members);
        for (k, &(mutant, _)) in members.iter().enumerate() {
            let value = self.mutants[mutant].replacement.clone();
            self.part(mutant, &format!("{} => return {value},", k + 1));
        }
        self.made.text.push_str(" _ => {} } ");
        self.chosen(members, start);
    }

    fn pattern(&mut self, members: &[(usize, u32)], end: usize) {
        let (mutant, number) = members[0];
        // A pattern that has a guard has no mutant of its own.
        debug_assert!(!self.source[end..].trim_start().starts_with("if "));
        self.part(mutant, &format!(" if !crate::mutant::is_on({number})"));
    }

    fn expr(&mut self, range: Range<usize>, members: &[(usize, u32)], from: usize, to: usize) {
        self.made.text.push('(');
        let start = self.choose(members);
        self.made.text.push_str("0 => {");
        self.render(range.clone(), from, to);
        self.made.text.push('}');
        for (k, &(mutant, _)) in members.iter().enumerate() {
            let text = self.mutants[mutant].text(self.source, range.clone());
            self.made.text.push_str(&format!(" {} => {{", k + 1));
            self.part(mutant, &text);
            self.made.text.push('}');
        }
        self.made.text.push_str(" _ => ::core::unreachable!() })");
        self.chosen(members, start);
    }

    fn choose(&mut self, members: &[(usize, u32)]) -> usize {
        let start = self.made.text.len();
        let (first, count) = (members[0].1, members.len());
        self.made.text.push_str(&format!("match crate::mutant::pick({first}, {count}) {{ "));
        start
    }

    fn chosen(&mut self, members: &[(usize, u32)], start: usize) {
        let mutants = members.iter().map(|&(mutant, _)| mutant).collect();
        self.made.choices.push(Choice { mutants, range: start..self.made.text.len() });
    }

    fn part(&mut self, mutant: usize, text: &str) {
        let start = self.made.text.len();
        self.made.text.push_str(text);
        self.made.parts.push(Part { mutant, range: start..self.made.text.len() });
    }
}

impl Host {
    fn start(&self) -> usize {
        match *self {
            Host::Expr(at, _) | Host::Body(at) | Host::Pattern(at) => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::{Lines, Nodes, Place};

    /// The mutant of the `nth` place with the text.
    fn mutant(source: &str, genre: &str, text: &str, nth: usize, replacement: &str) -> Mutant {
        let (start, _) = source.match_indices(text).nth(nth).unwrap();
        Mutant {
            file: String::new(),
            name: String::new(),
            function: String::new(),
            genre: genre.into(),
            replacement: replacement.into(),
            range: start..start + text.len(),
        }
    }

    /// What was written for the mutant of this index, with single spaces.
    fn text_of(made: &Spliced, mutant: usize) -> String {
        let part = made.parts.iter().find(|part| part.mutant == mutant).unwrap();
        made.text[part.range.clone()].split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// What a source becomes with one mutant: of the `nth` place with the text, for a replacement.
    fn with(
        source: &str,
        genre: &str,
        text: &str,
        nth: usize,
        replacement: &str,
    ) -> Option<String> {
        let mutant = mutant(source, genre, text, nth, replacement);
        let lines = Lines::new(source);
        let file = syn::parse_file(source).unwrap();
        let host = match Nodes::new(&lines, &file).place(&mutant, &[]) {
            Place::In(host) => host,
            Place::NotRust => return None,
            Place::Alone => return Some("alone".into()),
        };
        let placed = BTreeMap::from([(0, host)]);
        let made = splice(source, &[mutant], &placed, &[], &mut 7, &mut BTreeMap::new());
        syn::parse_file(&made.text).unwrap();
        Some(text_of(&made, 0))
    }

    fn binary(body: &str, text: &str, nth: usize, replacement: &str) -> Option<String> {
        with(&format!("fn f() {{ {body} }}"), "BinaryOperator", text, nth, replacement)
    }

    #[test]
    fn an_operator_takes_with_it_what_its_replacement_binds() {
        assert_eq!(binary("g(a == b && c)", "==", 0, "!=").unwrap(), "a != b");
        // Looser than before: what stands around it is grouped anew.
        assert_eq!(binary("a && b && c", "&&", 0, "||").unwrap(), "a || b && c");
        assert_eq!(binary("a && b && c", "&&", 1, "||").unwrap(), "a && b || c");
        assert_eq!(binary("x - a * b", "*", 0, "+").unwrap(), "x - a + b");
        assert_eq!(binary("a * b - x", "*", 0, "+").unwrap(), "a + b");
        // Tighter: only its own operands are.
        assert_eq!(binary("x - (a + b * c)", "+", 0, "*").unwrap(), "a * b * c");
        assert_eq!(binary("x = a + b;", "+", 0, "-").unwrap(), "a - b");
        assert_eq!(binary("x += a;", "+=", 0, "-=").unwrap(), "x -= a");
    }

    #[test]
    fn what_is_no_rust_is_not_built() {
        assert_eq!(binary("if a && let Some(b) = c {}", "&&", 0, "||"), None);
        assert_eq!(binary("if a && b && let Some(c) = d {}", "&&", 0, "||"), None);
        assert!(binary("if a == b && let Some(c) = d {}", "==", 0, "!=").is_some());
    }

    #[test]
    fn what_the_compiler_evaluates_is_built_alone() {
        let alone = |source: &str| with(source, "BinaryOperator", "*", 0, "/").unwrap() == "alone";
        assert!(alone("const A: u32 = 2 * 3;"));
        assert!(alone("fn f() { let a = [0; 2 * 3]; }"));
        assert!(alone("fn f() { const A: u32 = 2 * 3; }"));
        assert!(!alone("fn f() -> u32 { const A: u32 = 2; A * 3 }"));
        // Without its word `const`, unless some constant needs it.
        assert!(!alone("const fn f(a: u32) -> u32 { a * 3 }"));
    }

    #[test]
    fn a_body_returns_before_its_first_statement_and_an_arm_is_passed_over() {
        let source = "fn f(a: u8) -> u8 { const B: u8 = 1; match a { 0 | 1 => B, _ => 2 } }";
        let body = "const B: u8 = 1; match a { 0 | 1 => B, _ => 2 }";
        assert_eq!(with(source, "FnValue", body, 0, "0").unwrap(), "1 => return 0,");
        let arm = with(source, "MatchArm", "0 | 1 => B,", 0, "").unwrap();
        assert_eq!(arm, "if !crate::mutant::is_on(7)");
        let opaque = "fn f() -> impl Iterator<Item = u8> { g() }";
        assert_eq!(with(opaque, "FnValue", "g()", 0, "::std::iter::empty()").unwrap(), "alone");
        // Nothing else matches what the last arm does.
        let last = "fn f(a: u8) -> u8 { match a { 0 => 1, _ if a > 9 => 3, a => a } }";
        assert_eq!(with(last, "MatchArm", "a => a", 0, ""), None);
    }

    #[test]
    fn guards_unary_operators_and_fields_change_in_place() {
        let source = "fn f() { match a { b if b > 1 => !c, _ => S { x: 1, ..d } } }";
        assert_eq!(with(source, "MatchArmGuard", "b > 1", 0, "true").unwrap(), "true");
        assert_eq!(with(source, "UnaryOperator", "!", 0, "").unwrap(), "c");
        assert_eq!(with(source, "StructField", "x: 1,", 0, "").unwrap(), "S { ..d }");
    }

    #[test]
    fn mutants_within_mutants_are_all_there() {
        let source = "fn f() -> bool { !(a == b) && c }";
        let lines = Lines::new(source);
        let file = syn::parse_file(source).unwrap();
        let nodes = Nodes::new(&lines, &file);
        let mutants = [
            mutant(source, "FnValue", "!(a == b) && c", 0, "true"),
            mutant(source, "UnaryOperator", "!", 0, ""),
            mutant(source, "BinaryOperator", "==", 0, "!="),
            mutant(source, "BinaryOperator", "&&", 0, "||"),
        ];
        let placed = mutants.iter().enumerate().map(|(i, m)| match nodes.place(m, &[]) {
            Place::In(host) => (i, host),
            _ => panic!("{}", m.replacement),
        });
        let placed: BTreeMap<_, _> = placed.collect();
        let mut numbers = BTreeMap::new();
        let made = splice(source, &mutants, &placed, &[], &mut 1, &mut numbers);
        syn::parse_file(&made.text).unwrap();
        assert_eq!(numbers.len(), 4);
        assert_eq!(text_of(&made, 1), "(a == b)");
        assert_eq!(text_of(&made, 2), "a != b");
        assert_eq!(text_of(&made, 3), "!(a == b) || c");
    }
}
