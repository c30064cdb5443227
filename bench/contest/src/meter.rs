//! The clock: how long, how much of the processors, how much memory.

use std::time::Instant;

use crate::Report;

/// Measures from its start to its stop.
#[derive(Debug)]
pub struct Meter {
    since: Instant,
    cpu_before: f64,
}

impl Meter {
    /// Starts.
    pub fn start() -> Self {
        Self {
            cpu_before: cpu_seconds(),
            since: Instant::now(),
        }
    }

    /// Stops.
    pub fn stop(self) -> Report {
        Report {
            seconds: self.since.elapsed().as_secs_f64(),
            cpu_seconds: cpu_seconds() - self.cpu_before,
            peak_memory_bytes: peak_memory_bytes().unwrap_or_default(),
            guest_memory_bytes: None,
        }
    }
}

/// Processor time of this process so far, of all threads.
#[cfg(unix)]
pub fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Processor time of this process so far; this system is not asked.
#[cfg(not(unix))]
pub fn cpu_seconds() -> f64 {
    0.0
}

/// The most memory that this process had, as Linux tells it.
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn work_takes_processor_time_and_waiting_takes_none() {
        let meter = Meter::start();
        let mut sum = 0_u64;
        while meter.since.elapsed().as_millis() < 50 {
            sum = sum.wrapping_mul(31).wrapping_add(7);
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        let report = meter.stop();
        assert!(std::hint::black_box(sum) > 0);
        assert!(report.seconds > 0.14, "{report:?}");
        assert!(report.cpu_seconds > 0.0, "{report:?}");
        assert!(report.peak_memory_bytes > 1 << 20, "{report:?}");
    }
}
