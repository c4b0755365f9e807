//! The configuration file: defaults for the options, and the passwords.
//!
//! Each line has the form `option = value`. The options are those of the command line, without the
//! dashes; `password` and `sentinel-password` are there in addition. `#` begins a comment line.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use clap::Command;

/// The environment variable with the path of the file.
const VARIABLE: &str = "SIO_STREAMS_CONFIG";

/// The file's name in the directory for configuration.
const NAME: &str = "sio-streams.conf";

/// The commands that take nothing from the file: the demo goes to a Redis server only if it is told
/// to by hand.
const APART: [&str; 3] = ["demo", "completions", "man"];

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("can't read {0}: {1}")]
    Read(String, io::Error),
    #[error("{0}:{1}: expected `option = value`")]
    Form(String, usize),
    #[error("{0}: a password needs a line `redis = …`, which says whose it is")]
    Whose(String),
    #[error("{0}:{1}: no command has the option {2:?}")]
    Unknown(String, usize, String),
}

/// The contents of the file.
#[derive(Clone, Default)]
pub(crate) struct File {
    path: String,
    options: Vec<(usize, String, String)>,
    password: Option<String>,
    sentinel_password: Option<String>,
}

/// Returns the path of the file, and whether it must be there.
fn path() -> Option<(PathBuf, bool)> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(path) = set(VARIABLE) {
        return Some((path.into(), true));
    }
    let directory = match (set("XDG_CONFIG_HOME"), set("HOME")) {
        (Some(directory), _) => PathBuf::from(directory),
        (None, Some(home)) => Path::new(&home).join(".config"),
        (None, None) => return None,
    };
    Some((directory.join(NAME), false))
}

impl File {
    /// Reads the file that the environment names, or the one in its usual place, if there is one.
    pub(crate) fn load() -> Result<Self, Error> {
        let Some((path, must_be)) = path() else { return Ok(File::default()) };
        let name = path.display().to_string();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_be => return Ok(File::default()),
            Err(error) => return Err(Error::Read(name, error)),
        };
        let file = File::parse(name, &text)?;
        if file.has_secrets() && others_may_read(&path) {
            // It works all the same.
            let _ = writeln!(io::stderr(), "warning: {} has a password, and others may read it", file.path);
        }
        Ok(file)
    }

    fn parse(path: String, text: &str) -> Result<Self, Error> {
        let mut file = File { path, ..File::default() };
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || Error::Form(file.path.clone(), number);
            let (name, value) = line.split_once('=').ok_or_else(wrong)?;
            let (name, value) = (name.trim(), value.trim().to_owned());
            match name {
                "" => return Err(wrong()),
                "password" => file.password = Some(value),
                "sentinel-password" => file.sentinel_password = Some(value),
                name => file.options.push((number, name.to_owned(), value)),
            }
        }
        match (&file.password, &file.sentinel_password, file.redis()) {
            (None, None, _) | (.., Some(_)) => Ok(file),
            _ => Err(Error::Whose(file.path)),
        }
    }

    fn redis(&self) -> Option<&str> {
        let (.., url) = self.options.iter().rfind(|(_, name, _)| name == "redis")?;
        Some(url)
    }

    /// Returns the password for this server. It is for no other than the one that the file names.
    pub(crate) fn password(&self, url: &str) -> Option<&str> {
        self.password.as_deref().filter(|_| self.redis() == Some(url))
    }

    /// Returns the password for this sentinel.
    pub(crate) fn sentinel_password(&self, url: &str) -> Option<&str> {
        self.sentinel_password.as_deref().filter(|_| self.redis() == Some(url))
    }

    fn has_secrets(&self) -> bool {
        let has_password =
            |(_, name, value): &(usize, String, String)| name == "redis" && value.contains('@');
        self.password.is_some() || self.sentinel_password.is_some() || self.options.iter().any(has_password)
    }

    /// Makes what the file says the defaults of all commands that have the options.
    pub(crate) fn apply(&self, mut command: Command) -> Result<Command, Error> {
        let commands: Vec<String> =
            command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
        for (number, option, value) in &self.options {
            let mut is_known = false;
            for name in commands.iter().filter(|name| !APART.contains(&name.as_str())) {
                command = command.mut_subcommand(name, |command| {
                    let is_it = |arg: &&clap::Arg| arg.get_long() == Some(option.as_str());
                    let Some(id) = command.get_arguments().find(is_it).map(|arg| arg.get_id().to_string())
                    else {
                        return command;
                    };
                    is_known = true;
                    // It lives as long as the program, as the names of options do.
                    let value: &'static str = value.clone().leak();
                    command.mut_arg(id, |arg| arg.default_value(value))
                });
            }
            if !is_known {
                return Err(Error::Unknown(self.path.clone(), *number, option.clone()));
            }
        }
        Ok(command)
    }
}

#[cfg(unix)]
fn others_may_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn others_may_read(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<File, Error> {
        File::parse("f".into(), text)
    }

    #[test]
    fn lines_are_read() {
        let file =
            parse("# A comment\n\n redis = redis://h/?a=b \npassword=p=w\nsentinel-password = s\n").unwrap();
        assert_eq!(file.options, [(3, "redis".to_owned(), "redis://h/?a=b".to_owned())]);
        let url = "redis://h/?a=b";
        assert_eq!((file.password(url), file.sentinel_password(url)), (Some("p=w"), Some("s")));
        // They are for no other server.
        assert_eq!((file.password("redis://other"), file.sentinel_password("redis://other")), (None, None));
        assert!(matches!(parse("password = p"), Err(Error::Whose(_))));
        for bad in ["redis", "= x"] {
            assert_eq!(
                parse(bad).err().map(|error| error.to_string()).as_deref(),
                Some("f:1: expected `option = value`")
            );
        }
    }

    #[test]
    fn what_no_command_has_is_an_error() {
        let command =
            || Command::new("c").subcommand(Command::new("s").arg(clap::Arg::new("a").long("max-len")));
        assert!(parse("max-len = 5").unwrap().apply(command()).is_ok());
        let error = parse("\nmaxlen = 5").unwrap().apply(command()).unwrap_err();
        assert_eq!(error.to_string(), "f:2: no command has the option \"maxlen\"");
    }
}
