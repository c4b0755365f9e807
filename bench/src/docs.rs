//! The measurements in `docs/performance.md`: they stand between marks, and are never written by
//! hand.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Something that may go wrong.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A file of the repository.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn page() -> PathBuf {
    file("docs/performance.md")
}

fn kept(section: &str) -> PathBuf {
    file("bench/results").join(section).with_extension("json")
}

/// Keeps figures, and shows them: `text` stands between the marks of the section from now on.
///
/// # Errors
///
/// If the page has no such marks, or a file can't be written.
pub fn publish(section: &str, figures: &impl Serialize, text: &str) -> Result<()> {
    keep(section, figures)?;
    show(section, text)
}

/// Puts a text between the marks of a section.
///
/// # Errors
///
/// If the page has no such marks, or can't be written.
pub fn show(section: &str, text: &str) -> Result<()> {
    let shown = replaced(&fs::read_to_string(page())?, section, text)?;
    Ok(fs::write(page(), shown)?)
}

/// Keeps figures.
///
/// # Errors
///
/// If the file can't be written.
fn keep(section: &str, figures: &impl Serialize) -> Result<()> {
    let kept = kept(section);
    if let Some(directory) = kept.parent() {
        fs::create_dir_all(directory)?;
    }
    Ok(fs::write(kept, serde_json::to_string_pretty(figures)? + "\n")?)
}

/// The figures that were kept, if any were.
///
/// # Errors
///
/// If they can't be read.
pub fn figures<T: DeserializeOwned>(section: &str) -> Result<Option<T>> {
    match fs::read(kept(section)) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The text of the page between the marks.
///
/// # Errors
///
/// If it has no such marks.
pub fn shown(section: &str) -> Result<String> {
    let text = fs::read_to_string(page())?;
    let (begin, end) = between(&text, section)?;
    Ok(text[begin..end].trim().to_owned())
}

fn between(text: &str, section: &str) -> Result<(usize, usize)> {
    let missing = || format!("docs/performance.md has no marks <!-- {section} --> and <!-- /{section} -->");
    let begin = format!("<!-- {section} -->");
    let from = text.find(&begin).ok_or_else(missing)? + begin.len();
    let to = text[from..].find(&format!("<!-- /{section} -->")).ok_or_else(missing)?;
    Ok((from, from + to))
}

fn replaced(text: &str, section: &str, with: &str) -> Result<String> {
    let (begin, end) = between(text, section)?;
    Ok(format!("{}\n{}\n{}", &text[..begin], with.trim(), &text[end..]))
}

/// The day: a `date` of the system's.
pub fn today() -> String {
    let date = std::process::Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    date.map_or_else(|_| "some day".into(), |out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// The number and the model of the processors.
pub fn processors() -> String {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    match model {
        Some((_, model)) => format!("{count} × {}", model.trim()),
        None => format!("{count} processors"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let page = "a\n<!-- x -->\nold\n<!-- /x -->\nb <!-- y --><!-- /y -->";
        let new = replaced(page, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- x -->\nnew\n<!-- /x -->\nb <!-- y --><!-- /y -->");
        assert_eq!(replaced(&new, "x", "new").unwrap(), new);
        assert!(replaced(page, "z", "new").is_err());
    }
}
