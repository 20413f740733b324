//! One run of a client, and the numbers of many runs of one case.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cases::{Case, Entry, Metric, Target};
use crate::failure::Failure;
use crate::options::Options;
use crate::peers::Peer;
use crate::process::{self, Server};

/// The line that one client has printed, and the number that its case measures.
pub struct Run {
    pub value: f64,
    pub line: Value,
}

pub fn run(
    case: &Case,
    entry: &Entry,
    peer: &Peer,
    server: &Server,
    options: &Options,
) -> Result<Run, Failure> {
    let size = entry.size.unwrap_or(case.size);
    let count = count(case, entry, peer, options);
    let words = words(entry, peer, server, count, size, options);
    let limit = Duration::from_secs(if options.short { 60 } else { 120 });
    let line = process::client(&words, options.pin, limit)?;
    check(&line, entry, count, size)?;
    let value = case.metric.of(&line).ok_or("the line lacks a number")?;
    Ok(Run { value, line })
}

fn count(case: &Case, entry: &Entry, peer: &Peer, options: &Options) -> u64 {
    let count = entry.count.unwrap_or(case.count) as f64 * peer.scale;
    ((count / if options.short { case.shrink } else { 1.0 }) as u64).max(4)
}

/// Makes the command line of a client.
fn words(
    entry: &Entry,
    peer: &Peer,
    server: &Server,
    count: u64,
    size: u64,
    options: &Options,
) -> Vec<String> {
    let open = if options.short { entry.open.min(50) } else { entry.open };
    let mut words = peer.command.clone();
    words.push(entry.kind.to_owned());
    words.push(server.url(entry.scheme, entry.path));
    words.extend([count, size, open].map(|number| number.to_string()));
    words
}

/// System calls per message, of all threads: the difference between a long and a short run under strace.
/// Times under strace have no meaning.
pub fn system_calls(
    case: &Case,
    entry: &Entry,
    peer: &Peer,
    server: &Server,
    options: &Options,
) -> Result<f64, Failure> {
    let size = entry.size.unwrap_or(case.size);
    let (few, many) = (40, 200);
    let total = |count: u64| -> Result<u64, Failure> {
        let file = options.out.join("strace.txt");
        let mut traced: Vec<String> =
            ["strace", "-f", "-c", "-o"].iter().map(|word| (*word).to_owned()).collect();
        traced.push(file.display().to_string());
        traced.extend(words(entry, peer, server, count, size, options));
        let line = process::client(&traced, options.pin, Duration::from_secs(60))?;
        check(&line, entry, count, size)?;
        let text = std::fs::read_to_string(&file)?;
        std::fs::remove_file(&file)?;
        let total = text.lines().find(|line| line.ends_with(" total"));
        let calls = total.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
        calls.ok_or_else(|| "strace gives no total".into())
    };
    let more = total(many)?.saturating_sub(total(few)?);
    // The client also sends a tenth of the messages before the clock starts.
    Ok(more as f64 / ((many - few) as f64 * 1.1))
}

/// Checks that a client did what its command line asked for.
fn check(line: &Value, entry: &Entry, count: u64, size: u64) -> Result<(), Failure> {
    for name in ["messages", "bytes", "wall_ns", "cpu_ns", "rss_peak_kib"] {
        if line[name].as_f64().is_none() {
            return Err(format!("{name} is missing in {line}").into());
        }
    }
    // JavaScript and Luau may write a number with a fraction.
    let number = |name: &str| line[name].as_f64().unwrap_or(-1.0) as u64;
    if number("messages") != count {
        return Err(format!("{} messages and not {count}", number("messages")).into());
    }
    let bytes = match entry.kind {
        "open-close" => 0,
        kind if kind.starts_with("compute-") || kind.starts_with("start-") => 0,
        // The data without the field name and the line ends; several lines are joined by LF.
        "events" => count * (size - 8),
        "events-fields" => count * (size - 43),
        // A script gets events without the empty line after them.
        "sse" => count * (size - 1),
        _ => count * size,
    };
    let got = number("bytes");
    let near = match entry.kind {
        "sse" => got <= count * size && got >= count * (size - 10),
        // A document that is encoded again may lack a `null`, or escape a character in another way.
        kind if kind.starts_with("json-encode-") => {
            got <= count * size * 11 / 10 && got >= count * size * 8 / 10
        }
        _ => false,
    };
    if got != bytes && !near {
        return Err(format!("{got} bytes and not {bytes}").into());
    }
    Ok(())
}

/// All rounds of one entry; `None` for a round in which the client did not run.
pub struct Measured<'a> {
    pub entry: &'a Entry,
    pub runs: Vec<Option<Run>>,
    /// System calls per message, if they were counted.
    pub calls: Option<f64>,
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

impl<'a> Measured<'a> {
    fn values(&self) -> Vec<f64> {
        self.runs.iter().flatten().map(|run| run.value).collect()
    }

