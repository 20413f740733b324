//! The script side as its contract describes it: `WebSocket` and `websocket`, signals, `task`, the
//! command, and an embedder's VM. Every test that uses the network runs with the reactor on the
//! VM's thread and on one of its own.

#![cfg(all(feature = "luau", feature = "cli", feature = "tls"))]

/// A test of both ways to drive the reactor: `both! { fn name(mode) { … } }`.
macro_rules! both {
    ($($(#[$note:meta])* fn $name:ident($mode:ident) $body:block)*) => {$(
        $(#[$note])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            #[test]
            fn inline() {
                let $mode = Mode::Inline;
                $body
            }

            #[test]
            fn poll_thread() {
                let $mode = Mode::Threaded;
                $body
            }
        }
    )*};
}

#[path = "../common/mod.rs"]
mod common;

mod coded;
mod command;
mod command_connect;
mod command_stream;
mod command_tape;
mod command_tls;
mod compress;
mod connect;
mod delivery;
mod embed;
mod events;
mod faults;
mod garbage;
mod growth;
mod held;
mod hosts;
mod http_service;
mod inert;
mod io;
mod io_command;
#[cfg(feature = "jit")]
mod jit;
mod lifetime;
mod limits;
mod loops;
mod messages;
mod modules;
mod object;
mod output;
mod parts;
mod paused;
mod proxy;
mod put_off;
mod raw;
mod refusals;
mod requests;
mod scheduler;
mod scripts;
mod secrets;
mod short_paths;
mod signals;
mod slow;
mod slow_end;
mod stand_in;
mod stand_in_order;
mod stats;
mod stranded;
mod stream_creation;
mod stream_errors;
mod stream_input;
mod stream_life;
mod stream_order;
mod streams;
mod support;
mod time_limit;
mod too_big;
mod turns;
mod types;
mod web_stream_client;
mod worlds;
mod ws_requests;
