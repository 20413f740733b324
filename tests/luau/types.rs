//! `moonwire.d.luau` and the runtime agree: every declared member exists, and every existing one is
//! declared.

use std::collections::{BTreeMap, BTreeSet};

use moonwire::luau::{GLOBALS, HostFile, Io, TYPES};

use super::support::{Mode, Rt};

type Names = BTreeSet<String>;

/// The declarations of the file.
#[derive(Default)]
struct Declared {
    globals: Names,
    /// The members of global tables and of types of userdata, without inherited ones.
    members: BTreeMap<String, Names>,
    extends: BTreeMap<String, String>,
}

/// The name with which a text starts.
fn name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn declared() -> Declared {
    declared_in(TYPES)
}

/// Parses the file line by line, which its layout allows.
fn declared_in(types: &str) -> Declared {
    let mut all = Declared::default();
    // The table or type whose members follow.
    let mut of: Option<String> = None;
    for line in types.lines().map(|line| line.split("--").next().unwrap().trim_end()) {
        if let Some(rest) = line.strip_prefix("declare extern type ") {
            of = Some(name(rest).to_owned());
            all.members.entry(name(rest).to_owned()).or_default();
            if let Some((_, base)) = rest.split_once(" extends ") {
                all.extends.insert(name(rest).to_owned(), name(base).to_owned());
            }
        } else if let Some(rest) = line.strip_prefix("declare function ") {
            all.globals.insert(name(rest).to_owned());
        } else if let Some(rest) = line.strip_prefix("declare ") {
            all.globals.insert(name(rest).to_owned());
            of = rest.ends_with('{').then(|| format!("global {}", name(rest)));
        } else if let Some(rest) = line.strip_prefix("export type ") {
            of = Some(name(rest).to_owned());
        } else if line == "end" || line == "}" {
            of = None;
        } else if let (Some(of), Some(member)) = (&of, line.strip_prefix('\t')) {
            let member = ["function ", "read "].iter().find_map(|word| member.strip_prefix(word));
            let member = member.unwrap_or(line.trim_start());
            all.members.entry(of.clone()).or_default().insert(name(member).to_owned());
        }
    }
    for (name, base) in &all.extends {
        let inherited = all.members[base].clone();
        all.members.get_mut(name).unwrap().extend(inherited);
    }
    for names in all.members.values_mut() {
        names.remove("");
    }
    all
}

#[test]
fn every_global_is_declared_and_every_declared_one_exists() {
    let offered = ["io", "exit", "args"];
    let exist: Names = GLOBALS.iter().chain(&offered).map(|g| (*g).to_owned()).collect();
    assert_eq!(declared().globals, exist);
}

#[test]
fn every_member_of_a_userdata_is_declared_and_every_declared_one_exists() {
    let declared = declared();
    let exist = Rt::new(Mode::Inline).runtime.members().unwrap();
    assert!(exist.len() >= 12, "{exist:#?}");
    for (name, members) in &exist {
        assert_eq!(declared.members.get(name), Some(members), "{name}");
    }
    let userdata = TYPES.lines().filter_map(|l| l.strip_prefix("declare extern type "));
    for name in userdata.map(name) {
        // For the type checker, the items of each enum have a separate type, without members.
        let kind = match declared.extends.get(name) {
            Some(base) if base == "EnumItem" => {
                assert_eq!(declared.members[name], declared.members[base], "{name}");
                base
            }
            _ => name,
        };
        assert!(exist.contains_key(kind), "{name} is declared and does not exist");
    }
}

#[test]
fn every_field_of_a_global_table_is_declared_and_every_declared_one_exists() {
    let declared = declared();
    for table in ["task", "coroutine", "WebSocket", "websocket", "io"] {
        let list = "local n = {} for k in (...) do table.insert(n, k) end table.sort(n) print(table.concat(n, ' '))";
        let script = format!("local t = {table} {}", list.replace("(...)", "t"));
        let nothing = Io::new(std::io::empty(), std::io::sink(), std::io::sink());
        let said = Rt::with(Mode::Inline, |options| options.io(nothing)).says(&script, ());
        let exist: Names = said[0].split(' ').map(str::to_owned).collect();
        assert_eq!(declared.members[&format!("global {table}")], exist, "{table}");
    }
}

/// A script can read each member.
#[test]
fn every_declared_member_can_be_read() {
    let declared = declared();
    let objects = [
        ("EnumHttpCompression", "Enum.HttpCompression"),
        ("EnumWebStreamClientState", "Enum.WebStreamClientState"),
        ("EnumWebStreamClientType", "Enum.WebStreamClientType"),
        ("EnumItem", "Enum.HttpCompression.None"),
        ("Enums", "Enum"),
        ("DataModel", "game"),
        ("HttpService", "game:GetService('HttpService')"),
        ("WebStreamClient", "client"),
        ("RBXScriptSignal", "client.Opened"),
        ("RBXScriptConnection", "client.Opened:Connect(print)"),
    ];
    let mut script = String::from(
        "local client = game:GetService('HttpService'):CreateWebStreamClient(\
         Enum.WebStreamClientType.RawStream, { Url = 'http://127.0.0.1:1/' })\n",
    );
    for (name, object) in objects {
        // These are nil before there is a value; tests/luau/refusals.rs reads them.
        for member in
            declared.members[name].iter().filter(|m| !["Response", "Stats"].contains(&&***m))
        {
            script += &format!("assert({object}.{member} ~= nil, '{name}.{member}')\n");
        }
    }
    script += "client:Close() print('all')";
    assert_eq!(Rt::new(Mode::Inline).says(&script, ()), ["all"]);
}

