//! Texts that a program prints, kept beside the test: a change of them is seen in the review.

use std::path::Path;

use anyhow::{Context as _, ensure};

use esker_testkit::variable;

/// Compares `text` with the file. With `ESKER_UPDATE_GOLDEN=1` the file becomes the text.
///
/// # Errors
/// They differ: the first line that does is told.
pub fn check_golden(file: &Path, text: &str) -> anyhow::Result<()> {
    if variable("ESKER_UPDATE_GOLDEN").is_some() {
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(file, text)?;
        return Ok(());
    }
    let hint = "ESKER_UPDATE_GOLDEN=1 takes the new text over";
    let kept = std::fs::read_to_string(file)
        .with_context(|| format!("read {}: {hint}", file.display()))?;
    let mut lines = kept.lines().zip(text.lines());
    let differs = lines.find(|(kept, now)| kept != now);
    ensure!(
        kept == text,
        "{} is not what is printed: {hint}\nfirst difference: {differs:?}\nprinted:\n{text}",
        file.display()
    );
    Ok(())
}
