//! What was found, and how it is shown.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// What was found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Found {
    /// Of what there are more and more.
    pub of: String,
    /// The work.
    pub work: String,
    /// Whether it is done for all of it.
    pub grows: bool,
    /// How many instructions it takes, by how many there are.
    pub costs: Vec<(usize, u64)>,
    /// By which power of their number it grows, where there are many.
    pub exponent: f64,
    /// Whether it grows too much.
    pub too_much: bool,
}

/// As a table in Markdown.
pub fn table(all: &[Found]) -> String {
    let mut out =
        String::from("| of | work | instructions, by their number | exponent | |\n|---|---|---|---:|---|\n");
    for found in all {
        let costs: Vec<String> = found
            .costs
            .iter()
            .map(|(size, cost)| match found.grows {
                // For one of them.
                true => format!("{size}: {} each", cost / *size as u64),
                false => format!("{size}: {cost}"),
            })
            .collect();
        let _ = writeln!(
            out,
            "| {} | {} | {} | {:.2} | {} |",
            found.of,
            found.work,
            costs.join(", "),
            found.exponent,
            if found.too_much { "**too much**" } else { "" }
        );
    }
    out
}
