//! Colours: on a terminal only, and never where `NO_COLOR` or `--no-color` asks for none.

use std::io;
use std::io::IsTerminal as _;

use super::Plainness;

/// Whether a stream gets colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Colours,
}

/// What a text is, for the eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Heading,
    Good,
    Warning,
    Bad,
    /// Of little weight.
    Faint,
}

impl Paint {
    /// For what is written to stdout.
    pub(crate) fn of_stdout(plainness: Plainness) -> Self {
        Self::of(plainness, io::stdout().is_terminal())
    }

    /// For what is written to stderr.
    pub(crate) fn of_stderr(plainness: Plainness) -> Self {
        Self::of(plainness, io::stderr().is_terminal())
    }

    fn of(plainness: Plainness, is_terminal: bool) -> Self {
        match is_terminal && !plainness.no_color {
            true => Self::Colours,
            false => Self::Plain,
        }
    }

    /// The text in the colour of its tone.
    pub(crate) fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Heading => 1,
            Tone::Good => 32,
            Tone::Warning => 33,
            Tone::Bad => 31,
            Tone::Faint => 2,
        };
        match self {
            Self::Plain => text.to_owned(),
            Self::Colours => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_that_wants_colours_gets_them() {
        let plain = Plainness {
            no_color: true,
            ..Plainness::default()
        };

        assert_eq!(Paint::of(Plainness::default(), true), Paint::Colours);
        assert_eq!(Paint::of(Plainness::default(), false), Paint::Plain);
        assert_eq!(Paint::of(plain, true), Paint::Plain);
    }

    #[test]
    fn a_plain_text_stays_as_it_is() {
        assert_eq!(Paint::Plain.tone(Tone::Bad, "no"), "no");
        assert_eq!(
            Paint::Colours.tone(Tone::Bad, "no"),
            "\u{1b}[31mno\u{1b}[0m"
        );
    }
}