    /// The median of another number of the client's lines, per message if asked for.
    fn median_of(&self, name: &str, per_message: bool) -> Option<f64> {
        let numbers = self.runs.iter().flatten().filter_map(|run| {
            let by = if per_message { run.line["messages"].as_f64()? } else { 1.0 };
            Some(run.line[name].as_f64()? / by)
        });
        median(&numbers.collect::<Vec<_>>())
    }

    /// The ratio to another entry in each round in which both have run.
    fn ratios(&self, other: &Measured<'_>) -> Vec<f64> {
        let pairs = self.runs.iter().zip(&other.runs);
        pairs.filter_map(|(a, b)| Some(a.as_ref()?.value / b.as_ref()?.value)).collect()
    }

    fn differences(&self, other: &Measured<'_>) -> Vec<f64> {
        let pairs = self.runs.iter().zip(&other.runs);
        pairs.filter_map(|(a, b)| Some(a.as_ref()?.value - b.as_ref()?.value)).collect()
    }
}

fn find<'a, 'b>(measured: &'a [Measured<'b>], label: &str) -> Option<&'a Measured<'b>> {
    measured.iter().find(|m| m.entry.label == label)
}

fn rounded(value: Option<f64>) -> Value {
    match value {
        Some(v) if v.is_finite() => json!((v * 10_000.0).round() / 10_000.0),
        _ => Value::Null,
    }
}

fn ratio(ratios: &[f64]) -> Value {
    let least = ratios.iter().copied().reduce(f64::min);
    let most = ratios.iter().copied().reduce(f64::max);
    json!({ "median": rounded(median(ratios)), "min": rounded(least), "max": rounded(most) })
}

pub fn entries(case: &Case, measured: &[Measured<'_>]) -> Value {
    let each = measured.iter().map(|m| {
        let mut ratios = Map::new();
        for reference in case.against {
            if let Some(other) = find(measured, reference) {
                ratios.insert((*reference).to_owned(), ratio(&m.ratios(other)));
            }
        }
        json!({
            "label": m.entry.label,
            "peer": m.entry.peer,
            "value": rounded(median(&m.values())),
            "values": m.values().into_iter().map(|v| rounded(Some(v))).collect::<Vec<_>>(),
            "ratios": ratios,
            "cpu_ns": rounded(m.median_of("cpu_ns", true)),
            "wall_ns": rounded(m.median_of("wall_ns", true)),
            "p99_ns": rounded(m.median_of("p99_ns", false)),
            "rss_peak_kib": rounded(m.median_of("rss_peak_kib", false)),
            "wire_bytes": rounded(m.median_of("wire_bytes", true)),
            "calls": rounded(m.calls),
        })
    });
    each.collect()
}

/// The goals of a case, and what was reached.
pub fn targets(case: &Case, measured: &[Measured<'_>]) -> Value {
    let each = case.targets.iter().map(|target| {
        let Target { of, against, more, at_most, or, calls } = *target;
        let mine = find(measured, of);
        let (got, missing) = match against {
            None if calls => (mine.and_then(|m| m.calls).into_iter().collect(), of),
            None => (mine.map(Measured::values).unwrap_or_default(), of),
            Some(against) => match (mine, find(measured, against)) {
                (Some(a), Some(b)) if more => (a.differences(b), against),
                (Some(a), Some(b)) => (a.ratios(b), against),
                _ => (Vec::new(), against),
            },
        };
        let or = or.and_then(|(of, than)| {
            let (of, than) = (find(measured, of)?, find(measured, than)?);
            median(&of.ratios(than)).filter(|other| *other > at_most)
        });
        let median = median(&got);
        let unit = match (against, calls) {
            (_, true) => "calls",
            (None, _) => case.metric.unit(),
            (Some(_), _) if more => case.metric.unit(),
            _ => "",
        };
        json!({
            "of": of,
            "against": against,
            "at_most": at_most,
            // The result of the other client, which is then the goal.
            "or": rounded(or),
            "unit": unit,
            "more": more,
            "measured": ratio(&got),
            "met": median.map(|m| m <= or.unwrap_or(at_most)),
            "missing": median.is_none().then(|| match calls {
                true => "system calls were not counted".to_owned(),
                false => format!("{missing} has not run"),
            }),
        })
    });
    each.collect()
}

impl Metric {
    /// The value of this metric in a client's line.
    fn of(self, line: &Value) -> Option<f64> {
        let number = |name: &str| line[name].as_f64();
        let messages = number("messages")?;
        match self {
            Metric::CpuPerMessage => Some(number("cpu_ns")? / messages),
            Metric::CpuPerStart => Some(number("cpu_ns")? / messages / 1e6),
            Metric::CpuPerOpen | Metric::CpuPerRun => Some(number("cpu_ns")? / messages / 1e3),
            Metric::Median => Some(number("p50_ns")? / 1e3),
            Metric::Peak => Some(number("rss_peak_kib")? / 1024.0),
            Metric::Each => {
                Some((number("rss_after_kib")? - number("rss_before_kib")?).max(0.0) / messages)
            }
        }
    }
}
