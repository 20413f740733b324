//! JSON for scripts: encodes Luau values, and decodes to Luau values. `serde_json` reads and writes
//! the text; this file converts the values.
//!
//! Tables are read raw, so no code of a script runs meanwhile. The number of Luau values held at a
//! time is at most the depth of nesting, since mlua can hold only a bounded number.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::fmt;
use std::io::{self, Write as _};
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mlua::{IntoLua, Lua, Table, Value};
use serde_core::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::loose::{self, Meant};
use crate::proto::escape;

/// The deepest nesting that `serde_json` reads, whatever the limit is.
const DEEPEST: usize = 127;

/// Whole numbers up to this have no exponent: a double represents each of them exactly.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// The work calls it at intervals, with the number of bytes made so far. An error ends the work,
/// and is its result.
type Look<'a> = &'a dyn Fn(usize) -> Result<(), String>;

/// How many values pass between two calls of [`Look`].
const LOOK: u32 = 256;

/// Calls [`Look`] at intervals.
struct Lookout<'a> {
    look: Look<'a>,
    steps: Cell<u32>,
    /// The error of [`Look`] that has ended the work, if any.
    stopped: RefCell<Option<String>>,
}

impl<'a> Lookout<'a> {
    fn new(look: Look<'a>) -> Lookout<'a> {
        Lookout { look, steps: Cell::new(0), stopped: RefCell::new(None) }
    }

    /// Counts a value; the caller has to end all of the work after an error.
    fn step(&self, bytes: usize) -> Result<(), String> {
        self.steps.set(self.steps.get().wrapping_add(1));
        if !self.steps.get().is_multiple_of(LOOK) {
            return Ok(());
        }
        (self.look)(bytes).inspect_err(|why| *self.stopped.borrow_mut() = Some(why.clone()))
    }

    /// The error of the work: that of [`Look`] if it has ended the work, or else `problem`.
    fn or(self, problem: String) -> String {
        self.stopped.into_inner().unwrap_or(problem)
    }
}

/// Encodes a value as JSON: at most `depth` nested tables, about `most` bytes in all. (Tables that
/// share tables can expand to more text than any memory holds.)
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

/// Why a value cannot be encoded, and where it is: the steps of its path, the innermost first.
struct Problem {
    text: String,
    steps: Vec<String>,
}

/// The fields of an object, sorted by name. Their texts are parts of one string: a string of its
/// own for each would cost more than its bytes.
struct Fields {
    texts: String,
    all: Vec<Field>,
}

/// A field: its name, as a part of [`Fields::texts`], and its value.
struct Field {
    name: Range<usize>,
    /// The key, if it is a number.
    number: Option<f64>,
    value: Met,
}

/// What is known about a value since its key was read.
enum Met {
    /// A boolean or a number: mlua holds nothing for such a value.
    Plain(Value),
    /// A copied text: a part of [`Fields::texts`].
    Text(Range<usize>),
    /// A table, a buffer, a long text, or a value that cannot be encoded: it is looked up later.
    Later,
}

/// The longest text that is copied when its key is read, so that it need not be looked up later.
const COPIED: usize = 1024;

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
            Value::String(text) => match str::from_utf8(&text.as_bytes()) {
                Ok(text) => self.string(text),
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

    /// Writes base64 in an object that marks it as a buffer, as in Roblox. (Roblox often compresses
    /// a buffer, and then marks it as `zbase64`; it reads both forms.)
    fn buffer(&mut self, buffer: &mlua::Buffer) -> Result<(), Problem> {
        // A buffer that is too long is refused before it is copied.
        if buffer.len() / 3 * 4 > self.most {
            return Err(format!("more than {} bytes", self.most).into());
        }
        self.push("{\"m\":null,\"t\":\"buffer\",\"base64\":\"")?;
        self.push(&BASE64.encode(buffer.to_vec()))?;
        self.push("\"}")
    }

    fn number(&mut self, n: f64) -> Result<(), Problem> {
        // This is not JSON, but Roblox documents it.
        if n.is_nan() {
            self.push("nan")
        } else if n.is_infinite() {
            self.push(if n > 0.0 { "inf" } else { "-inf" })
        } else if n == 0.0 && n.is_sign_negative() {
            self.push("-0")
        } else if n.fract() == 0.0 && n.abs() <= WHOLE {
            let written = write!(self.out, "{}", n as i64);
            self.written(written)
        } else {
            let written = serde_json::to_writer(&mut self.out, &n).map_err(io::Error::from);
            if self.out.ends_with(b".0") {
                self.out.truncate(self.out.len() - 2);
            }
            self.written(written)
        }
    }

    /// Checks the result of a write to `out`, and its length.
    fn written(&mut self, result: io::Result<()>) -> Result<(), Problem> {
        result.map_err(|e| Problem::from(e.to_string()))?;
        self.push("")
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
        let fields = self.fields(table)?;
        if fields.all.is_empty() {
            return self.push("[]");
        }
        for (i, field) in fields.all.iter().enumerate() {
            self.push(if i == 0 { "{" } else { "," })?;
            let name = fields.text(&field.name);
            self.string(name)?;
            self.push(":")?;
            self.field(table, &fields, field)
                .map_err(|problem| problem.inside(step(field, name)))?;
        }
        self.push("}")
    }

    /// Writes the value of a field.
    fn field(&mut self, table: &Table, fields: &Fields, field: &Field) -> Result<(), Problem> {
        match &field.value {
            Met::Plain(value) => self.value(value),
            Met::Text(text) => {
                self.lookout.step(self.out.len())?;
                self.string(fields.text(text))
            }
            Met::Later => {
                let value = match field.number {
                    Some(n) => get(table, n),
                    None => get(table, fields.text(&field.name)),
                };
                self.value(&value?)
            }
        }
    }

    /// Reads the fields of an object and sorts them, so that equal tables give equal texts.
    fn fields(&self, table: &Table) -> Result<Fields, Problem> {
        let (mut fields, mut problem) = (Fields { texts: String::new(), all: Vec::new() }, None);
        // Texts beyond the bound are not copied: encoding fails later, and says where.
        let room = self.most.saturating_sub(self.out.len());
        let all = table.for_each(|key: Value, value: Value| {
            if problem.is_some() {
                return Ok(());
            }
            let step = self.lookout.step(self.out.len());
            if let Err(text) = step.and_then(|()| fields.add(self.lua, key, &value, room)) {
                problem = Some(text);
            }
            Ok(())
        });
        if let Some(text) = problem.or(all.err().map(|e| e.to_string())) {
            return Err(text.into());
        }
        let Fields { texts, all } = &mut fields;
        all.sort_by(|a, b| texts[a.name.clone()].cmp(&texts[b.name.clone()]));
        // The table has the same key as a number and as a string.
        match all.windows(2).find(|pair| texts[pair[0].name.clone()] == texts[pair[1].name.clone()])
        {
            Some(pair) => {
                let name = quoted(&texts[pair[0].name.clone()]);
                Err(format!("two keys that are both written {name}").into())
            }
            None => Ok(fields),
        }
    }
}

fn get(table: &Table, key: impl mlua::IntoLua) -> Result<Value, Problem> {
    table.raw_get(key).map_err(|e| Problem::from(e.to_string()))
}

impl Fields {
    fn text(&self, of: &Range<usize>) -> &str {
        &self.texts[of.clone()]
    }

