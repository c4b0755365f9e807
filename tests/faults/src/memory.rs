//! The memory and the tasks of this process.

use std::fs;

use tokio::runtime::Handle;

/// The memory of this process, in bytes, where the system tells.
pub fn resident() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<usize>().ok()? * 1_024)
}

/// The number of tasks of the runtime that have not ended.
pub fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}
