//! JSON for scripts: encodes Luau values, and decodes to Luau values. `serde_json` reads and writes
//! the text; this file maps the values.
//!
//! Tables are read raw, so no script runs meanwhile. At any time no more Luau values are held than
//! the nesting is deep, since mlua can hold only a bounded number.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mlua::{Lua, Table, Value};
use serde_core::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::loose::{self, Meant};
use crate::proto::escape;

/// The deepest nesting that `serde_json` reads, whatever the limit is.
const DEEPEST: usize = 127;

/// Whole numbers up to here are written without exponent: each of them is an exact double.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// Called at intervals, with the number of bytes made so far. An error ends the work, and is its
/// result.
type Look<'a> = &'a dyn Fn(usize) -> Result<(), String>;

/// This many values pass between two calls.
const LOOK: u32 = 256;

/// Calls [`Look`] at intervals.
struct Lookout<'a> {
    look: Look<'a>,
    steps: Cell<u32>,
    /// The error of [`Look`] that has ended the work.
    stopped: RefCell<Option<String>>,
}

impl<'a> Lookout<'a> {
    fn new(look: Look<'a>) -> Lookout<'a> {
        Lookout { look, steps: Cell::new(0), stopped: RefCell::new(None) }
    }

    /// Counts a value; an error has to end all of the work.
    fn step(&self, bytes: usize) -> Result<(), String> {
        self.steps.set(self.steps.get().wrapping_add(1));
        if !self.steps.get().is_multiple_of(LOOK) {
            return Ok(());
        }
        (self.look)(bytes).inspect_err(|why| *self.stopped.borrow_mut() = Some(why.clone()))
    }

    /// The error of the work: that of [`Look`], or else `problem`.
    fn or(self, problem: String) -> String {
        self.stopped.into_inner().unwrap_or(problem)
    }
}

/// A value as JSON: at most `depth` nested tables, about `most` bytes in all. (Tables that share
/// tables can expand to more text than any memory holds.)
pub(super) fn encode(
    lua: &Lua,
    value: &Value,
    depth: usize,
    most: usize,
    look: Look<'_>,
) -> Result<Vec<u8>, String> {
    let (out, parents, lookout) = (Vec::new(), Vec::new(), Lookout::new(look));
    let mut encoder = Encoder { lua, out, parents, depth: depth.min(DEEPEST), most, lookout };
    match encoder.value(value) {
        Ok(()) => Ok(encoder.out),
        Err(problem) => Err(encoder.lookout.or(problem.to_string())),
    }
}

struct Encoder<'a> {
    lua: &'a Lua,
    out: Vec<u8>,
    /// The tables being encoded, the outermost first.
    parents: Vec<*const c_void>,
    depth: usize,
    most: usize,
    lookout: Lookout<'a>,
}

/// Why a value cannot be encoded, and where it is: steps from the inside out.
struct Problem {
    text: String,
    steps: Vec<String>,
}

/// The key of a field.
struct Key {
    text: String,
    /// The number, if the key is one.
    number: Option<f64>,
}

