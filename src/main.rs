//! The `moonwire` command; all of it is in `cli`.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    moonwire::cli::main()
}
