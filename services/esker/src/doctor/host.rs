//! The machine: open files, memory, whether the advertised name resolves.

use esker_metadata_api::Endpoint;

use super::finding::{Examined, Finding};
use crate::config::ServeConfig;

/// Connections, segments in flight and the store's connections want so many.
const OPEN_FILES_MIN: u64 = 4096;

pub(super) async fn examine(examined: &mut Examined, config: &ServeConfig) {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    examined.add(open_files(&limits));
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").unwrap_or_default();
    examined.add(memory_bytes(config, &memory, &limit));
    if let Some(advertised) = &config.advertise {
        examined.add(resolves(advertised).await);
    }
}

/// `limits` is `/proc/self/limits`.
fn open_files(limits: &str) -> Finding {
    let (check, tried) = ("open files", "read how many files may be open");
    let row = limits.lines().find(|row| row.starts_with("Max open files"));
    let soft: Option<u64> = row.and_then(|row| row.split_whitespace().nth(3)?.parse().ok());
    match soft {
        None => Finding::skipped(check, tried, "this system does not say"),
        Some(soft) if soft < OPEN_FILES_MIN => Finding::warning(
            check,
            tried,
            format!("{soft}"),
            format!("raise it to {OPEN_FILES_MIN} or more: each connection is one (ulimit -n)"),
        ),
        Some(soft) => Finding::ok(check, tried, format!("{soft}")),
    }
}

/// `memory` is `/proc/meminfo`, `limit` the cgroup's `memory.max`.
fn memory_bytes(config: &ServeConfig, memory: &str, limit: &str) -> Finding {
    let (check, tried) = (
        "memory",
        "compare produce-buffer-bytes and cache-bytes with memory",
    );
    let row = memory.lines().find(|row| row.starts_with("MemTotal:"));
    let total: Option<usize> = row.and_then(|row| row.split_whitespace().nth(1)?.parse().ok());
    let total = total.map(|kibibytes| kibibytes.saturating_mul(1024));
    let limit: Option<usize> = limit.trim().parse().ok();
    let Some(available) = total.into_iter().chain(limit).min() else {
        return Finding::skipped(check, tried, "this system does not say how much there is");
    };
    let wanted = config
        .produce_buffer_bytes
        .saturating_add(config.cache_bytes);
    let mebibytes = |bytes: usize| bytes / (1024 * 1024);
    let happened = format!("{} MiB of {} MiB", mebibytes(wanted), mebibytes(available));
    match wanted > available / 4 * 3 {
        true => Finding::failed(
            check,
            tried,
            happened,
            "lower --cache-bytes or --produce-buffer-bytes, or give it more memory",
        ),
        false => Finding::ok(check, tried, happened),
    }
}

async fn resolves(advertised: &Endpoint) -> Finding {
    let Endpoint { host, port } = advertised;
    let (check, tried) = ("advertised name", format!("resolve {host}"));
    match tokio::net::lookup_host((host.as_str(), *port)).await {
        Ok(addresses) => {
            let addresses: Vec<String> = addresses.map(|one| one.ip().to_string()).collect();
            Finding::ok(check, tried, addresses.join(", "))
        }
        Err(error) => Finding::failed(
            check,
            tried,
            error.to_string(),
            "advertise a name that clients can resolve: --advertise",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;
    use crate::config::Layers;

    fn config() -> ServeConfig {
        let layers = Layers {
            flags: Default::default(),
            variable: &|_| None,
            file: None,
        };
        ServeConfig::parse(&layers.choose()).unwrap()
    }

    #[test]
    fn few_open_files_are_to_be_looked_at() {
        let row =
            |count: &str| format!("Max open files            {count}       524288     files\n");

        assert_eq!(open_files(&row("1024")).status, Status::Warning);
        assert_eq!(open_files(&row("4096")).status, Status::Ok);
        assert_eq!(open_files("").status, Status::Skipped);
    }

    #[test]
    fn buffers_have_to_fit_memory_and_the_containers_limit() {
        let memory = "MemTotal:        8000000 kB\n";

        let fits = memory_bytes(&config(), memory, "max\n");
        let small = memory_bytes(&config(), memory, "536870912\n");
        let silent = memory_bytes(&config(), "", "max\n");

        assert_eq!(fits.status, Status::Ok);
        assert_eq!(small.status, Status::Failed);
        assert_eq!(silent.status, Status::Skipped);
    }
}
