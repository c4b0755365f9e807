//! The results of a curve, and their table.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// The result of a curve.
#[derive(Debug, Serialize, Deserialize)]
pub struct Found {
    /// The load, which grows.
    pub of: String,
    /// The work.
    pub work: String,
    /// `true` if the work is done for all of it.
    pub grows: bool,
    /// The number of instructions for each size.
    pub costs: Vec<(usize, u64)>,
    /// The exponent of the growth, at the largest sizes.
    pub exponent: f64,
    /// `true` if it grows too much.
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
