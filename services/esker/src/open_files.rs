//! Open files: the process takes as many as it may have, and holds its connections below that.
//!
//! Without it a flood of connections would take the last descriptor, and then nothing could be
//! written to the store or read from it either.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for the store, files, and HTTP.
const RESERVED: u64 = 512;

/// Kafka connections that the process may take: `wanted`, or what its open files allow.
pub(crate) fn connections_max(wanted: usize) -> usize {
    let files = raised();
    let connections = allowed(wanted, files);
    if connections < wanted {
        tracing::warn!(
            wanted,
            connections,
            open_files = files,
            "open files allow fewer kafka connections: raise the limit (ulimit -n)"
        );
    }
    connections
}

/// Raises the soft limit to the hard one. `None`: there is no limit.
fn raised() -> Option<u64> {
    let limits = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limits.maximum,
        maximum: limits.maximum,
    };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limits.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            limits.current
        }
    }
}

fn allowed(wanted: usize, files: Option<u64>) -> usize {
    let Some(files) = files else {
        return wanted;
    };
    let left = files.saturating_sub(RESERVED.min(files / 2));
    wanted
        .min(usize::try_from(left).unwrap_or(usize::MAX))
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_store() {
        assert_eq!(allowed(10_000, None), 10_000);
        assert_eq!(allowed(10_000, Some(10_512)), 10_000);
        assert_eq!(allowed(10_000, Some(10_511)), 9_999);
        assert_eq!(allowed(10_000, Some(256)), 128);
        assert_eq!(allowed(10_000, Some(0)), 1);
    }

    #[test]
    fn the_limit_of_this_process_can_be_raised_to_its_own_maximum() {
        let before = getrlimit(Resource::Nofile);

        assert_eq!(raised(), before.maximum);
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    }
}
