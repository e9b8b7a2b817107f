//! Processor time and memory of processes, from `/proc`.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::numbers;

/// Clock ticks a second in `/proc/*/stat`: fixed at 100 for user space on Linux.
const TICKS_PER_SECOND: f64 = 100.0;
const MIB: f64 = 1024.0 * 1024.0;

/// A process whose use is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    id: u32,
}

/// What it used up to now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Use {
    /// User and system time, in seconds.
    pub(crate) cpu_seconds: f64,
}

impl Meter {
    pub(crate) fn of(id: u32) -> Self {
        Self { id }
    }

    fn file(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.id))
    }

    fn read(self, name: &str) -> anyhow::Result<String> {
        let path = self.file(name);
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    /// Its use since it started.
    pub(crate) fn used(self) -> anyhow::Result<Use> {
        let (user, system) = self.ticks(11)?;
        Ok(Use {
            cpu_seconds: (user + system) / TICKS_PER_SECOND,
        })
    }

    /// Processor time of its children that ended and were waited for, in seconds.
    pub(crate) fn of_ended_children(self) -> anyhow::Result<f64> {
        let (user, system) = self.ticks(13)?;
        Ok((user + system) / TICKS_PER_SECOND)
    }

    /// Two neighbouring fields of `stat`, counted behind the name in parentheses.
    fn ticks(self, first: usize) -> anyhow::Result<(f64, f64)> {
        let stat = self.read("stat")?;
        let (_, fields) = stat.rsplit_once(')').context("stat has a name")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let field = |at: usize| -> anyhow::Result<f64> {
            let text = fields.get(at).context("stat is short")?;
            Ok(numbers::of(text.parse()?))
        };
        Ok((field(first)?, field(first + 1)?))
    }

    /// Its largest resident memory since [`Self::forget_peak`], in MiB.
    pub(crate) fn peak_mib(self) -> anyhow::Result<f64> {
        self.status("VmHWM:")
    }

    /// Its resident memory, in MiB.
    pub(crate) fn resident_mib(self) -> anyhow::Result<f64> {
        self.status("VmRSS:")
    }

    fn status(self, name: &str) -> anyhow::Result<f64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next());
        let kib: u64 = kib.context("status is short")?.parse()?;
        Ok(numbers::of(kib) * 1024.0 / MIB)
    }

    /// Measures the peak from here on.
    pub(crate) fn forget_peak(self) -> anyhow::Result<()> {
        std::fs::write(self.file("clear_refs"), "5").context("reset the peak of memory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_use_is_read() {
        let own = Meter::of(std::process::id());

        own.forget_peak().unwrap();

        assert!(own.used().unwrap().cpu_seconds >= 0.0);
        assert!(own.of_ended_children().unwrap() >= 0.0);
        assert!(own.peak_mib().unwrap() >= own.resident_mib().unwrap() * 0.5);
        assert!(Meter::of(u32::MAX).used().is_err());
    }
}
