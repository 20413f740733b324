//! §1, rules 2 and 3: held messages are delivered before `OnClose`, for every kind of listener, in
//! any order of attaching, before and after the connection has ended.

use super::raw::{Peer, Raw, close, serve, text};
use super::support::*;

/// Sends three messages and closes.
fn three() -> Raw<Vec<String>> {
    serve(|listener| {
        let all = [text("m1"), text("m2"), text("m3"), close(1000, "")].concat();
        Peer::open_with(listener, "", &all).frames()
    })
}

/// When a script attaches its listeners: at once, or after the connection has ended.
const WHEN: [(&str, &str); 2] = [
    ("before the end", ""),
    ("after it", "until_true(function() return ws.State == 'Closed' end)"),
];

/// Listeners that take all three messages.
const TAKE: [(&str, &str); 6] = [
    ("Connect", "ws.OnMessage:Connect(say)"),
    (
        "Once",
        "local function again()
            ws.OnMessage:Once(function(m) again() say(m) end)
        end
        again()",
    ),
    (
        "Once, with pauses",
        "local function again()
            ws.OnMessage:Once(function(m) say(m) task.wait() again() end)
        end
        again()",
    ),
    ("Wait", "task.spawn(function() while true do say(ws.OnMessage:Wait()) end end)"),
    (
        "Wait, with pauses",
        "task.spawn(function() while true do say(ws.OnMessage:Wait()) task.wait() end end)",
    ),
    // The first listener gets only one of them.
    ("Once and Connect", "ws.OnMessage:Once(function() end) ws.OnMessage:Connect(say)"),
];

const END: [(&str, &str); 3] = [
    ("Connect", "ws.OnClose:Connect(over)"),
    ("Once", "ws.OnClose:Once(over)"),
    ("Wait", "task.spawn(function() ws.OnClose:Wait() over() end)"),
];

/// Runs `when` and `attach` for a connection to `three`. Returns the lines that they printed.
fn lines(rt: &mut Rt, when: &str, attach: &str) -> Vec<String> {
    let server = three();
    let script = format!(
        "local ws = WebSocket.connect(...)
        local function say(m) print(m) end
        local function over() print('close ' .. ws.CloseCode) end
        {when}
        {attach}"
    );
    let output = rt.says(&script, server.url());
    server.end();
    output
}

both! {
    fn messages_come_before_the_end_in_every_combination(mode) {
        let mut rt = Rt::new(mode);
        for (time, when) in WHEN {
            for (taker, take) in TAKE {
                for (listener, end) in END {
                    for order in [[take, end], [end, take]] {
                        let output = lines(&mut rt, when, &order.join("\n"));
                        let what = format!("{time}: {taker}, OnClose {listener}, {order:?}");
                        assert_eq!(output, ["m1", "m2", "m3", "close 1000"], "{what}");
                    }
                }
            }
        }
    }

    // Deferred threads run at the end of the resumption. A listener that they attach receives the
    // messages before `OnClose`.
    fn what_is_deferred_belongs_to_the_resumption(mode) {
        let mut rt = Rt::new(mode);
        for (_, when) in WHEN {
            let output = lines(&mut rt, when, "ws.OnClose:Connect(over)
                task.defer(function()
                    task.defer(function() ws.OnMessage:Connect(say) end)
                end)");
            assert_eq!(output, ["m1", "m2", "m3", "close 1000"]);
        }
    }

    // OnClose does not wait for messages that no listener takes.
    fn a_listener_that_takes_fewer_has_those_before_the_end(mode) {
        let mut rt = Rt::new(mode);
        for (_, when) in WHEN {
            for take in [
                "ws.OnMessage:Once(say)",
                "task.spawn(function() say(ws.OnMessage:Wait()) end)",
                "local one
                one = ws.OnMessage:Connect(function(m) one:Disconnect() say(m) end)",
            ] {
                for order in [[take, END[0].1], [END[0].1, take]] {
                    let output = lines(&mut rt, when, &order.join("\n"));
                    assert_eq!(output, ["m1", "close 1000"], "{when} {order:?}");
                }
            }
        }
    }

    fn a_listener_that_goes_before_it_gets_any_puts_nothing_off(mode) {
        let mut rt = Rt::new(mode);
        let output = lines(&mut rt, WHEN[1].1, "ws.OnClose:Connect(over)
            ws.OnMessage:Connect(say):Disconnect()
            task.wait()
            print('next step')");
        assert_eq!(output, ["close 1000", "next step"]);
    }

    // Rule 3: the end is reported at the next resumption, which is before the next step.
    fn without_a_listener_for_messages_the_end_is_reported_at_once(mode) {
        let mut rt = Rt::new(mode);
        for (listener, end) in END {
            let output = lines(&mut rt, WHEN[1].1, &format!("{end}
                print('attached')
                task.wait()
                print('next step')
                ws.OnMessage:Connect(say)"));
            let want = ["attached", "close 1000", "next step", "m1", "m2", "m3"];
            assert_eq!(output, want, "{listener}");
        }
    }

    // OnClose waits once for a script that stops taking messages. Later listeners are called at
    // once.
    fn the_end_is_put_off_once_and_then_reported_at_once(mode) {
        let mut rt = Rt::new(mode);
        for (_, when) in WHEN {
            let output = lines(&mut rt, when, "say(ws.OnMessage:Wait())
                ws.OnClose:Wait()
                over()
                ws.OnClose:Connect(over)
                task.wait()
                print('next step')
                say(ws.OnMessage:Wait())");
            assert_eq!(output, ["m1", "close 1000", "close 1000", "next step", "m2"], "{when}");
        }
    }

    fn two_connections_do_not_wait_for_each_other(mode) {
        let (first, second) = (three(), three());
        let script = "local a, b = ...
            a, b = WebSocket.connect(a), WebSocket.connect(b)
            until_true(function() return a.State == 'Closed' and b.State == 'Closed' end)
            local log = {}
            local function to(name)
                return function(m) table.insert(log, name .. (m or ' over')) end
            end
            a.OnClose:Connect(to('a'))
            b.OnClose:Connect(to('b'))
            b.OnMessage:Once(to('b'))
            task.wait()
            eq(table.concat(log, ', '), 'a over, bm1')
            b.OnMessage:Connect(to('b'))
            b.OnClose:Wait()
            eq(table.concat(log, ', '), 'a over, bm1, bm2, bm3, b over')
            done()";
        passes(mode, script, (first.url(), second.url()));
        first.end();
        second.end();
    }
}
