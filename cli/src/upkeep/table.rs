//! Columns for people: texts to the left, numbers to the right.

use unicode_width::UnicodeWidthStr;

/// Where the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// What is between two columns.
const GAP: &str = "   ";

/// The rows below their headings, in columns as wide as a terminal shows them. No
/// line ends with a space.
pub fn table(columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let headings: Vec<_> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&headings).chain(rows).collect();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.width()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: &&Vec<String>| {
        let padded = cells.iter().zip(columns).zip(&widths);
        let padded: Vec<String> = padded
            .map(|((cell, (_, align)), width)| {
                let pad = " ".repeat(width.saturating_sub(cell.width()));
                match align {
                    Align::Left => format!("{cell}{pad}"),
                    Align::Right => format!("{pad}{cell}"),
                }
            })
            .collect();
        padded.join(GAP).trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_as_a_terminal_shows_them() {
        let columns = [
            ("NAME", Align::Left),
            ("SIZE", Align::Right),
            ("STATE", Align::Left),
        ];
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [
            row(["main", "1.2 GB", "whole"]),
            row(["\u{65e5}\u{672c}x", "5 B", ""]),
        ];
        let expected = "\
NAME      SIZE   STATE
main    1.2 GB   whole
\u{65e5}\u{672c}x      5 B";
        assert_eq!(table(&columns, &rows), expected);
    }
}
