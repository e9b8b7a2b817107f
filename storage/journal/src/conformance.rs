//! The contract of every [`JournalState`] (J6), as one check. Feature `test-util`.
//!
//! A leader applies commands as they come, a standby later, a cold reader from a snapshot on: all
//! must come to the same state. A clock, a random number or an unordered map in `apply` is found
//! here.

use bytes::Bytes;

use crate::state::{CommandError, JournalState};

/// Two ways of reading the same commands come to different states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayDivergence {
    /// The second state, restored from a snapshot behind so many commands, is another one.
    #[error("state differs when it is restored behind {applied} commands")]
    Different {
        /// Commands applied before the snapshot.
        applied: usize,
    },
    /// A command or a snapshot of the state's own is refused.
    #[error("state refuses its own bytes")]
    Refused(#[source] CommandError),
}

/// Applies `commands` straight, and again with a snapshot behind each of them in turn; all ways
/// must end with the same snapshot. Work grows with the square of the number of commands.
///
/// # Errors
/// [`ReplayDivergence`]: the state is not fit for a journal.
pub fn replay_conformance<S: JournalState>(commands: &[Bytes]) -> Result<(), ReplayDivergence> {
    let straight = apply_all(S::empty(), commands)?.snapshot();
    for applied in 0..=commands.len() {
        let (first, second) = commands.split_at(applied);
        let parts = apply_all(S::empty(), first)?.snapshot();
        let restored = S::restore(&parts).map_err(ReplayDivergence::Refused)?;
        if apply_all(restored, second)?.snapshot() != straight {
            return Err(ReplayDivergence::Different { applied });
        }
    }
    Ok(())
}

fn apply_all<S: JournalState>(mut state: S, commands: &[Bytes]) -> Result<S, ReplayDivergence> {
    for command in commands {
        state.apply(command).map_err(ReplayDivergence::Refused)?;
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use esker_env::Rng;

    use super::*;
    use crate::fixtures::{Log, log_of};

    /// Draws a number for each command, as a state with a clock of its own would.
    #[derive(Debug)]
    struct Drawing {
        log: Log,
        rng: Rng,
    }

    impl JournalState for Drawing {
        type Outcome = usize;

        fn empty() -> Self {
            Self::restore(&[]).unwrap()
        }

        fn apply(&mut self, _: &Bytes) -> Result<usize, CommandError> {
            self.log.apply(&Bytes::from(self.rng.u64().to_string()))
        }

        fn snapshot(&self) -> Vec<Bytes> {
            self.log.snapshot()
        }

        fn restore(parts: &[Bytes]) -> Result<Self, CommandError> {
            let log = Log::restore(parts)?;
            let rng = Rng::from_os();
            Ok(Self { log, rng })
        }
    }

    #[test]
    fn a_command_that_is_not_deterministic_is_found() {
        let commands = log_of(&["a", "b", "c"]).commands;

        assert_eq!(replay_conformance::<Log>(&commands), Ok(()));
        assert_eq!(
            replay_conformance::<Drawing>(&commands),
            Err(ReplayDivergence::Different { applied: 0 })
        );
    }

    #[test]
    fn a_state_that_refuses_its_own_commands_is_found() {
        let commands = log_of(&["unreadable"]).commands;

        assert!(matches!(
            replay_conformance::<Log>(&commands),
            Err(ReplayDivergence::Refused(_))
        ));
    }
}
