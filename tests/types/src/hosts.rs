//! What `moonwire types --host` prints, the host files themselves, and the scripts of their worlds.

use crate::definitions;
use crate::{BOTH, Solver, TYPES, errors_under, root};

const WORLD: &str = include_str!("../../../src/luau/hosts/world.d.luau");
const STUDIO: &str = include_str!("../../../src/luau/hosts/studio.d.luau");
const EXECUTOR: &str = include_str!("../../../src/luau/hosts/executor.d.luau");

/// In the form of `HostFile::types`.
fn types(host: &str) -> String {
    let (own, player) = if host == "studio" { (STUDIO, "nil") } else { (EXECUTOR, "Player") };
    definitions::with(TYPES, &[&WORLD.replace("LOCAL_PLAYER", player), own])
}

fn errors(solver: Solver, host: &str, script: &str) -> Vec<String> {
    errors_under(solver, &types(host), &format!("--!strict\n{script}"))
}

const ANY: &str = "any";
const BOTH_HOSTS: [&str; 2] = ["studio", "executor"];

#[test]
fn what_scripts_of_a_world_write_passes() {
    let mut wrong = Vec::new();
    for (host, script) in [
        (
            ANY,
            "local R = game:GetService('RunService') \
               local c = R.Heartbeat:Connect(function(passed) print(passed + 1) end) c:Disconnect() \
               local at, passed = R.Stepped:Wait() print(at + passed, R:IsStudio())",
        ),
        (
            ANY,
            "game:GetService('LogService').MessageOut:Connect(function(text, kind) \
               print(#text, kind == Enum.MessageType.MessageError) end)",
        ),
        (
            ANY,
            "local f = Instance.new('Folder') f.Name = 'x' f.Parent = game \
               local m = Instance.new('ModuleScript', f) m.Source = 'return 1' print(m:GetFullName())",
        ),
        (
            ANY,
            "local v = Instance.new('StringValue') v.Value = 'x' v.Changed:Connect(print) \
               v:SetAttribute('a', 1) v.Parent = game.ReplicatedStorage v:Destroy()",
        ),
        (
            ANY,
            "local e = Instance.new('BindableEvent') e.Event:Connect(function(a, b) print(a, b) end) e:Fire(1, 'x')",
        ),
        (
            ANY,
            "local f = Instance.new('BindableFunction') f.OnInvoke = function(a, b) return a end print(f:Invoke(1, 2))",
        ),
        (
            ANY,
            "local f = game.ReplicatedStorage:WaitForChild('x', 5) print(f.y.z) \
               for _, child in game.ReplicatedStorage:GetChildren() do print(child.Name, child:IsA('Folder')) end",
        ),
        (
            ANY,
            "local child = game.ReplicatedStorage:FindFirstChild('x') if child then child:Destroy() end",
        ),
        (
            ANY,
            "print(game.PlaceId + 1, #game.JobId, DateTime.now():ToIsoDate(), DateTime.fromUnixTimestamp(5).UnixTimestamp + 1)",
        ),
        (
            ANY,
            "local h = game:GetService('HttpService') local r = h:RequestAsync({ Url = 'http://a' }) print(r.Success, #r.Body)",
        ),
        (
            ANY,
            "for _, player in game:GetService('Players'):GetPlayers() do print(player.Name, player.UserId + 1) end",
        ),
        (
            "executor",
            "local me = game:GetService('Players').LocalPlayer print(me.Name .. me.DisplayName, me.UserId + 1)",
        ),
        (
            "executor",
            "local r = request({ Url = 'http://a', Method = 'POST', Headers = { A = 'b' }, Body = 'x' }) \
                      print(r.StatusCode + 1, r.Headers['a'])",
        ),
        (
            "executor",
            "local ws: WebSocket = syn.websocket.connect('ws://a') ws:Send('b') print(request({ Url = 'a', Proxy = 'b' }).Body)",
        ),
        (
            "executor",
            "local send = http_request or request or (syn and syn.request) or (http and http.request) print(send({ Url = 'a' }).Body)",
        ),
        (
            "executor",
            "local text: string = game:HttpGet('http://a') local more: string = game:HttpGetAsync('http://a', true) print(text .. more)",
        ),
        ("executor", "local f = loadstring(game:HttpGet('http://a')) if f then f() end"),
        (
            "executor",
            "local h = cloneref(game:GetService('HttpService')) print(h:JSONEncode(5), (identifyexecutor()))",
        ),
        (
            "executor",
            "game:GetService('StarterGui'):SetCore('SendNotification', { Title = 'a', Text = 'b' })",
        ),
        ("studio", "game:GetService('HttpService').HttpEnabled = true"),
        (
            "studio",
            "local b = plugin:CreateToolbar('a'):CreateButton('b', 'c', 'd') b.Click:Connect(function() b:SetActive(true) end) b.Enabled = false",
        ),
        (
            "studio",
            "plugin:SetSetting('a', { 1 }) print(plugin:GetSetting('a')) plugin.Unloading:Connect(function() end)",
        ),
        (
            "studio",
            "local H = game:GetService('ChangeHistoryService') local id = H:TryBeginRecording('a') \
                    if id then H:FinishRecording(id, Enum.FinishRecordingOperation.Commit, nil) end",
        ),
        (
            "studio",
            "local S = game:GetService('Selection') S:Set({ Instance.new('Folder', game:GetService('ServerStorage')) }) print(#S:Get())",
        ),
        ("studio", "print(script.Name, game:GetService('StudioService'):GetUserId() + 1)"),
    ] {
        for host in BOTH_HOSTS.into_iter().filter(|its| host == ANY || host == *its) {
            for solver in BOTH {
                for error in errors(solver, host, script) {
                    wrong.push(format!("{solver:?}, {host}: {error}: {script}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_not_in_a_world_does_not_pass() {
    let mut taken = Vec::new();
    for (host, script) in [
        (ANY, "game:GetService('Workspace')"),
        (ANY, "game:GetService('RunService').Heartbeat:Connect(5)"),
        (ANY, "game:GetService('RunService').Heartbeats:Wait()"),
        (ANY, "local function g(f: Folder) f.Value = 5 end g(nil :: any)"),
        (ANY, "local function g(v: StringValue) v.Value = 5 end g(nil :: any)"),
        (ANY, "local function g(v: NumberValue) v.Parent = 5 end g(nil :: any)"),
        (ANY, "Instance.new('Part')"),
        (ANY, "print(Enum.MessageType.MessageLoud)"),
        (ANY, "DateTime.fromUnixTimestamp('x')"),
        (ANY, "local n: number = game.JobId print(n)"),
        (ANY, "game.ReplicatedStorage:FindFirstChild(5)"),
        ("executor", "plugin:CreateToolbar('x')"),
        ("executor", "request({ url = 'http://a' })"),
        ("executor", "request('http://a')"),
        ("executor", "game:HttpGet(5)"),
        ("executor", "game:GetService('Selection')"),
        ("executor", "print(game.Players.LocalPlayer.Nme)"),
        ("studio", "request({ Url = 'http://a' })"),
        ("studio", "game:HttpGet('http://a')"),
        ("studio", "print(game.Players.LocalPlayer.Name)"),
        ("studio", "plugin:CreateToolbar()"),
        ("studio", "game:GetService('HttpService').HttpEnabled = 5"),
    ] {
        for host in BOTH_HOSTS.into_iter().filter(|its| host == ANY || host == *its) {
            for solver in BOTH {
                if errors(solver, host, script).is_empty() {
                    taken.push(format!("{solver:?}, {host}: {script}"));
                }
            }
        }
    }
    assert!(taken.is_empty(), "{taken:#?}");
}

/// Names that a host file can use besides those of scripts.
const HOST: &str = "
declare host: {
	player: { Name: string, UserId: number },
	place: number,
	version: string,
	missing: (what: string) -> (),
	service: (name: string, object: any) -> (),
	global: (name: string, value: any) -> (),
	enum: (name: string, items: { string }) -> any,
	object: (class: string, members: { [string]: any }) -> any,
	extend: (object: any, members: { [string]: any }) -> (),
	signal: (...((heard: boolean) -> ())) -> (any, (...any) -> ()),
	steps: (f: (passed: number) -> ()) -> (on: boolean) -> (),
	output: (f: (text: string, is_warning: boolean, is_raise: boolean) -> ()) -> (),
	use: (name: string) -> any,
}
";

/// The old solver: its findings in files without annotations are errors.
#[test]
fn host_files_pass_and_a_mistake_in_them_does_not() {
    let definitions = definitions::with(TYPES, &[HOST]);
    for name in ["world", "studio", "executor"] {
        let path = root().join(format!("src/luau/hosts/{name}.luau"));
        let text = std::fs::read_to_string(path).unwrap();
        let check =
            |text: &str| errors_under(Solver::Old, &definitions, &format!("--!nonstrict\n{text}"));
        let errors = check(&text);
        assert!(errors.is_empty(), "{name}: {errors:#?}");
        for (right, wrong) in
            [("host.service(", "host.services("), ("error(", "eror("), ("typeof(", "typof(")]
        {
            if text.contains(right) {
                assert!(!check(&text.replacen(right, wrong, 1)).is_empty(), "{name}: {wrong}");
            }
        }
    }
}

/// Every name that the runtime has is declared.
#[test]
fn scripts_of_the_worlds_find_all_their_names() {
    let (mut count, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(root().join("tests/luau/worlds")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let host = text.lines().next().unwrap().split("--host ").nth(1).unwrap();
        let found = errors_under(Solver::Old, &types(host), &format!("--!nonstrict\n{text}"));
        // Tables that get a field later are not an error.
        let found = found.iter().filter(|error| !error.contains("not found in table"));
        wrong.extend(found.map(|error| format!("{}: {error}", path.display())));
        count += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count >= 22, "{count}");
}
