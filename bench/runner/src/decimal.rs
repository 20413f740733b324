//! Formats numbers for tables and pictures.

use std::fmt::Write as _;

use serde_json::Value;

/// A number with three significant digits, and commas.
pub fn number(value: &Value) -> String {
    let Some(v) = value.as_f64() else { return "–".into() };
    let digits = match v.abs() {
        a if a >= 100.0 => 0,
        a if a >= 10.0 => 1,
        _ => 2,
    };
    let plain = format!("{v:.digits$}");
    let (whole, rest) = plain.split_once('.').map_or((plain.as_str(), ""), |(w, r)| (w, r));
    let mut out = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    if !rest.is_empty() {
        let _ = write!(out, ".{rest}");
    }
    out
}

/// A number with three decimals: a goal that is just missed must not look reached.
pub fn exact(value: &Value) -> String {
    value.as_f64().map_or("–".into(), |v| format!("{v:.3}"))
}