/// The types whose objects `Instance.new` does not make, each with an expression for an object.
const OF_HOSTS: [(&str, &str); 23] = [
    ("DataModel", "game"),
    ("Enums", "Enum"),
    ("HttpService", "game.HttpService"),
    ("RunService", "game.RunService"),
    ("LogService", "game.LogService"),
    ("Players", "game.Players"),
    ("Player", "game.Players.LocalPlayer"),
    ("ReplicatedStorage", "game.ReplicatedStorage"),
    ("ServerStorage", "game.ServerStorage"),
    ("ServerScriptService", "game.ServerScriptService"),
    ("StarterGui", "game.StarterGui"),
    ("StudioService", "game.StudioService"),
    ("ChangeHistoryService", "game.ChangeHistoryService"),
    ("Selection", "game.Selection"),
    ("Plugin", "plugin"),
    ("PluginScript", "script"),
    ("PluginToolbar", "plugin:CreateToolbar('x')"),
    ("PluginToolbarButton", "plugin:CreateToolbar('x'):CreateButton('y')"),
    ("MessageTypeItem", "Enum.MessageType.MessageError"),
    ("EnumMessageType", "Enum.MessageType"),
    ("FinishRecordingOperationItem", "Enum.FinishRecordingOperation.Commit"),
    ("EnumFinishRecordingOperation", "Enum.FinishRecordingOperation"),
    ("Instance", "Instance.new('Folder')"),
];

/// Members that are nil in these tests, or cannot be read.
const NIL: [&str; 6] = ["Parent", "LocalPlayer", "ActiveScript", "Character", "Team", "OnInvoke"];

fn with_host(host: &HostFile) -> Rt {
    Rt::with(Mode::Inline, |options| options.host(host.clone()))
}

#[test]
fn what_a_host_adds_is_declared_and_what_is_declared_exists() {
    let known = declared();
    let bare = Rt::new(Mode::Inline);
    let globals = |rt: &Rt| -> Names {
        let env = rt.runtime.lua().globals();
        let pairs = env.pairs::<String, moonwire::mlua::Value>();
        pairs.map(|pair| pair.unwrap().0).collect()
    };
    let mut lacking = Names::new();
    for host in [HostFile::studio(), HostFile::executor()] {
        let declared = declared_in(&host.types().unwrap());
        let mut rt = with_host(&host);
        let added = &globals(&rt) - &globals(&bare);
        assert_eq!(&declared.globals - &known.globals, added);
        // The script reads each member of one object of each type.
        let mut script = String::new();
        for (name, members) in &declared.members {
            let of = OF_HOSTS.iter().find(|(of, _)| of == name);
            // The world of Studio has no player.
            if name == "Player" && !declared.globals.contains("request") {
                continue;
            }
            let object = match of {
                Some((_, object)) => (*object).to_owned(),
                None if name.starts_with("global ") => name["global ".len()..].to_owned(),
                // These types describe tables that scripts pass or receive.
                None if known.members.contains_key(name) || !is_extern(&host, name) => continue,
                None => format!("Instance.new('{name}')"),
            };
            for member in members.iter().filter(|member| !NIL.contains(&&***member)) {
                if !name.starts_with("global ") || !known.members.contains_key(name) {
                    script += &format!(
                        "do local o = {object} assert(o.{member} ~= nil, '{name}.{member}') end\n"
                    );
                }
            }
        }
        assert!(script.lines().count() > 200, "{}", script.lines().count());
        assert_eq!(rt.says(&(script + "print('all')"), ()), ["all"]);
        // What there is of each class is declared.
        let exist = rt.runtime.members().unwrap();
        let mut classes = 0;
        for (name, members) in &exist {
            let declared = match name.strip_prefix("Enum").and(declared.members.get(name)) {
                Some(its) => its,
                None => declared.members.get(name).unwrap_or_else(|| panic!("{name}: {members:?}")),
            };
            lacking.extend((members - declared).iter().map(|member| format!("{name}.{member}")));
            classes += 1;
        }
        assert!(classes > 30, "{classes} {:?}", exist.keys());
    }
    assert_eq!(lacking, Names::new());
    assert!(HostFile::new("my.luau", "").types().is_none());
}

fn is_extern(host: &HostFile, name: &str) -> bool {
    host.types().unwrap().contains(&format!("\ndeclare extern type {name} "))
}
