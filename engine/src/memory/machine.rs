//! How much memory this process may use at all.

use std::path::Path;

/// Assumed where the system does not tell.
const UNKNOWN_MACHINE_BYTES: u64 = 4 << 30;

/// The smaller of the machine's memory and the limits of the cgroups this process is in.
pub fn machine_memory_bytes() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total_of(&text));
    let group = std::fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| group_limit(&text, Path::new("/sys/fs/cgroup")));
    machine.into_iter().chain(group).min().unwrap_or(UNKNOWN_MACHINE_BYTES)
}

/// `MemTotal:       24689764 kB`
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

/// The smallest limit on the way from this process's group to the root; version 2 (`0::/path`) and
/// version 1 (`4:memory:/path`). In a container the path may not exist below the mount: its parents do.
fn group_limit(memberships: &str, root: &Path) -> Option<u64> {
    let mut limits = Vec::new();
    for line in memberships.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (base, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
            _ => continue,
        };
        for ancestor in Path::new(path.trim_start_matches('/')).ancestors() {
            let text = std::fs::read_to_string(base.join(ancestor).join(file)).unwrap_or_default();
            // "max" is no limit; version 1 writes a number near 2^63 for that.
            limits.extend(text.trim().parse::<u64>().ok().filter(|bytes| *bytes < 1 << 60));
        }
    }
    limits.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_total_is_read_in_kib() {
        assert_eq!(total_of("MemTotal:       1024 kB\nMemFree: 1 kB\n"), Some(1 << 20));
        assert_eq!(total_of("nothing"), None);
    }

    #[test]
    fn the_smallest_limit_above_the_group_counts() {
        let root = tempfile::tempdir().expect("temporary directory");
        let inner = root.path().join("a/b");
        std::fs::create_dir_all(&inner).expect("directories");
        std::fs::write(root.path().join("a/memory.max"), "1000000\n").expect("file");
        std::fs::write(inner.join("memory.max"), "max\n").expect("file");
        assert_eq!(group_limit("0::/a/b\n", root.path()), Some(1_000_000));
        assert_eq!(group_limit("0::/elsewhere\n", root.path()), None);
    }

    #[test]
    fn version_1_unlimited_is_no_limit() {
        let root = tempfile::tempdir().expect("temporary directory");
        std::fs::create_dir_all(root.path().join("memory/x")).expect("directories");
        std::fs::write(
            root.path().join("memory/memory.limit_in_bytes"),
            "9223372036854771712\n",
        )
        .expect("file");
        assert_eq!(group_limit("5:cpu,memory:/x\n", root.path()), None);
        std::fs::write(root.path().join("memory/x/memory.limit_in_bytes"), "4096\n").expect("file");
        assert_eq!(group_limit("5:cpu,memory:/x\n", root.path()), Some(4096));
    }
}
