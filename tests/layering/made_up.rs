//! Tests of the checker with small invented crates.

use super::arrows::arrows;
use super::floors::complaints;
use super::tree::Files;

type Crate = &'static [(&'static str, &'static str)];

fn files(of: Crate) -> Files {
    of.iter().map(|&(file, text)| (file.to_owned(), text.to_owned())).collect()
}

/// A case, its files, and the arrows in them: `from -> to: names`.
const SEEN: &[(&str, Crate, &[&str])] = &[
    (
        "a tree over several lines, renamed, with twins and what other crates define",
        &[
            ("lib.rs", "mod a;\n#[cfg(x)]\n#[path = \"no_b.rs\"]\nmod b;\n#[cfg(y)]\nmod b;"),
            (
                "a.rs",
                "use std::{fmt, io::{self, Read as _}};\nuse super::{\n b::{self as c, X as Y,},\n};",
            ),
            ("b.rs", "pub struct X;"),
            ("no_b.rs", "pub(crate) struct X;"),
        ],
        &["a.rs -> b.rs: X", "a.rs -> no_b.rs: X"],
    ),
    (
        "paths in code: from the root, from above, through a module that is imported",
        &[
            ("lib.rs", "mod a; mod b { pub mod c; }\nmod d;"),
            ("a.rs", "use crate::d; fn f(x: super::d::D) -> u8 { d::g(x); use crate::d::E::*; 1 }"),
            ("d.rs", "pub struct D; pub enum E { V } pub fn g(_: D) {}"),
        ],
        &["a.rs -> d.rs: D, E, g"],
    ),
    (
        "an arrow runs to the file that defines, through lists and globs",
        &[
            ("lib.rs", "mod a; mod net; mod user; pub use net::*; pub use a::A;"),
            ("a.rs", "pub struct A;"),
            ("net/mod.rs", "mod deep; pub use self::deep::{Deep as Low, *};"),
            ("net/deep.rs", "pub struct Deep; pub struct Other;"),
            ("user.rs", "use crate::{A, Low}; fn f() { crate::Other; super::net::Other }"),
        ],
        &["user.rs -> a.rs: A", "user.rs -> net/deep.rs: Deep, Other"],
    ),
    (
        "a list imports nothing, code beside it does",
        &[
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod x; mod y; pub use x::{X, Z}; pub use y::Y; pub struct A(X); // Y"),
            ("a/x.rs", "pub struct X; pub struct Z;"),
            ("a/y.rs", "pub struct Y;"),
            ("b.rs", "mod c; fn f() { c::g(); c::h::<u8>() }"),
            ("b/c.rs", "pub fn g() {} pub fn h<T>() {}"),
        ],
        &["a/mod.rs -> a/x.rs: X", "b.rs -> b/c.rs: g, h"],
    ),
    (
        "a private import is handed to children, and a function may be named like its module",
        &[
            ("lib.rs", "mod a; mod b; pub(crate) use b::b; use b::{B, T as _};"),
            ("a.rs", "use super::{B, b};"),
            ("b.rs", "pub struct B; pub fn b() {} pub trait T {}"),
        ],
        &["a.rs -> b.rs: B, b", "lib.rs -> b.rs: B, T"],
    ),
    (
        "unit tests, comments, literals, fields and visibility are no imports",
        &[
            ("lib.rs", "mod a; mod b;"),
            (
                "a.rs",
                "/* use crate::b::X; /* */ */ use crate::b;\n#[cfg(test)]\nmod t { use crate::b::X; }\n\
                 #[cfg(test)] use crate::b::{X, Y};\n#[cfg(test)] #[inline] fn f() { b::X }\n\
                 pub(in crate::b) const C: [&str; 3] = [\"{ b::X\", r#\"\" b::X\"#, \"\\\" b::X\"];\n\
                 fn g<'a>(s: &'a S) -> char { s.b.X; S { b: 1 }; '\"'; '\\''; b'{'; 'b' }\n\
                 struct S; // b::X\nfn h() { 0..b::Y }",
            ),
            ("b.rs", "pub struct X; pub const Y: u8 = 1;"),
        ],
        &["a.rs -> b.rs: Y"],
    ),
    (
        "the command names the library",
        &[
            ("main.rs", "fn main() { moonwire::cli::main() }"),
            ("lib.rs", "pub mod cli;"),
            ("cli/mod.rs", "pub fn main() {}"),
        ],
        &["main.rs -> cli/mod.rs: main"],
    ),
];

