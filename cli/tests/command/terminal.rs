//! The program on a terminal: what is left there when it has ended.
#![cfg(unix)]

use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Stdio;

use crate::world::{CONTAINER, World, buildkit, text};

/// Both ends of a terminal of 80 columns and 24 lines.
fn terminal() -> (File, OwnedFd) {
    let (mut ours, mut theirs) = (0, 0);
    let mut size = libc::winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let (name, settings) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the descriptors and the size are ours, and the other two may be
    // null, for a terminal without a name and with the usual settings.
    let outcome = unsafe { libc::openpty(&mut ours, &mut theirs, name, settings, &raw mut size) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: both are open, and nothing else owns them.
    unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}

/// All that the program writes to a terminal.
fn run(world: &World, args: &[&str]) -> String {
    let (mut ours, theirs) = terminal();
    let mut command = world.command(args);
    command.env("TERM", "xterm");
    command.stdout(theirs.try_clone().expect("a descriptor"));
    command.stderr(theirs).stdin(Stdio::null());
    let mut child = command.spawn().expect("the program runs");
    // It holds the other end of the terminal.
    drop(command);
    let mut written = Vec::new();
    // A terminal ends with an error when nobody has its other end any more.
    let _ = ours.read_to_end(&mut written);
    child.wait().expect("it ends");
    String::from_utf8(written).expect("text")
}

/// The lines that are left on the screen, as far as the program's sequences go:
/// cursor up and down, and clearing lines.
fn left(written: &str) -> Vec<String> {
    let (mut lines, mut row, mut column) = (vec![Vec::new()], 0_usize, 0);
    let mut rest = written.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            '\u{1b}' => {
                rest.next_if_eq(&'[');
                let mut number = String::new();
                while let Some(digit) = rest.next_if(|c| c.is_ascii_digit() || ";?".contains(*c)) {
                    number.push(digit);
                }
                let count = number.parse().unwrap_or(1);
                match rest.next() {
                    Some('A') => row = row.saturating_sub(count),
                    Some('B') => row += count,
                    Some('K') if number == "2" => lines[row].clear(),
                    Some('K') => lines[row].truncate(column),
                    _ => {}
                }
            }
            c => {
                let line = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), Vec::new());
    }
    let lines = lines.into_iter();
    lines
        .map(|line| line.into_iter().collect::<String>())
        .collect()
}

#[test]
fn no_bar_is_left_however_a_command_ends() {
    let world = World::new();
    world
        .store
        .create_container(CONTAINER)
        .expect("a container");
    let (cache, dir) = (buildkit("local-max"), world.path("dir"));
    let (good, bad) = (world.cache("name=app"), world.cache("name=app,nmae=x"));
    let no_key = world.cache_without_key("name=app");
    let (cache, dir) = (text(&cache), text(&dir));
    for (args, bar, said) in [
        (&["check", "--to", &good][..], "checking", "write"),
        (
            &["check", "--to", &no_key],
            "checking",
            "error: not signed in",
        ),
        (
            &["check", "--to", &bad],
            "checking",
            "error: attribute `nmae`",
        ),
        (&["push", "--to", &good, cache], "sending", "pushed"),
        (
            &["push", "--to", &bad, cache],
            "sending",
            "error: attribute `nmae`",
        ),
        (&["pull", "--from", &good, dir], "fetching", "pulled into"),
        (
            &["pull", "--from", &bad, dir],
            "fetching",
            "error: attribute `nmae`",
        ),
        (
            &["pull", "--from", &format!("{bad},ignore-error=true"), dir],
            "fetching",
            "warning: ",
        ),
    ] {
        let written = run(&world, args);
        assert!(
            written.contains(bar),
            "no bar was there at all: {written:?}"
        );
        let left = left(&written).join("\n");
        assert!(!left.contains(bar), "{args:?} left a bar: {left}");
        assert!(left.contains(said), "{args:?} left {left}");
    }
}
