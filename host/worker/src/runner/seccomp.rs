//! System calls: those that computing on memory, threads and open files takes. For any other, the kernel answers as one
//! that does not have it, so that libraries fall back to what there is, and whatever tries to break out gets an error.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};
use std::collections::BTreeMap;

/// Calls that are allowed whatever their arguments.
const ALLOWED: &[i64] = &[
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Threads.
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_get_robust_list,
    libc::SYS_getcpu,
    libc::SYS_gettid,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    // Time and chance.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    // Itself.
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getrusage,
    libc::SYS_getuid,
    libc::SYS_sysinfo,
    libc::SYS_times,
    libc::SYS_uname,
    // Files: which ones can be opened is for landlock to say.
    libc::SYS_close,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_statx,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
    // The one socket there is.
    libc::SYS_ppoll,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
];

/// The same by their older names.
#[cfg(target_arch = "x86_64")]
const ALLOWED_BY_OLDER_NAMES: &[i64] = &[
    libc::SYS_access,
    libc::SYS_lstat,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_rename,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_BY_OLDER_NAMES: &[i64] = &[];

/// What a card's driver asks for besides. Its commands go through `ioctl`, which is dealt with apart.
const ALLOWED_ON_CARD: &[i64] = &[
    libc::SYS_capget,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_fstatfs,
    libc::SYS_get_mempolicy,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getppid,
    libc::SYS_getpriority,
    libc::SYS_mbind,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_msync,
    libc::SYS_munlock,
    libc::SYS_pipe2,
    libc::SYS_pselect6,
    libc::SYS_readlinkat,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_setaffinity,
    libc::SYS_set_mempolicy,
    libc::SYS_statfs,
];

/// The same by their older names.
#[cfg(target_arch = "x86_64")]
const ALLOWED_ON_CARD_BY_OLDER_NAMES: &[i64] = &[
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_pipe,
    libc::SYS_readlink,
    libc::SYS_select,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_ON_CARD_BY_OLDER_NAMES: &[i64] = &[];

/// Commands to a terminal that put words into its user's mouth. A runner has no terminal; should it have one, not these.
const NEVER: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

/// What `prctl` may be asked: to name a thread or a piece of memory.
const PRCTL: &[i32] = &[
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_SET_VMA,
    libc::PR_GET_THP_DISABLE,
];

/// What may be done to a descriptor. To be sent signals about it is not among them.
const FCNTL: &[i32] = &[
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_ADD_SEALS,
    libc::F_GET_SEALS,
];

/// Restricts all threads of this process and all that they start.
pub(super) fn restrict(card: bool) -> Result<(), String> {
    let program = filter(card).map_err(|error| error.to_string())?;
    apply_filter_all_threads(&program).map_err(|error| error.to_string())
}

fn filter(card: bool) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED
        .iter()
        .chain(ALLOWED_BY_OLDER_NAMES)
        .map(|&call| (call, Vec::new()))
        .collect();
    if card {
        let driver = ALLOWED_ON_CARD.iter().chain(ALLOWED_ON_CARD_BY_OLDER_NAMES);
        rules.extend(driver.map(|&call| (call, Vec::new())));
        // On which files, landlock says: of devices, those of the card alone can be opened.
        let others = NEVER.map(|command| SeccompCondition::new(1, Length::Dword, Is::Ne, command));
        let others = others.into_iter().collect::<Result<Vec<_>, _>>()?;
        rules.insert(libc::SYS_ioctl, vec![SeccompRule::new(others)?]);
    }
    // A thread, never a process. Newer libraries ask `clone3` first, whose arguments cannot be looked at.
    let thread = (libc::CLONE_THREAD | libc::CLONE_VM) as u64;
    rules.insert(
        libc::SYS_clone,
        vec![rule(0, Length::Qword, Is::MaskedEq(thread), thread)?],
    );
    rules.insert(libc::SYS_prctl, one_of(PRCTL, 0)?);
    rules.insert(libc::SYS_fcntl, one_of(FCNTL, 1)?);
    // Signals for itself alone: a thread that aborts sends one.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![rule(0, Length::Dword, Is::Eq, own)?]);
    // Limits may be read, and its own alone.
    rules.insert(
        libc::SYS_prlimit64,
        vec![SeccompRule::new(vec![
            SeccompCondition::new(0, Length::Dword, Is::Eq, 0)?,
            SeccompCondition::new(2, Length::Qword, Is::Eq, 0)?,
        ])?],
    );
    // To whoever is at the other end, and to no address.
    rules.insert(libc::SYS_sendto, vec![rule(4, Length::Qword, Is::Eq, 0)?]);
    SeccompFilter::new(
        rules,
        SeccompAction::Errno(libc::ENOSYS as u32),
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()
}

fn rule(argument: u8, length: Length, is: Is, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, length, is, value)?])
}

fn one_of(values: &[i32], argument: u8) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    values
        .iter()
        .map(|&value| rule(argument, Length::Dword, Is::Eq, value as u64))
        .collect()
}