impl Encoder<'_> {
    fn value(&mut self, value: &Value) -> Result<(), Problem> {
        self.lookout.step(self.out.len())?;
        match value {
            Value::Nil => self.push("null"),
            Value::Boolean(true) => self.push("true"),
            Value::Boolean(false) => self.push("false"),
            // Every number of a script is a double.
            Value::Integer(n) => self.number(*n as f64),
            Value::Number(n) => self.number(*n),
            Value::String(text) => match text.to_str() {
                Ok(text) => self.string(&text),
                Err(_) => Err("a string that is not UTF-8".into()),
            },
            Value::Table(table) => self.table(table),
            Value::Buffer(buffer) => self.buffer(buffer),
            other => Err(format!("a value of type {}", type_name(other)).into()),
        }
    }

    fn push(&mut self, text: &str) -> Result<(), Problem> {
        self.out.extend_from_slice(text.as_bytes());
        match self.out.len() > self.most {
            true => Err(format!("more than {} bytes", self.most).into()),
            false => Ok(()),
        }
    }

    fn string(&mut self, text: &str) -> Result<(), Problem> {
        serde_json::to_writer(&mut self.out, text).map_err(|e| Problem::from(e.to_string()))
    }

    /// As in Roblox: base64, in an object that marks it. (Roblox often compresses a buffer, and
    /// then marks it as `zbase64`; it reads both forms.)
    fn buffer(&mut self, buffer: &mlua::Buffer) -> Result<(), Problem> {
        // Refused before it is copied.
        if buffer.len() / 3 * 4 > self.most {
            return Err(format!("more than {} bytes", self.most).into());
        }
        self.push("{\"m\":null,\"t\":\"buffer\",\"base64\":\"")?;
        self.push(&BASE64.encode(buffer.to_vec()))?;
        self.push("\"}")
    }

    fn number(&mut self, n: f64) -> Result<(), Problem> {
        // Not JSON, but documented by Roblox.
        if n.is_nan() {
            self.push("nan")
        } else if n.is_infinite() {
            self.push(if n > 0.0 { "inf" } else { "-inf" })
        } else if n == 0.0 && n.is_sign_negative() {
            self.push("-0")
        } else if n.fract() == 0.0 && n.abs() <= WHOLE {
            self.push(&(n as i64).to_string())
        } else {
            let text = serde_json::to_string(&n).map_err(|e| Problem::from(e.to_string()))?;
            self.push(text.strip_suffix(".0").unwrap_or(&text))
        }
    }

    fn table(&mut self, table: &Table) -> Result<(), Problem> {
        let this = table.to_pointer();
        if self.parents.contains(&this) {
            return Err("a table that contains itself".into());
        }
        if self.parents.len() == self.depth {
            return Err(format!("tables nested deeper than {}", self.depth).into());
        }
        self.parents.push(this);
        if get(table, 1)?.is_nil() {
            self.object(table)?
        } else {
            self.array(table)?
        }
        self.parents.pop();
        Ok(())
    }

    fn array(&mut self, table: &Table) -> Result<(), Problem> {
        for i in 1..=table.raw_len() {
            self.push(if i == 1 { "[" } else { "," })?;
            self.value(&get(table, i)?).map_err(|problem| problem.inside(format!("[{i}]")))?;
        }
        self.push("]")
    }

    fn object(&mut self, table: &Table) -> Result<(), Problem> {
        let keys = self.keys(table)?;
        if keys.is_empty() {
            return self.push("[]");
        }
        for (i, key) in keys.iter().enumerate() {
            self.push(if i == 0 { "{" } else { "," })?;
            self.string(&key.text)?;
            self.push(":")?;
            let value = match key.number {
                Some(n) => get(table, n),
                None => get(table, key.text.as_str()),
            };
            self.value(&value?).map_err(|problem| problem.inside(key.step()))?;
        }
        self.push("}")
    }

    /// The keys of an object, sorted, so that equal tables give equal texts.
    fn keys(&self, table: &Table) -> Result<Vec<Key>, Problem> {
        let (mut keys, mut problem) = (Vec::new(), None);
        let all = table.for_each(|key: Value, _: Value| {
            if problem.is_some() {
                return Ok(());
            }
            match self.lookout.step(self.out.len()).and_then(|()| Key::new(self.lua, key)) {
                Ok(key) => keys.push(key),
                Err(text) => problem = problem.take().or(Some(text)),
            }
            Ok(())
        });
        if let Some(text) = problem.or(all.err().map(|e| e.to_string())) {
            return Err(text.into());
        }
        keys.sort_by(|a, b| a.text.cmp(&b.text));
        // The same key as a number and as a string.
        match keys.windows(2).find(|pair| pair[0].text == pair[1].text) {
            Some(pair) => {
                Err(format!("two keys that are both written {}", pair[0].quoted()).into())
            }
            None => Ok(keys),
        }
    }
}

