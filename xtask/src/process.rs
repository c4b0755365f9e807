//! Running other programs. They get no standard input, since nothing here may wait for a person.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// Prints the command and runs it. All of its output goes to standard error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    run_to(command, io::stderr().into())
}

/// Prints the command and runs it, with the standard output of this program.
pub(crate) fn run_on_stdout(command: &mut Command) -> Result<()> {
    run_to(command, Stdio::inherit())
}

fn run_to(command: &mut Command, stdout: Stdio) -> Result<()> {
    eprintln!("+ {}", line(command));
    let status =
        command.stdin(Stdio::null()).stdout(stdout).status().map_err(|source| not_run(command, source))?;
    match status.success() {
        true => Ok(()),
        false => Err(Error::Failed { command: line(command), status }),
    }
}

/// Runs the command without printing it, and returns its standard output.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| not_run(command, source))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(Error::Failed { command: line(command), status: output.status }),
    }
}

/// Asks a program for something. Returns `None` if there is no such program that may be run, and an
/// empty answer if it failed.
pub(crate) fn ask(command: &mut Command) -> Result<Option<String>> {
    match command.stdin(Stdio::null()).stderr(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()))
        }
        Ok(_) => Ok(Some(String::new())),
        // Permission is also denied if a directory of the PATH can't be searched and no other has
        // the program.
        Err(source) if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => Ok(None),
        Err(source) => Err(not_run(command, source)),
    }
}

/// Returns `true` if the program can be run with these arguments, and succeeds.
pub(crate) fn succeeds(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn not_run(command: &Command, source: io::Error) -> Error {
    Error::NotRun { command: line(command), source }
}

/// The command as a person would type it: with its environment variables, but without the directory
/// of the program and the text of scripts.
pub(crate) fn line(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}={}", name.to_string_lossy(), quoted(&value.to_string_lossy())));
        }
    }
    let program = Path::new(command.get_program());
    words.push(program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned());
    words.extend(command.get_args().map(|arg| quoted(&arg.to_string_lossy())));
    words.join(" ")
}

fn quoted(word: &str) -> String {
    match word {
        script if script.contains('\n') => "'..'".to_owned(),
        plain if !plain.is_empty() && !plain.contains([' ', '\'', '"', '*', '$', ';', '|', '&']) => {
            plain.to_owned()
        }
        other => format!("'{other}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_typed_again() {
        let mut command = Command::new("/somewhere/bin/cargo");
        command.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--no-deps"]);
        assert_eq!(line(&command), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps");
    }

    #[test]
    fn a_script_is_not_spelled_out() {
        let mut command = Command::new("sh");
        command.args(["-c", "a\nb", "sh", "redis-server"]);
        assert_eq!(line(&command), "sh -c '..' sh redis-server");
    }

    #[test]
    fn a_program_that_is_not_there() {
        assert!(ask(&mut Command::new("no-such-program-anywhere")).unwrap().is_none());
        assert!(!succeeds("no-such-program-anywhere", &[]));
    }
}
