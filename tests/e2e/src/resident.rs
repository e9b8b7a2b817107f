//! How much memory a process holds and how many files it may open, seen from outside.

use anyhow::Context as _;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// The most memory that process `id` ever held, in bytes.
///
/// # Errors
/// It is gone.
pub fn resident_peak(id: u32) -> anyhow::Result<u64> {
    resident(id, "VmHWM:")
}

/// The memory that process `id` holds now, in bytes.
///
/// # Errors
/// It is gone.
pub fn resident_now(id: u32) -> anyhow::Result<u64> {
    resident(id, "VmRSS:")
}

fn resident(id: u32, row: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find(|line| line.starts_with(row));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    let kilobytes: u64 = kilobytes.with_context(|| format!("no {row}"))?.parse()?;
    Ok(kilobytes * 1024)
}

/// How many files process `id` has open now.
///
/// # Errors
/// It is gone.
pub fn open_files(id: u32) -> anyhow::Result<u64> {
    let files = std::fs::read_dir(format!("/proc/{id}/fd"))?;
    Ok(u64::try_from(files.count())?)
}

/// From now on process `id` may open so many files, its hard limit left as it is.
///
/// # Errors
/// The system refuses: not ours, or above the hard limit.
pub fn limit_open_files(id: u32, files: u64) -> anyhow::Result<()> {
    let pid = Pid::from_raw(i32::try_from(id)?).context("a process id is not 0")?;
    let hard = getrlimit(Resource::Nofile).maximum;
    let limits = Rlimit {
        current: Some(files),
        maximum: hard,
    };
    prlimit(Some(pid), Resource::Nofile, limits)?;
    Ok(())
}

/// As [`limit_open_files`], for the process and all that it may raise itself.
///
/// # Errors
/// As there.
pub fn limit_open_files_for_good(id: u32, files: u64) -> anyhow::Result<()> {
    let pid = Pid::from_raw(i32::try_from(id)?).context("a process id is not 0")?;
    let limits = Rlimit {
        current: Some(files),
        maximum: Some(files),
    };
    prlimit(Some(pid), Resource::Nofile, limits)?;
    Ok(())
}

/// Lets this process open as many files as it may; how many that is.
///
/// # Errors
/// The system refuses.
pub fn raise_open_files() -> anyhow::Result<u64> {
    let hard = getrlimit(Resource::Nofile).maximum;
    let limits = Rlimit {
        current: hard,
        maximum: hard,
    };
    setrlimit(Resource::Nofile, limits)?;
    Ok(hard.unwrap_or(u64::MAX))
}
