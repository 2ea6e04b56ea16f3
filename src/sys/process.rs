//! Processes: our own settings, a child, its exit, its group.

/// Files that we make are nobody else's business (files §14.2, rule 1).
pub(crate) fn restrict_umask() {
    // SAFETY: umask cannot fail and touches no memory.
    unsafe { libc::umask(0o077) };
}
