//! The command's `--secret`, its variables, and `--stream-clients`.

use std::path::PathBuf;
use std::process::Command;

use super::command::{Live, Script, failed, printed};

/// A file for one test, removed with it.
struct File(PathBuf);

impl File {
    fn new(name: &str, bytes: &[u8]) -> File {
        let name = format!("secret-{}-{name}", std::process::id());
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&file, bytes).unwrap();
        File(file)
    }

    /// The option that names it.
    fn option(&self, name: &str) -> String {
        format!("--secret={name}=@{}", self.0.display())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // A file that cannot be removed does no harm.
        let _ = std::fs::remove_file(&self.0);
    }
}

const ASK: &str = r#"for _, name in { ... } do
    print(name, select(2, pcall(function()
        return typeof(game:GetService("HttpService"):GetSecret(name))
    end)))
end"#;

fn asks(options: &[&str], args: &[&str]) -> (Script, Command) {
    // Scripts are files, and tests run at the same time.
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let script = Script::new(&format!("ask-{n}"), ASK);
    let command = script.command(options, args);
    (script, command)
}

fn end(command: &mut Command) -> super::command::Ended {
    Live::start(command).end()
}

#[test]
fn secrets_come_from_files_and_from_variables() {
    let (one, two) = (File::new("one", b"hunter2\n"), File::new("two", b"hunter2"));
    let options = [&one.option("ONE")[..], "--secret", &two.option("TWO")["--secret=".len()..]];
    let (_script, mut command) = asks(&options, &["ONE", "TWO", "THREE"]);
    let command = command.env("MOONWIRE_SECRET_THREE", "hunter2");
    printed(&end(command), &["ONE Secret", "TWO Secret", "THREE Secret"]);
}

#[test]
fn one_that_is_not_there_raises_and_names_the_ways_to_give_it() {
    let (_script, mut command) = asks(&[], &["NAME", "A=B", "EMPTY"]);
    let ended = end(command.env("MOONWIRE_SECRET_EMPTY", ""));
    for (line, name) in ended.out.iter().zip(["NAME", "A=B", "EMPTY"]) {
        assert!(line.contains(&format!("there is no secret \"{name}\" (")), "{line}");
        assert!(line.contains(&format!("--secret {name}=@FILE")), "{line}");
        assert!(line.contains(&format!("MOONWIRE_SECRET_{name}")), "{line}");
    }
    assert_eq!((ended.out.len(), ended.status), (3, Some(0)));
}

#[test]
fn a_file_that_cannot_be_used_is_status_2() {
    let (_script, mut command) = asks(&["--secret=a=@/nowhere/at/all"], &[]);
    failed(&end(&mut command), 2, "moonwire: --secret: /nowhere/at/all: ");
    for (name, bytes, text) in [
        ("binary", &b"hunter2\xFF"[..], "the text is not UTF-8"),
        ("empty", b"", "the file is empty"),
        ("line", b"\r\n", "the file is empty"),
    ] {
        let file = File::new(name, bytes);
        let (_script, mut command) = asks(&[&file.option("a")], &[]);
        let ended = end(&mut command);
        failed(&ended, 2, text);
        assert!(!ended.err.contains("hunter2"), "{ended:?}");
    }
}

#[test]
fn a_value_on_the_command_line_is_refused() {
    let (_script, mut command) = asks(&["--secret", "KEY=hunter2"], &[]);
    let ended = end(&mut command);
    failed(&ended, 2, "other users of this machine can see the arguments of a process");
    assert!(ended.err.contains("KEY=@FILE") && !ended.err.contains("hunter2"), "{ended:?}");
}

#[test]
fn no_secret_is_printed_with_a_trace_either() {
    let file = File::new("trace", b"hunter2");
    let script = Script::new(
        "trace",
        r#"local secret = game:GetService("HttpService"):GetSecret("KEY")
print(secret, { secret }, typeof(secret:AddPrefix("Bearer ")))
warn(secret)
error(secret)"#,
    );
    let ended = script.run(&["--trace", &file.option("KEY")], &[]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.out[0].starts_with("Secret table: "), "{ended:?}");
    assert!(ended.err.contains("warning: Secret\n"), "{ended:?}");
    assert!(!format!("{ended:?}").contains("hunter2"), "{ended:?}");
}

#[test]
fn the_number_of_stream_clients_is_at_least_one() {
    let script = Script::new("clients", "print('ran')");
    printed(&script.run(&["--stream-clients", "1"], &[]), &["ran"]);
    failed(&script.run(&["--stream-clients=0"], &[]), 2, "not a whole number above 0");
}
