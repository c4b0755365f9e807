//! A project outside of the repository that has nothing but the packed crates. It runs the example
//! in the README on each backend.

use std::fmt::Write;
use std::fs;

use super::pack::{self, Packed};
use crate::error::{Error, Result};
use crate::process;
use crate::release::{outside, write};
use crate::server::RedisServer;
use crate::workspace::Workspace;

/// The example's backend, which the others take the place of.
const IN_MEMORY: &str = "MemoryRedis::new().backend()";

/// A program for each backend: its name, and the expression that makes the backend.
const PROGRAMS: [(&str, &str); 3] = [
    ("example_on_memory", IN_MEMORY),
    (
        "example_on_redis_rs",
        "sio_streams_redis_rs::RedisBackend::new(&std::env::args().nth(1).unwrap()).unwrap()",
    ),
    ("example_on_fred", "sio_streams_fred::FredBackend::new(&std::env::args().nth(1).unwrap()).unwrap()"),
];

/// The dependencies of the project, besides tokio.
const CRATES: [&str; 4] =
    ["sio-streams-core", "sio-streams-driver", "sio-streams-redis-rs", "sio-streams-fred"];

/// Printed at the end of each program, so that one that ends early is noticed.
const DONE: &str = "the example came to its end";

pub(super) fn run(workspace: &Workspace) -> Result<()> {
    let packed = pack::again(workspace)?;
    let readme = workspace.path("README.md");
    let readme = fs::read_to_string(&readme).map_err(|e| Error::file(readme, e))?;
    let example = example(&readme)
        .ok_or_else(|| Error::unreadable("README.md", format!("no example in Rust has {IN_MEMORY}")))?;

    let directory = outside("project")?;
    let programs = directory.join("src/bin");
    fs::create_dir_all(&programs).map_err(|e| Error::file(&programs, e))?;
    write(directory.join("Cargo.toml"), &manifest(&packed)?)?;
    super::same_versions(workspace, &directory)?;
    for (name, backend) in PROGRAMS {
        write(programs.join(format!("{name}.rs")), &program(&example, backend))?;
    }
    process::run(workspace.cargo_outside().arg("build").current_dir(&directory))?;
    let built = workspace.path("target/debug");

    let redis = RedisServer::start()?;
    for (name, _) in PROGRAMS {
        let mut command = workspace.command(built.join(name).as_os_str());
        let output = process::read(command.arg(redis.url()).current_dir(&directory))?;
        if !output.lines().any(|line| line == DONE) {
            return Err(Error::unreadable(
                format!("what the example printed on {name}"),
                format!("it should end with {DONE:?}, and is {output:?}"),
            ));
        }
        crate::say(format_args!("the example in the README runs: {name}"));
    }
    Ok(())
}

/// Names the packed crates as their users do. What stands in for the registry is at the end.
fn manifest(packed: &[Packed]) -> Result<String> {
    let mut text =
        "[package]\nname = \"outside\"\nedition = \"2024\"\npublish = false\n\n[dependencies]\n".to_owned();
    for name in CRATES {
        let one = packed.iter().find(|one| one.origin.name == name);
        let one = one.ok_or_else(|| Error::missing(format!("{name} was not packed"), "publish it"))?;
        let _ = writeln!(text, "{name} = \"{}\"", one.origin.version);
    }
    text += "tokio = { version = \"1\", features = [\"rt-multi-thread\", \"time\"] }\n\n";
    text += &pack::patches(packed);
    Ok(text)
}

/// The README's example in Rust, with the lines that a page does not show.
fn example(readme: &str) -> Option<String> {
    let mut blocks = readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next());
    let block = blocks.find(|block| block.contains(IN_MEMORY))?;
    let lines = block.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
    Some(lines.map(|line| format!("    {line}\n")).collect())
}

fn program(example: &str, backend: &str) -> String {
    let body = example.replace(IN_MEMORY, backend);
    format!("#![allow(unused_imports)]\n\nfn main() {{\n{body}    println!(\"{DONE}\");\n}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_taken_from_the_page() {
        let readme = "```rust\nlet other = 1;\n```\n\n```rust\nuse a;\n# hidden(\nstart(MemoryRedis::new().backend());\n```\nafter";
        let example = example(readme).unwrap();
        assert_eq!(example, "    use a;\n    hidden(\n    start(MemoryRedis::new().backend());\n");
        assert!(program(&example, "other()").contains("start(other());\n    println!"));
        assert_eq!(super::example("no example"), None);
    }

    #[test]
    fn the_page_has_such_an_example() {
        let workspace = Workspace::find().unwrap();
        let readme = fs::read_to_string(workspace.path("README.md")).unwrap();
        assert!(example(&readme).is_some());
    }
}
