//! argv in, exit code out: the verbs, as a table.

/// Runs the program and says how it ended.
pub(crate) fn run() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
