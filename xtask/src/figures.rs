//! Tables of figures in the pages: each says which command wrote it.

use std::fs;

use crate::workspace::Workspace;

/// The beginnings of commands in a text.
const COMMANDS: [&str; 4] = ["`cargo ", "COMPILE_TIMES=", "`valgrind ", "bench/run.mjs`"];

/// The lines with tables of figures in whose section no command comes before them. A table has
/// figures if a column of it is aligned to the right.
fn unexplained(page: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    let mut said = false;
    for (number, line) in page.lines().enumerate() {
        if line.starts_with("# ") || line.starts_with("## ") {
            said = false;
        }
        said |= COMMANDS.iter().any(|command| line.contains(command));
        let is_rule = line.starts_with("|-") && line.chars().all(|c| "|-:".contains(c));
        if is_rule && line.contains("-:") && !said {
            lines.push(number + 1);
        }
    }
    lines
}

#[test]
fn tables_are_found_by_their_figures() {
    let table = "| a | b |\n|---|---:|\n| c | 1 |\n";
    let said = "`cargo xtask bench peers` wrote it:\n";
    assert_eq!(unexplained(&format!("# Page\n\n{table}")), [4]);
    assert!(unexplained(&format!("## Part\n{said}{table}### Again\n{table}")).is_empty());
    assert_eq!(unexplained(&format!("{said}## Part\n{table}")), [4]);
    assert!(unexplained("| a | b |\n|---|---|\n").is_empty());
}

#[test]
fn every_table_of_figures_says_which_command_wrote_it() {
    let workspace = Workspace::find().unwrap();
    let mut pages: Vec<_> = ["README.md", "adapter-node/README.md", "adapter-socketioxide/README.md"]
        .map(|page| workspace.path(page))
        .into();
    pages.extend(fs::read_dir(workspace.path("docs")).unwrap().map(|entry| entry.unwrap().path()));
    for page in pages.iter().filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let lines = unexplained(&fs::read_to_string(page).unwrap());
        assert!(lines.is_empty(), "{}: {lines:?}", page.display());
    }
}
