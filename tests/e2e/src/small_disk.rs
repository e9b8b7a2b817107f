//! A file system of its own and of little room, on a tmpfs: needs the right to mount.

use std::path::{Path, PathBuf};

use crate::program::Program;

/// A small disk; unmounted on drop.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts 1 MiB at `path`.
    ///
    /// # Errors
    /// The right to mount is missing.
    pub async fn mount(path: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(path)?;
        let arguments = ["-t", "tmpfs", "-o", "size=1m", "tmpfs"];
        Program::new("mount")
            .args(arguments)
            .args([path])
            .succeed()
            .await?;
        Ok(Self(path.to_owned()))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it 64 MiB.
    ///
    /// # Errors
    /// The right to mount is missing.
    pub async fn grow(&self) -> anyhow::Result<()> {
        let arguments = ["-o", "remount,size=64m"];
        Program::new("mount")
            .args(arguments)
            .args([&self.0])
            .succeed()
            .await?;
        Ok(())
    }

    /// Takes the last byte, so that not even a journal entry has room.
    pub fn fill(&self) {
        let mut bytes = 256 * 1024;
        for number in 0.. {
            let file = self.0.join(format!("filler-{number}"));
            if std::fs::write(&file, vec![0; bytes]).is_err() {
                // What was written of it stays.
                bytes /= 2;
            }
            if bytes == 0 {
                return;
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}