#[test]
fn each_arrow_is_seen() {
    for &(case, of, wanted) in SEEN {
        let (arrows, _) = arrows(&files(of));
        let found = arrows.iter().map(|((from, to), names)| {
            let names = names.iter().map(String::as_str).collect::<Vec<_>>();
            format!("{from} -> {to}: {}", names.join(", "))
        });
        assert_eq!(found.collect::<Vec<_>>(), wanted, "{case}");
    }
}

/// A case, its files, and the errors that are reported with the floors of `each_fault_is_reported`.
const WRONG: &[(&str, Crate, &[&str])] = &[
    (
        "down, to a neighbour, and inside of a file",
        &[
            ("lib.rs", "mod low; mod mid; pub mod x { use super::y; } fn y() {}"),
            ("low.rs", "use self::i::I; mod i { pub struct I; use super::L; } pub struct L;"),
            ("mid/mod.rs", "mod a; mod b; mod top; pub use top::T;"),
            ("mid/a.rs", "use super::b::B; use crate::low::L;"),
            ("mid/b.rs", "pub struct B;"),
            ("mid/top.rs", "use super::a; pub struct T;"),
        ],
        &[],
    ),
    (
        "up, and up inside of a folder",
        &[
            ("lib.rs", "mod low; mod mid;"),
            ("low.rs", "fn f() { crate::mid::g() }"),
            ("mid/mod.rs", "mod a; mod top; pub fn g() {}"),
            ("mid/a.rs", "use super::top::T;"),
            ("mid/top.rs", "pub struct T;"),
        ],
        &["up: src/low.rs -> src/mid/mod.rs (g)", "up: src/mid/a.rs -> src/mid/top.rs (T)"],
    ),
    (
        "a child that uses what its parent defines, and a parent that uses the child",
        &[
            ("lib.rs", "mod low; mod mid;"),
            ("low.rs", ""),
            ("mid/mod.rs", "mod a; mod top; pub use a::A; pub struct E; fn f(a: &A) { a.b() }"),
            ("mid/a.rs", "use super::E; pub struct A;"),
            ("mid/top.rs", ""),
        ],
        &["circle: src/mid/a.rs -> src/mid/mod.rs (E) -> src/mid/a.rs (A)"],
    ),
    (
        "a circle of three over lists",
        &[
            ("lib.rs", "mod low; mod mid; pub use mid::*;"),
            ("low.rs", ""),
            ("mid/mod.rs", "mod a; mod b; mod c; mod top; pub use {a::A, b::B, c::{C, D}};"),
            ("mid/a.rs", "use super::B; pub struct A;"),
            ("mid/b.rs", "use crate::{\n  C,\n  D,\n}; pub struct B;"),
            ("mid/c.rs", "pub struct C; pub struct D; fn f() { crate::mid::A }"),
            ("mid/top.rs", ""),
        ],
        &["circle: src/mid/a.rs -> src/mid/b.rs (B) -> src/mid/c.rs (C, D) -> src/mid/a.rs (A)"],
    ),
    (
        "what leads nowhere",
        &[
            (
                "lib.rs",
                "mod low; mod mid; mod gone; use unheard::Of;\nuse self::r::R; pub use r::*;",
            ),
            ("low.rs", "use crate::mid::Nothing;\nfn f() {\n super::low::g() }"),
            ("mid/mod.rs", "mod top; use top::*; fn f() { top::nothing() }"),
            ("mid/top.rs", "pub use super::*; fn f() { \"{ }"),
            ("new.rs", ""),
        ],
        &[
            "src/mid/top.rs: brackets do not match",
            "src/lib.rs:1: mod gone has no file",
            "src/new.rs: no module declares it",
            "src/lib.rs:1: unheard::Of is not found",
            "src/lib.rs:2: self::r::R is not found",
            "src/lib.rs:2: r is not found",
            "src/low.rs:1: crate::mid::Nothing is not found",
            "src/low.rs:3: super::low::g is not found",
            "src/mid/mod.rs:1: top::nothing is not found",
            "src/new.rs is on no floor",
        ],
    ),
    (
        "floors for what is gone",
        &[("lib.rs", "mod low;"), ("low.rs", "")],
        &["src/mid has a floor, and no file", "src/mid/top.rs has a floor, and no file"],
    ),
];

#[test]
fn each_fault_is_reported() {
    let floors: &[&[&str]] = &[&["low.rs"], &["mid"], &["mid/top.rs"], &["lib.rs"]];
    for &(case, of, wanted) in WRONG {
        assert_eq!(complaints(&files(of), floors), wanted, "{case}");
    }
    let twice = complaints(&files(&[("lib.rs", "")]), &[&["lib.rs"], &["lib.rs"]]);
    assert_eq!(twice, ["src/lib.rs is on two floors"]);
}