fn get(table: &Table, key: impl mlua::IntoLua) -> Result<Value, Problem> {
    table.raw_get(key).map_err(|e| Problem::from(e.to_string()))
}

impl Key {
    fn new(lua: &Lua, key: Value) -> Result<Key, String> {
        let number = match key {
            Value::Integer(n) => Some(n as f64),
            Value::Number(n) => Some(n),
            Value::String(_) => None,
            other => return Err(format!("a key of type {}", type_name(&other))),
        };
        // A number as `tostring` formats it.
        let text = lua.coerce_string(key).map_err(|e| e.to_string())?;
        match text.as_ref().and_then(|text| text.to_str().ok()) {
            Some(text) => Ok(Key { text: text.to_owned(), number }),
            None => Err("a key that is not UTF-8".to_owned()),
        }
    }

    fn quoted(&self) -> String {
        format!("\"{}\"", escape(self.text.as_bytes(), 40))
    }

    /// The key as a step of a path.
    fn step(&self) -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let bytes = self.text.as_bytes();
        let name = bytes.len() <= 40 && bytes.iter().all(|b| plain(*b));
        match bytes.first() {
            _ if self.number.is_some() => format!("[{}]", self.text),
            Some(first) if name && !first.is_ascii_digit() => format!(".{}", self.text),
            _ => format!("[{}]", self.quoted()),
        }
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Problem {
        Problem { text, steps: Vec::new() }
    }
}

impl From<&str> for Problem {
    fn from(text: &str) -> Problem {
        text.to_owned().into()
    }
}

impl Problem {
    fn inside(mut self, step: String) -> Problem {
        self.steps.push(step);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The last steps show where it is; a path of a hundred does not help.
        const MOST: usize = 16;
        let more = if self.steps.len() > MOST { "…" } else { "" };
        let steps: String = self.steps.iter().take(MOST).rev().map(String::as_str).collect();
        write!(f, "cannot encode {} (at ${more}{steps})", self.text)
    }
}

/// The name that `typeof` returns.
fn type_name(value: &Value) -> String {
    match value {
        Value::UserData(data) => {
            data.type_name().map_or_else(|_| "userdata".into(), |name| name.to_string_lossy())
        }
        other => other.type_name().to_owned(),
    }
}

/// The value of a JSON text; at most `depth` nested arrays and objects.
pub(super) fn decode(
    lua: &Lua,
    text: &[u8],
    depth: usize,
    look: Look<'_>,
) -> Result<Value, String> {
    let depth = depth.min(DEEPEST);
    let lookout = Lookout::new(look);
    let decoder = Decoder { lua, depth, left: depth, marked: false, lookout: &lookout };
    let problem = match decoder.decode(text) {
        Ok(value) => return Ok(value),
        Err(e) => e,
    };
    let Some(marked) = loose::mark(text) else {
        return Err(lookout.or(format!("Can't parse JSON: {problem}")));
    };
    let value = Decoder { marked: true, ..decoder }.decode(&marked.text);
    value.map_err(|e| {
        let (line, column) = (e.line(), e.column());
        let (text, place) = (e.to_string(), format!(" at line {line} column {column}"));
        let text = text.strip_suffix(&place).unwrap_or(&text);
        let column = marked.column(line, column);
        lookout.or(format!("Can't parse JSON: {text} at line {line} column {column}"))
    })
}

/// Decodes one value.
#[derive(Clone, Copy)]
struct Decoder<'a> {
    lua: &'a Lua,
    depth: usize,
    /// How many more nested arrays and objects are allowed.
    left: usize,
    lookout: &'a Lookout<'a>,
    /// Whether the text has marks of [`loose`].
    marked: bool,
}