    /// Adds a field; copies a short text while at most `room` bytes are copied.
    fn add(&mut self, lua: &Lua, key: Value, value: &Value, room: usize) -> Result<(), String> {
        let number = match key {
            Value::Integer(n) => Some(n as f64),
            Value::Number(n) => Some(n),
            Value::String(_) => None,
            other => return Err(format!("a key of type {}", type_name(&other))),
        };
        // A number as `tostring` formats it.
        let text = lua.coerce_string(key).map_err(|e| e.to_string())?;
        let bytes = text.as_ref().map(|text| text.as_bytes());
        let name = bytes.as_deref().and_then(|bytes| str::from_utf8(bytes).ok());
        let name = self.copy(name.ok_or("a key that is not UTF-8")?);
        let value = match value {
            Value::Boolean(_) | Value::Integer(_) | Value::Number(_) => Met::Plain(value.clone()),
            Value::String(text) => {
                let bytes = text.as_bytes();
                let is_short = bytes.len() <= COPIED && self.texts.len() + bytes.len() <= room;
                match str::from_utf8(&bytes) {
                    Ok(text) if is_short => Met::Text(self.copy(text)),
                    _ => Met::Later,
                }
            }
            _ => Met::Later,
        };
        self.all.push(Field { name, number, value });
        Ok(())
    }

    fn copy(&mut self, text: &str) -> Range<usize> {
        let start = self.texts.len();
        self.texts.push_str(text);
        start..self.texts.len()
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escape(text.as_bytes(), 40))
}

/// The key as a step of a path in an error.
fn step(field: &Field, name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = name.as_bytes();
    let is_name = bytes.len() <= 40 && bytes.iter().all(|b| plain(*b));
    match bytes.first() {
        _ if field.number.is_some() => format!("[{name}]"),
        Some(first) if is_name && !first.is_ascii_digit() => format!(".{name}"),
        _ => format!("[{}]", quoted(name)),
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
        // The last steps show where the value is; a path of a hundred steps would not help.
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

/// Decodes a JSON text; at most `depth` nested arrays and objects.
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
    /// How many more arrays and objects may be nested.
    left: usize,
    lookout: &'a Lookout<'a>,
    /// Whether the text may have marks of [`loose`].
    marked: bool,
}

impl Decoder<'_> {
    fn decode(self, text: &[u8]) -> Result<Value, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(text);
        let whole = RefCell::new(Value::Nil);
        Put { decoder: self, place: Place::Whole(&whole) }.deserialize(&mut reader)?;
        reader.end().map(|()| whole.into_inner())
    }

