//! Large messages become garbage. Memory stays in proportion to the live data, and so does the work
//! of the collector (`src/luau/collector.rs`). The tests count bytes and cycles, and measure no
//! time.

use moonwire::mlua::Lua;

use super::common::{Peer, Scripted, frame, serve};
use super::support::*;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A server that sends `count` binary messages of `size` bytes, all different, and closes.
fn flood(count: usize, size: usize) -> Scripted<()> {
    serve(move |mut peer: Peer| {
        peer.accept(b"");
        let mut message = frame(0x82, &vec![b'x'; size]);
        let end = message.len();
        for i in 0..count as u64 {
            message[end - 8..].copy_from_slice(&i.to_be_bytes());
            peer.write(&message);
        }
        peer.write(&[0x88, 2, 0x03, 0xE8]);
        peer.rest();
    })
}

/// Prints the live bytes before and after the messages, the peak at a message, the number of the
/// collector's cycles (each clears the weak entry), and the number of messages.
const SCRIPT: &str = r#"local url, kind, bytes = ...
    local live
    if kind == "flat" then
        live = table.create(bytes // 16, 1)
    else
        live = table.create(bytes // 128)
        for i = 1, bytes // 128 do live[i] = { i, i, i, i } end
    end
    full()
    local before, most, cycles, messages = used(), 0, 0, 0
    local weak = setmetatable({ {} }, { __mode = "v" })
    local kept = {}
    local ws = WebSocket.connect(url, { BinaryType = if kind == "buffers" then "buffer" else nil })
    ws.OnMessage:Connect(function(message)
        messages += 1
        most = math.max(most, used())
        if weak[1] == nil then
            cycles += 1
            weak[1] = {}
        end
        if kind == "kept" and messages % 4 == 0 then
            table.insert(kept, message)
        end
    end)
    ws.OnClose:Wait()
    assert(#live > 0 or bytes == 0)
    full()
    print(before, used(), most, cycles, messages)"#;

/// Runs `SCRIPT` and returns the numbers that it printed.
fn run(mode: Mode, kind: &str, live: usize, count: usize, size: usize) -> [usize; 5] {
    run_in(Rt::new(mode), kind, live, count, size)
}

fn run_in(mut rt: Rt, kind: &str, live: usize, count: usize, size: usize) -> [usize; 5] {
    let server = flood(count, size);
    let lua = rt.runtime.lua();
    let used = lua.create_function(|lua: &Lua, ()| Ok(lua.used_memory())).unwrap();
    let full = lua.create_function(|lua: &Lua, ()| lua.gc_collect()).unwrap();
    lua.globals().set("used", used).unwrap();
    lua.globals().set("full", full).unwrap();
    let said = rt.says(SCRIPT, (server.url(), kind, live));
    server.join();
    let numbers: Vec<usize> = said[0].split(' ').map(|word| word.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

both! {
    fn large_messages_leave_less_garbage_than_lives_and_32_mib(mode) {
        for (kind, live, count, size) in [
            ("flat", 0, 128, MIB),
            ("flat", 16 * MIB, 128, MIB),
            ("tables", 16 * MIB, 128, MIB),
            ("tables", 16 * MIB, 3000, 32 * KIB),
            ("buffers", 16 * MIB, 128, MIB),
            ("kept", 16 * MIB, 128, MIB),
        ] {
            let [before, after, most, _, messages] = run(mode, kind, live, count, size);
            let case = format!("{kind} {live} {count}×{size}: {before} to {after}, most {most}");
            assert_eq!(messages, count, "{case}");
            assert!(before >= live && after >= before, "{case}");
            assert!(most < 2 * after + 32 * MIB, "{case}");
        }
    }

    /// Garbage counts against the limit, and Luau refuses memory without collecting it.
    fn large_messages_fit_beside_a_heap_that_nearly_fills_the_limit(mode) {
        for (kind, live) in [("flat", 48 * MIB), ("tables", 24 * MIB), ("buffers", 32 * MIB)] {
            let limit = live + live / 8 + 8 * MIB;
            let rt = Rt::with(mode, |options| options.memory_limit(Some(limit)));
            let [before, _, most, _, messages] = run_in(rt, kind, live, 64, MIB);
            let case = format!("{kind}: {before}, most {most}, limit {limit}");
            assert!(messages == 64 && most <= limit, "{case}");
        }
    }

    /// The collector marks the live data when the garbage has reached a part of its size, not for
    /// each message.
    fn a_large_heap_is_not_marked_for_each_large_message(mode) {
        for (kind, live, count, size) in [
            ("flat", 64 * MIB, 64, MIB),
            ("flat", 64 * MIB, 1000, 64 * KIB),
            ("tables", 16 * MIB, 64, MIB),
        ] {
            let [before, _, most, cycles, _] = run(mode, kind, live, count, size);
            // Twice the expected number, since Luau also starts cycles itself.
            let at_most = 2 + 2 * count * size / (2 * MIB + live / 4);
            let case = format!("{kind} {live} {count}×{size}: {before}, most {most}");
            assert!((1..=at_most).contains(&cycles), "{cycles} cycles, {at_most} at most: {case}");
        }
    }
}
