//! Makes bar charts in panels side by side, as SVG for light and dark pages.

use std::fmt::Write as _;

use serde_json::Value;

use crate::decimal::number;

const WIDTH: usize = 510;
const LABEL: usize = 240;
const NUMBER: usize = 70;
const ROW: usize = 18;
const HEAD: usize = 34;
const TITLE: usize = 40;
const GAP: usize = 20;

const STYLE: &str = "
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.panel { font-weight: 600 }
.label { text-anchor: end }
.own { fill: #2f6feb } .rust { fill: #8c959f } .other { fill: #bf8700 } .floor { fill: #d0d7de }
.cut { stroke: #ffffff; stroke-width: 3 }
.back { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .back { fill: #0d1117 } .cut { stroke: #0d1117 }
  .own { fill: #58a6ff } .floor { fill: #30363d } .rust { fill: #6e7681 }
}
";

struct Bar<'a> {
    label: &'a str,
    class: &'static str,
    value: f64,
    shown: String,
}

/// A picture with one panel for each case.
pub fn bars(title: &str, cases: &[&Value]) -> String {
    let panels: Vec<(&Value, Vec<Bar<'_>>)> = cases.iter().map(|c| (*c, of_case(c))).collect();
    let columns = if panels.len() == 1 { 1 } else { 2 };
    let mut body = String::new();
    let mut top = TITLE;
    for row in panels.chunks(columns) {
        let tallest = row.iter().map(|(_, bars)| HEAD + bars.len() * ROW).max().unwrap_or(0);
        for (column, (case, bars)) in row.iter().enumerate() {
            panel(&mut body, case, bars, GAP + column * (WIDTH + GAP), top);
        }
        top += tallest + GAP;
    }
    let width = GAP + columns * (WIDTH + GAP);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {top}\" width=\"{width}\" \
         height=\"{top}\" role=\"img\" aria-label=\"{title}\">\n<style>{STYLE}</style>\n\
         <rect class=\"back\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"title\" x=\"{GAP}\" y=\"26\">{title}</text>\n{body}</svg>\n",
        title = escaped(title),
    )
}

fn of_case(case: &Value) -> Vec<Bar<'_>> {
    let entries = case["entries"].as_array().map_or(&[][..], Vec::as_slice);
    let bars = entries.iter().filter_map(|entry| {
        let (label, peer) = (entry["label"].as_str()?, entry["peer"].as_str()?);
        let class = match peer {
            _ if peer.starts_with("moonwire") => "own",
            _ if peer.starts_with("floor") => "floor",
            "lune" | "ws" | "bun" | "websockets" => "other",
            _ => "rust",
        };
        let value = entry["value"].as_f64()?;
        Some(Bar { label, class, value, shown: number(&entry["value"]) })
    });
    bars.collect()
}

/// The value of a full bar: a bar many times as long as most others is cut.
fn full(bars: &[Bar<'_>]) -> f64 {
    let mut sorted: Vec<f64> = bars.iter().map(|bar| bar.value).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.get(sorted.len() / 2).copied().unwrap_or(1.0);
    let most = sorted.iter().rev().find(|v| **v <= middle * 6.0).copied().unwrap_or(middle);
    most.max(f64::MIN_POSITIVE)
}

fn panel(out: &mut String, case: &Value, bars: &[Bar<'_>], left: usize, top: usize) {
    let title = case["title"].as_str().unwrap_or_default();
    // A long title would overlap the next panel.
    let title = title.split(" (").next().unwrap_or(title);
    let unit = case["unit"].as_str().unwrap_or_default();
    let _ = writeln!(
        out,
        "<text class=\"panel\" x=\"{left}\" y=\"{}\">{} ({unit})</text>",
        top + 16,
        escaped(title)
    );
    let (full, room) = (full(bars), (WIDTH - LABEL - NUMBER) as f64);
    for (i, bar) in bars.iter().enumerate() {
        let y = top + HEAD - 8 + i * ROW;
        let length = (bar.value / full * room).clamp(1.0, room);
        let start = left + LABEL + 6;
        let _ = writeln!(
            out,
            "<text class=\"label\" x=\"{}\" y=\"{}\">{}</text>\
             <rect class=\"{}\" x=\"{start}\" y=\"{y}\" width=\"{length:.1}\" height=\"{}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{}</text>",
            left + LABEL,
            y + 11,
            escaped(&bar.label.replace("moonwire", "mw")),
            bar.class,
            ROW - 4,
            start as f64 + length + 5.0,
            y + 11,
            bar.shown,
        );
        if bar.value > full * 1.001 {
            let x = start as f64 + length - 22.0;
            let _ = writeln!(
                out,
                "<path class=\"cut\" d=\"M{x:.1} {} l6 -{}\"/>",
                y + ROW - 3,
                ROW - 2
            );
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