impl Decoder<'_> {
    fn decode(self, text: &[u8]) -> Result<Value, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(text);
        let value = self.deserialize(&mut reader)?;
        reader.end().map(|()| value)
    }

    /// The buffer that a table with two fields encodes, if it does.
    fn buffer(self, table: &Table) -> mlua::Result<Option<Value>> {
        let kind: Value = table.raw_get("t")?;
        let text: Value = table.raw_get("base64")?;
        let (Value::String(kind), Value::String(text)) = (kind, text) else {
            return Ok(None);
        };
        if *kind.as_bytes() != *b"buffer" {
            return Ok(None);
        }
        match BASE64.decode(&*text.as_bytes()) {
            Ok(bytes) => self.lua.create_buffer(bytes).map(|buffer| Some(Value::Buffer(buffer))),
            Err(_) => Ok(None),
        }
    }

    fn inner<E: serde_core::de::Error>(self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Decoder { left, ..self }),
            None => Err(E::custom(format!("nested deeper than {}", self.depth))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Decoder<'_> {
    type Value = Value;

    fn deserialize<D: serde_core::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        self.lookout.step(0).map_err(D::Error::custom)?;
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Decoder<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Value, E> {
        Ok(Value::Boolean(yes))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Number(n as f64))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(Value::Number(n as f64))
    }

    fn visit_f64<E>(self, n: f64) -> Result<Value, E> {
        Ok(Value::Number(n))
    }

    fn visit_str<E: serde_core::de::Error>(self, text: &str) -> Result<Value, E> {
        if self.marked {
            return match loose::meant(text) {
                Meant::Bytes(bytes) => self.lua.create_string(bytes).map(Value::String),
                Meant::Number(number) => Ok(Value::Number(number)),
            }
            .map_err(E::custom);
        }
        self.lua.create_string(text).map(Value::String).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let table = self.lua.create_table().map_err(A::Error::custom)?;
        let mut i = 0;
        while let Some(value) = items.next_element_seed(inner)? {
            i += 1;
            // A null leaves a gap in the array.
            if !value.is_nil() {
                table.raw_set(i, value).map_err(A::Error::custom)?;
            }
        }
        Ok(Value::Table(table))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let table = self.lua.create_table().map_err(A::Error::custom)?;
        let (mut count, mut has_m) = (0, false);
        while let Some(key) = fields.next_key_seed(inner)? {
            // A number is not a valid name of a field.
            let Value::String(name) = &key else {
                return Err(A::Error::custom("key must be a string"));
            };
            let is_m = *name.as_bytes() == *b"m";
            let value = fields.next_value_seed(inner)?;
            (count, has_m) = (count + 1, has_m || is_m && value.is_nil());
            table.raw_set(key, value).map_err(A::Error::custom)?;
        }
        if count == 3
            && has_m
            && let Some(buffer) = self.buffer(&table).map_err(A::Error::custom)?
        {
            return Ok(buffer);
        }
        Ok(Value::Table(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(_: usize) -> Result<(), String> {
        Ok(())
    }

    /// xorshift64: the same values in each run.
    struct Dice(u64);

    impl Dice {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, n: u64) -> u64 {
            self.next() % n
        }

        fn number(&mut self) -> f64 {
            if self.below(40) == 0 {
                return [f64::INFINITY, f64::NEG_INFINITY, f64::NAN][self.below(3) as usize];
            }
            let shift = self.below(64);
            let whole = (self.next() >> shift) as f64;
            let bits = f64::from_bits(self.next());
            [whole, -whole, whole / 1000.0, if bits.is_finite() { bits } else { -0.0 }]
                [self.below(4) as usize]
        }

        fn text(&mut self) -> String {
            let most = [0x20, 0x7F, 0x800, 0x11_0000];
            let one = |dice: &mut Dice| {
                let most = most[dice.below(4) as usize];
                char::from_u32(dice.below(most) as u32).unwrap_or('\\')
            };
            (0..self.below(12)).map(|_| one(self)).collect()
        }

        fn value(&mut self, lua: &Lua, depth: u64) -> Value {
            match self.below(if depth == 0 { 3 } else { 6 }) {
                5 => {
                    let bytes: Vec<u8> = (0..self.below(9)).map(|_| self.next() as u8).collect();
                    Value::Buffer(lua.create_buffer(bytes).unwrap())
                }
                0 => Value::Boolean(self.below(2) == 1),
                1 => Value::Number(self.number()),
                2 => Value::String(lua.create_string(self.text()).unwrap()),
                kind => {
                    let table = lua.create_table().unwrap();
                    for i in 1..=self.below(6) {
                        let value = self.value(lua, depth - 1);
                        if kind == 3 {
                            table.raw_set(i, value).unwrap();
                        } else {
                            table.raw_set(self.text(), value).unwrap();
                        }
                    }
                    Value::Table(table)
                }
            }
        }
    }

    fn bits(value: &Value) -> Option<u64> {
        value.as_number().or(value.as_integer().map(|n| n as f64)).map(f64::to_bits)
    }

    fn same(a: &Value, b: &Value) -> bool {
        if let (Value::Buffer(a), Value::Buffer(b)) = (a, b) {
            return a.to_vec() == b.to_vec();
        }
        let (Value::Table(x), Value::Table(y)) = (a, b) else {
            return bits(a) == bits(b) && (bits(a).is_some() || a == b);
        };
        let within = |x: &Table, y: &Table| {
            x.pairs::<Value, Value>().map(Result::unwrap).all(|(key, value)| {
                let other: Value = y.raw_get(key).unwrap();
                same(&value, &other)
            })
        };
        within(x, y) && within(y, x)
    }

    #[test]
    fn what_is_encoded_is_decoded_as_it_was() {
        let (lua, mut dice) = (Lua::new(), Dice(0x9E37_79B9_7F4A_7C15));
        for i in 0..3000 {
            let value = dice.value(&lua, 4);
            let text = encode(&lua, &value, 100, usize::MAX, &free).unwrap();
            let shown = String::from_utf8_lossy(&text);
            let back = decode(&lua, &text, 100, &free).unwrap();
            assert!(same(&value, &back), "{i}: {shown}");
            assert_eq!(encode(&lua, &back, 100, usize::MAX, &free).unwrap(), text, "{i}: {shown}");
        }
    }

    #[test]
    fn damaged_text_gives_an_error_or_a_value() {
        const ODD: &[u8] = b"[]{}\",:\\u0-e \xFF\0";
        let (lua, mut dice) = (Lua::new(), Dice(0xD1B5_4A32_D192_ED03));
        for _ in 0..2000 {
            let value = dice.value(&lua, 3);
            let mut text = encode(&lua, &value, 100, usize::MAX, &free).unwrap();
            for _ in 0..=dice.below(3) {
                let at = dice.below(text.len() as u64) as usize;
                text[at] = ODD[dice.below(ODD.len() as u64) as usize];
            }
            if let Err(problem) = decode(&lua, &text, 100, &free) {
                assert!(problem.contains(" at line "), "{problem}");
            }
        }
    }

    #[test]
    fn tables_that_share_tables_end_at_the_bound() {
        let lua = Lua::new();
        let shared = lua.load("local t = {} for i = 1, 90 do t = { t, t } end return t");
        let problem = encode(&lua, &shared.eval().unwrap(), 100, 10_000, &free).unwrap_err();
        assert!(problem.starts_with("cannot encode more than 10000 bytes"), "{problem}");
    }

    #[test]
    fn no_limit_goes_deeper_than_the_parser() {
        let lua = Lua::new();
        let nested = |n| ["[".repeat(n), "]".repeat(n)].concat();
        let value = decode(&lua, nested(127).as_bytes(), usize::MAX, &free).unwrap();
        assert_eq!(
            encode(&lua, &value, usize::MAX, usize::MAX, &free).unwrap(),
            nested(127).as_bytes()
        );
        let problem = decode(&lua, nested(128).as_bytes(), usize::MAX, &free).unwrap_err();
        assert_eq!(problem, "Can't parse JSON: recursion limit exceeded at line 1 column 128");
        assert!(decode(&lua, b"{}", 0, &free).is_err() && decode(&lua, b"1", 0, &free).is_ok());
    }
}
