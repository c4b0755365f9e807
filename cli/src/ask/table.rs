//! Columns of text.

use std::io::{self, Write};

use crate::tail::text::clean;

/// A table whose columns are as wide as their widest cell.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
    /// The columns with numbers, which are aligned to the right.
    numbers: [bool; N],
}

impl<const N: usize> Table<N> {
    /// Creates a table. A heading that begins with `>` is that of a column of numbers.
    pub(crate) fn new(headings: [&str; N]) -> Self {
        let numbers = headings.map(|heading| heading.starts_with('>'));
        let heading = headings.map(|heading| heading.trim_start_matches('>').to_owned());
        Table { rows: vec![heading], numbers }
    }

    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| clean(&cell).into_owned()));
    }

    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), number) in row.iter().zip(widths).zip(self.numbers) {
                let gap = " ".repeat(width - cell.chars().count());
                let (before, behind) = if number { (&*gap, "") } else { ("", &*gap) };
                line.push_str(before);
                line.push_str(cell);
                line.push_str(behind);
                line.push_str("  ");
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let mut table = Table::new(["NAME", ">COUNT", "REST"]);
        table.row(["ä".into(), "1".into(), "x\x1b[2J".into()]);
        table.row(["longer".into(), "1000000".into(), String::new()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "NAME      COUNT  REST\nä             1  x\\u001b[2J\nlonger  1000000\n");
    }
}