    /// Converts a string of the text, which may have marks of [`loose`].
    fn meant<E: serde_core::de::Error>(self, text: &str) -> Result<Value, E> {
        match loose::meant(text) {
            Meant::Bytes(bytes) => self.lua.create_string(bytes).map(Value::String),
            Meant::Number(number) => Ok(Value::Number(number)),
        }
        .map_err(E::custom)
    }

    /// The buffer that a table with two fields describes, if it does.
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

/// The place of a value, which is put there as soon as it is read: to keep a value of mlua's
/// meanwhile would cost as much again.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// The value is the whole text.
    Whole(&'a RefCell<Value>),
    Item(&'a Table, i64),
    Field(&'a Table, &'a str),
    /// A field of a text with marks of [`loose`]; its name may be any bytes.
    Marked(&'a Table, &'a Value),
}

/// Decodes a value and puts it in its place. The result is whether the value is null.
struct Put<'a> {
    decoder: Decoder<'a>,
    place: Place<'a>,
}

impl Put<'_> {
    fn put<E: serde_core::de::Error>(self, value: impl IntoLua) -> Result<bool, E> {
        let put = match self.place {
            Place::Whole(whole) => {
                value.into_lua(self.decoder.lua).map(|value| drop(whole.replace(value)))
            }
            Place::Item(table, i) => table.raw_set(i, value),
            Place::Field(table, name) => table.raw_set(name, value),
            Place::Marked(table, name) => table.raw_set(name, value),
        };
        put.map(|()| false).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Put<'_> {
    type Value = bool;

    fn deserialize<D: serde_core::Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        self.decoder.lookout.step(0).map_err(D::Error::custom)?;
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Put<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: serde_core::de::Error>(self) -> Result<bool, E> {
        // A null leaves a gap in an array; in an object it removes an earlier field of that name.
        if !matches!(self.place, Place::Item(..)) {
            self.put::<E>(Value::Nil)?;
        }
        Ok(true)
    }

    fn visit_bool<E: serde_core::de::Error>(self, yes: bool) -> Result<bool, E> {
        self.put(yes)
    }

    fn visit_i64<E: serde_core::de::Error>(self, n: i64) -> Result<bool, E> {
        self.put(n as f64)
    }

    fn visit_u64<E: serde_core::de::Error>(self, n: u64) -> Result<bool, E> {
        self.put(n as f64)
    }

    fn visit_f64<E: serde_core::de::Error>(self, n: f64) -> Result<bool, E> {
        self.put(n)
    }

    fn visit_str<E: serde_core::de::Error>(self, text: &str) -> Result<bool, E> {
        if self.decoder.marked {
            let value = self.decoder.meant(text)?;
            return self.put(value);
        }
        self.put(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        let decoder = self.decoder.inner()?;
        let table = decoder.lua.create_table().map_err(A::Error::custom)?;
        let mut i = 1;
        while items.next_element_seed(Put { decoder, place: Place::Item(&table, i) })?.is_some() {
            i += 1;
        }
        self.put(table)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<bool, A::Error> {
        let decoder = self.decoder.inner()?;
        let table = decoder.lua.create_table().map_err(A::Error::custom)?;
        let (mut count, mut has_m) = (0, false);
        while let Some(name) = fields.next_key_seed(Name)? {
            decoder.lookout.step(0).map_err(A::Error::custom)?;
            let meant = if decoder.marked { Some(decoder.meant(&name)?) } else { None };
            let (place, is_m) = match &meant {
                None => (Place::Field(&table, &name), name == "m"),
                Some(name @ Value::String(text)) => {
                    (Place::Marked(&table, name), *text.as_bytes() == *b"m")
                }
                // A number is not a valid name of a field.
                Some(_) => return Err(A::Error::custom("key must be a string")),
            };
            let is_null = fields.next_value_seed(Put { decoder, place })?;
            (count, has_m) = (count + 1, has_m || is_m && is_null);
        }
        if count == 3
            && has_m
            && let Some(buffer) = decoder.buffer(&table).map_err(A::Error::custom)?
        {
            return self.put(buffer);
        }
        self.put(table)
    }
}

/// Reads the name of a field.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde_core::Deserializer<'de>>(
        self,
        reader: D,
    ) -> Result<Cow<'de, str>, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
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
