//! What the decoder child may do once it has its file: read it, answer, get memory, run threads.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::media::video::limits::VideoLimits;

/// Seconds between the signal that tells of spent processor time and the one that kills.
const CPU_GRACE_SECONDS: u64 = 1;
/// Address space that is taken and never used, such as the stacks of threads and room for the allocator's arenas.
const UNUSED_SPACE_BYTES: u64 = 4 << 30;

/// Sets the resource limits of this process, for good.
pub(super) fn limit(limits: &VideoLimits) -> io::Result<()> {
    let cpu = limits.max_cpu_seconds;
    let space = limits.max_memory_bytes.saturating_add(UNUSED_SPACE_BYTES);
    for (resource, soft, hard) in [
        (Resource::Cpu, cpu, cpu.saturating_add(CPU_GRACE_SECONDS)),
        (Resource::Data, limits.max_memory_bytes, limits.max_memory_bytes),
        (Resource::As, space, space),
        (Resource::Fsize, 0, 0),
        (Resource::Core, 0, 0),
        (Resource::Nofile, 0, 0),
    ] {
        setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })?;
    }
    Ok(())
}

/// Installs the filter on this thread and those it will start. Calls that are not listed are answered as if the kernel
/// did not have them, which makes the C library use older ones where it can.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn lock() -> io::Result<()> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};
    let arch = if cfg!(target_arch = "x86_64") { TargetArch::x86_64 } else { TargetArch::aarch64 };
    let rules = filter::rules().map_err(io::Error::other)?;
    let refuse = SeccompAction::Errno(libc::ENOSYS as u32);
    let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch).map_err(io::Error::other)?;
    let program: BpfProgram = filter.try_into().map_err(io::Error::other)?;
    apply_filter(&program).map_err(io::Error::other)
}

/// Elsewhere the resource limits are all there is.
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub(super) fn lock() -> io::Result<()> {
    Ok(())
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod filter {
    use std::collections::BTreeMap;

    use seccompiler::{
        BackendError, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition as Condition, SeccompRule,
    };

    /// Calls that are allowed with any arguments. None of them opens, connects, executes or starts a process.
    const CALLS: [libc::c_long; 35] = [
        libc::SYS_read,
        libc::SYS_pread64,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_lseek,
        libc::SYS_close,
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_getparam,
        libc::SYS_sched_getscheduler,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_tgkill,
        libc::SYS_clock_gettime,
        libc::SYS_clock_getres,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_gettimeofday,
        libc::SYS_getrandom,
        libc::SYS_getrusage,
        libc::SYS_membarrier,
        libc::SYS_restart_syscall,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];

    /// The allowed calls; threads but no processes, and memory that is not executable.
    pub(super) fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            CALLS.iter().map(|call| (*call, Vec::new())).collect();
        let has = |argument, mask: i32, value: i32| {
            Condition::new(argument, Len::Dword, Op::MaskedEq(mask as u64), value as u64)
        };
        let thread = has(0, libc::CLONE_THREAD, libc::CLONE_THREAD)?;
        rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![thread])?]);
        for call in [libc::SYS_mmap, libc::SYS_mprotect] {
            rules.insert(call, vec![SeccompRule::new(vec![has(2, libc::PROT_EXEC, 0)?])?]);
        }
        Ok(rules)
    }
}
