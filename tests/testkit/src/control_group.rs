//! Control groups: how much memory and processor time some processes may use.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A control group of one kind, removed on drop; its processes must have ended.
#[derive(Debug)]
pub struct ControlGroup {
    directory: PathBuf,
    is_v2: bool,
}

impl ControlGroup {
    /// A new group in the hierarchy of `controller`, told from others of this process by `name`;
    /// `None` where this process may not make one.
    #[must_use]
    pub fn make(controller: &str, name: &str) -> Option<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let controllers = std::fs::read_to_string(root.join("cgroup.controllers"));
        let is_v2 =
            controllers.is_ok_and(|list| list.split_whitespace().any(|one| one == controller));
        let parent = if is_v2 {
            root.to_owned()
        } else {
            root.join(controller)
        };
        let directory = parent.join(format!("esker-{name}-{}", std::process::id()));
        std::fs::create_dir(&directory).ok()?;
        Some(Self { directory, is_v2 })
    }

    fn set(&self, file: &str, value: &str) -> anyhow::Result<()> {
        let path = self.directory.join(file);
        std::fs::write(&path, value).with_context(|| format!("write {}", path.display()))
    }

    /// Holds its memory at so many bytes.
    ///
    /// # Errors
    /// The system refuses.
    pub fn limit_memory(&self, bytes: u64) -> anyhow::Result<()> {
        let file = if self.is_v2 {
            "memory.max"
        } else {
            "memory.limit_in_bytes"
        };
        self.set(file, &bytes.to_string())
    }

    /// Holds its processor time at so much of one core.
    ///
    /// # Errors
    /// The system refuses.
    pub fn limit_processor(&self, percent: u64) -> anyhow::Result<()> {
        let quota = percent * 1000;
        if self.is_v2 {
            return self.set("cpu.max", &format!("{quota} 100000"));
        }
        self.set("cpu.cfs_period_us", "100000")?;
        self.set("cpu.cfs_quota_us", &quota.to_string())
    }

    /// Takes a running process in.
    ///
    /// # Errors
    /// The system refuses.
    pub fn add(&self, process: u32) -> anyhow::Result<()> {
        self.set("cgroup.procs", &process.to_string())
    }

    /// How often its processes had used up their share.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn throttled(&self) -> anyhow::Result<u64> {
        let text = std::fs::read_to_string(self.directory.join("cpu.stat"))?;
        let mut rows = text
            .lines()
            .filter_map(|line| line.strip_prefix("nr_throttled "));
        Ok(rows.next().context("no nr_throttled")?.trim().parse()?)
    }

    /// Starts a process inside, so that all its memory counts.
    #[must_use]
    pub fn wrapper(&self) -> Vec<String> {
        const SCRIPT: &str = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
        let directory = self.directory.display().to_string();
        vec![
            "sh".to_owned(),
            "-c".to_owned(),
            SCRIPT.to_owned(),
            directory,
        ]
    }

    /// What its processes use now.
    ///
    /// # Errors
    /// The system refuses.
    pub fn used_bytes(&self) -> anyhow::Result<u64> {
        let file = if self.is_v2 {
            "memory.current"
        } else {
            "memory.usage_in_bytes"
        };
        let text = std::fs::read_to_string(self.directory.join(file))?;
        Ok(text.trim().parse()?)
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.directory);
    }
}
