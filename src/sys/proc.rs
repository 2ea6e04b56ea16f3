//! What /proc says of processes and listeners. Everything is read at once and may be gone the next moment.

use super::cvt;
use super::pid::{Pid, own_pid};
use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Seek};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::str::SplitAsciiWhitespace;
use std::time::{Duration, Instant};

/// The fields of `/proc/<pid>/stat` that tell processes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) state: u8,
    pub(crate) parent: Pid,
    pub(crate) group: Pid,
    pub(crate) session: Pid,
    pub(crate) threads: u32,
    /// Clock ticks after boot; with the pid it names a process for the life of the kernel.
    pub(crate) start_ticks: u64,
}

impl Stat {
    /// Ended and only waiting to be collected. The state is that of the first thread alone: others may run on, with the
    /// memory and the sockets of all, and count for as long as they do.
    pub(crate) fn is_zombie(self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }

    /// Stopped by a signal, or by whoever traces it.
    pub(crate) fn is_stopped(self) -> bool {
        matches!(self.state, b'T' | b't')
    }
}

/// `None` when there is no such process. Fails when it cannot be told, as when descriptors have run out.
pub(crate) fn look_at(pid: Pid) -> io::Result<Option<Stat>> {
    let Some(stat) = stat_line(&format!("/proc/{pid}"), parse_stat)? else { return Ok(None) };
    stat.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat says nothing")))
}

/// What `parse` makes of the line in which the kernel tells of a process; `None` when there is no such process. `process` is
/// its directory.
fn stat_line<T>(process: &str, parse: impl FnOnce(&[u8]) -> T) -> io::Result<Option<T>> {
    // On the stack: it is asked for at every start, and the C library would keep a buffer for each module's thread. The
    // fields that count are in the first few hundred bytes, and the kernel hands out the line in one piece.
    let mut line = [0; 1024];
    let read = fs::File::open(format!("{process}/stat")).and_then(|mut file| file.read(&mut line));
    Ok(if_there(read)?.map(|length| parse(line.get(..length).unwrap_or_default())))
}

/// The same; also `None` when it cannot be told.
pub(crate) fn stat(pid: Pid) -> Option<Stat> {
    look_at(pid).ok()?
}

/// Whether the process that had this start time runs, and its pid has not become another's.
pub(crate) fn is_alive(pid: Pid, start_ticks: u64) -> bool {
    stat(pid).is_some_and(|stat| stat.start_ticks == start_ticks && !stat.is_zombie())
}

/// `None` for what a process has no more: it has gone, or it has become somebody's who keeps it to himself.
fn if_there<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
                || error.raw_os_error() == Some(libc::ESRCH) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The fields of such a line behind the command name, which may hold spaces and parentheses: they begin behind the last one.
fn stat_fields(text: &[u8]) -> Option<SplitAsciiWhitespace<'_>> {
    let end_of_name = text.iter().rposition(|byte| *byte == b')')?;
    Some(std::str::from_utf8(text.get(end_of_name + 1..)?).ok()?.split_ascii_whitespace())
}

fn parse_stat(text: &[u8]) -> Option<Stat> {
    let mut fields = stat_fields(text)?;
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    // proc(5) counts from 1: the session is field 6, the number of threads field 20, the start time field 22.
    let threads = fields.nth(20 - 6 - 1)?.parse().ok()?;
    let start_ticks = fields.nth(22 - 20 - 1)?.parse().ok()?;
    Some(Stat { state, parent, group, session, threads, start_ticks })
}

/// What the kernel calls it: the beginning of its program's name, unless it has given itself another; `None` when it has
/// ended.
pub(crate) fn name(pid: Pid) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/comm")).ok()?;
    let name = String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(&bytes));
    Some(printable(&name)).filter(|name| !name.is_empty())
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The command line with blanks between its words, at most `limit_bytes`; `None` when it cannot be read.
pub(crate) fn command_line(pid: Pid, limit_bytes: usize) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(format!("/proc/{pid}/cmdline")).ok()?.take(limit_bytes as u64).read_to_end(&mut bytes).ok()?;
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    if bytes.is_empty() {
        return None;
    }
    Some(printable(&String::from_utf8_lossy(&bytes).replace('\0', " ")))
}

/// How long a process is looked at that shows no environment because execve(2) is putting one program in place of
/// another, before it counts as one that has none. Most take a few microseconds; one whose turn on the processor ends
/// within them, or whose environment is large, takes some milliseconds.
const EXEC_WAIT: Duration = Duration::from_millis(100);

/// The value of a variable in the environment that the process was started with; `None` when it has none, has
/// overwritten it, or it may not be read. Fails when it cannot be told, as when descriptors have run out.
pub(crate) fn environment_value(pid: Pid, name: &str) -> io::Result<Option<String>> {
    let process = format!("/proc/{pid}");
    let mut environment = environment_of(Path::new(&process))?;
    let (mut before, mut give_up_at) = (None, None);
    while environment.is_empty() {
        let Some(image) = image(&process)? else { break };
        // Between two looks that find the same program, whole, there was no other.
        if image.is_whole() && before == Some(image) {
            break;
        }
        let now = Instant::now();
        if now >= *give_up_at.get_or_insert(now + EXEC_WAIT) {
            break;
        }
        if before.is_some() {
            std::thread::yield_now();
        }
        before = Some(image);
        environment = environment_of(Path::new(&process))?;
    }
    if environment.is_empty() {
        // Once the first thread has ended, only the others still show what all of them have.
        let threads = if_there(fs::read_dir(format!("{process}/task")))?;
        for thread in threads.into_iter().flatten().flatten() {
            environment = environment_of(&thread.path())?;
            if !environment.is_empty() {
                break;
            }
        }
    }
    Ok(environment.split(|byte| *byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    }))
}

/// What a process or a thread shows in its directory; empty when that may not be read or there is none any more.
fn environment_of(directory: &Path) -> io::Result<Vec<u8>> {
    /// execve(2) allows more, but no environment that we made is larger.
    const LIMIT_BYTES: usize = 2 * 1024 * 1024;
    let Some(file) = if_there(fs::File::open(directory.join("environ")))? else { return Ok(Vec::new()) };
    let mut bytes = vec![0; 16 * 1024];
    // In one piece: when the process becomes another program between two, the second is empty, as at the end.
    loop {
        let length = if_there(file.read_at(&mut bytes, 0))?.unwrap_or(0);
        if length < bytes.len() || length >= LIMIT_BYTES {
            bytes.truncate(length);
            return Ok(bytes);
        }
        bytes.resize(length * 2, 0);
    }
}

/// Where the program of a process and its words lie in its memory: no two that it becomes have them at the same places
/// but by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Image {
    start_of_code: u64,
    start_of_stack: u64,
    words: [u64; 4],
}

impl Image {
    /// The kernel notes where the code begins once all else is in place. Of a process that may not be looked at it says
    /// 1, and shows no environment at any time.
    fn is_whole(self) -> bool {
        self.start_of_code != 0
    }
}

/// What a process has in its memory; `None` when it has none, as one that has ended, or a thread of the kernel's own.
/// `process` is its directory.
fn image(process: &str) -> io::Result<Option<Image>> {
    Ok(stat_line(process, parse_image)?.flatten())
}

/// proc_pid_stat(5) counts from 1: the size of the memory is field 23, where the code begins 26, the stack 28, and from
/// 48 on where the command line and the environment begin and end.
fn parse_image(text: &[u8]) -> Option<Image> {
    let fields: Vec<&str> = stat_fields(text)?.collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    if field(23)? == 0 {
        return None;
    }
    let words = [field(48)?, field(49)?, field(50)?, field(51)?];
    Some(Image { start_of_code: field(26)?, start_of_stack: field(28)?, words })
}

/// All processes, as they are listed now.
pub(crate) fn pids() -> io::Result<Vec<Pid>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        // A list that ends in the middle is none.
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<Pid>().ok()));
    }
    Ok(pids)
}

/// All processes that are there now, zombies included. Fails when it cannot be told of one of them.
pub(crate) fn stats() -> io::Result<HashMap<Pid, Stat>> {
    let mut stats = HashMap::new();
    for pid in pids()? {
        stats.extend(look_at(pid)?.map(|stat| (pid, stat)));
    }
    Ok(stats)
}

/// The children of a process that its threads have now; none where the kernel does not list them. A few small reads.
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    let listed = |thread: &Path| fs::File::open(thread.join("children")).and_then(|list| read_list(&list));
    let threads = PathBuf::from(format!("/proc/{pid}/task"));
    // Most have one thread, and a directory takes longer to read than all the rest.
    if stat(pid).is_some_and(|stat| stat.threads == 1) {
        return listed(&threads.join(pid.to_string())).unwrap_or_default();
    }
    let Ok(threads) = fs::read_dir(threads) else { return Vec::new() };
    threads.flatten().filter_map(|thread| listed(&thread.path()).ok()).flatten().collect()
}

/// The numbers in a list of children, from where the file stands.
fn read_list(mut list: &fs::File) -> io::Result<Vec<Pid>> {
    let mut text = Vec::new();
    // On the stack, because the C library would keep a buffer for each module's thread. In large pieces: for each the
    // kernel looks for its place in the list again, and all modules wait for their turn when they end together.
    let mut piece = [0; 4096];
    loop {
        match list.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => text.extend_from_slice(piece.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(pids_in(&text).collect())
}

/// The numbers in a list of the kernel's.
pub(super) fn pids_in(list: &[u8]) -> impl Iterator<Item = Pid> {
    let words = list.split(u8::is_ascii_whitespace).filter_map(|word| std::str::from_utf8(word).ok());
    words.filter_map(|word| word.parse().ok())
}

/// The service of the service manager to which a process belongs, the manager itself included: the path of its control
/// group. `None` for one that belongs to a session, or where nobody groups processes.
pub(crate) fn service(pid: Pid) -> Option<String> {
    parse_service(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

/// cgroups(7): `hierarchy:controllers:path` a line; systemd names the group of a service after its unit.
fn parse_service(groups: &str) -> Option<String> {
    let mut paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.find(|path| path.ends_with(".service") || path.ends_with("/init.scope")).map(str::to_owned)
}

/// The list of our own children, with those that came to us as their subreaper: all hang on the main thread. It stays
/// open, so that it can be read when no descriptor is left.
#[derive(Debug)]
pub(crate) struct OwnChildren {
    /// `None` on a kernel without CONFIG_PROC_CHILDREN.
    list: Option<fs::File>,
}

impl OwnChildren {
    pub(crate) fn open() -> io::Result<Self> {
        let own = own_pid();
        match fs::File::open(format!("/proc/self/task/{own}/children")) {
            Ok(list) => Ok(Self { list: Some(list) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self { list: None }),
            Err(error) => Err(error),
        }
    }

    pub(super) fn are_listed(&self) -> bool {
        self.list.is_some()
    }

    /// Reads such a list from a file that a test writes.
    #[cfg(test)]
    pub(super) fn listed_in(list: fs::File) -> Self {
        Self { list: Some(list) }
    }

    /// Who is there now. One caller at a time: reading moves the file's one position.
    pub(crate) fn read(&self) -> io::Result<Vec<Pid>> {
        let Some(mut list) = self.list.as_ref() else {
            // Look at everybody.
            let own = own_pid();
            return Ok(pids()?.into_iter().filter(|pid| stat(*pid).is_some_and(|s| s.parent == own)).collect());
        };
        list.seek(io::SeekFrom::Start(0))?;
        read_list(list)
    }
}

/// This boot's number; a record of another boot names no living process.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Clock ticks after boot at which this process began; 0 without /proc.
pub(crate) fn own_start_ticks() -> u64 {
    stat(own_pid()).map_or(0, |stat| stat.start_ticks)
}

/// What this process takes of the machine; `None` where /proc does not say it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OwnUse {
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) threads: Option<u64>,
    pub(crate) descriptors: Option<u64>,
}

pub(crate) fn own_use() -> OwnUse {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    // Looking takes a descriptor as well.
    let descriptors = fs::read_dir("/proc/self/fd").ok().map(|entries| (entries.count() as u64).saturating_sub(1));
    OwnUse { descriptors, ..parse_own_status(&status) }
}

/// proc_pid_status(5): one `Name:\tvalue` a line, memory in kB.
fn parse_own_status(status: &str) -> OwnUse {
    let number = |name: &str| -> Option<u64> {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.split_ascii_whitespace().next()?.parse().ok()
    };
    OwnUse {
        resident_bytes: number("VmRSS").and_then(|kib| kib.checked_mul(1024)),
        threads: number("Threads"),
        descriptors: None,
    }
}

/// How long ago a process was started that has this start time, whatever has become of the clock since; `None` when that
/// cannot be.
pub(crate) fn age(start_ticks: u64) -> Option<Duration> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is that of a live, writable timespec.
    cvt(unsafe { libc::clock_gettime(BOOT_CLOCK, &raw mut now) }).ok()?;
    // SAFETY: sysconf takes no pointer.
    let ticks_per_s = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok().filter(|ticks| *ticks > 0)?;
    let since_boot = Duration::new(u64::try_from(now.tv_sec).ok()?, u32::try_from(now.tv_nsec).ok()?);
    let (whole, part) = (start_ticks / ticks_per_s, start_ticks % ticks_per_s);
    since_boot.checked_sub(Duration::from_secs(whole) + Duration::from_secs(part) / u32::try_from(ticks_per_s).ok()?)
}

/// The clock that start times are on: it also runs while the machine sleeps.
#[cfg(target_os = "linux")]
const BOOT_CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
#[cfg(not(target_os = "linux"))]
const BOOT_CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;

/// Socket inodes that listen on `port`, on any address of this host.
pub(crate) fn listening_inodes(port: u16) -> Vec<u64> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| parse_listeners(&table, port))
        .collect()
}

fn parse_listeners(table: &str, port: u16) -> Vec<u64> {
    /// TCP_LISTEN in the kernel's table.
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let local = fields.nth(1)?;
            let state = fields.nth(1)?;
            let inode = fields.nth(5)?;
            (local.ends_with(&suffix) && state == LISTEN).then(|| inode.parse().ok())?
        })
        .collect()
}

/// What the process's descriptors are called, `socket:[4711]` or `pipe:[4711]` beside paths; `None` when there is no such
/// process or it may not be looked at. Fails when it cannot be told, as when descriptors have run out.
pub(crate) fn open_files(pid: Pid) -> io::Result<Option<Vec<PathBuf>>> {
    let descriptors = if_there(fs::read_dir(format!("/proc/{pid}/fd")))?;
    let name = |entry: io::Result<fs::DirEntry>| fs::read_link(entry.ok()?.path()).ok();
    Ok(descriptors.map(|entries| entries.filter_map(name).collect()))
}

/// What a descriptor of ours is called; for a pipe the same at both ends.
pub(crate) fn name_of(fd: BorrowedFd<'_>) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

pub(crate) fn name_of_socket(inode: u64) -> PathBuf {
    format!("socket:[{inode}]").into()
}

/// Whether one of the process's descriptors is one of these sockets; `None` when it may not be looked at.
pub(crate) fn holds_socket(pid: Pid, inodes: &[u64]) -> Option<bool> {
    let files = open_files(pid).ok()??;
    Some(inodes.iter().any(|inode| files.contains(&name_of_socket(*inode))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let line = b"42 (a) b (c)) S 7 9 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 4096 1 18446744073709551615";
        let stat = Stat { state: b'S', parent: 7, group: 9, session: 1, threads: 1, start_ticks: 123_456 };
        assert_eq!(parse_stat(line), Some(stat));
        for broken in [&b""[..], b"42", b"42 (x", b"42 (x) S", b"42 (x) S a b c"] {
            assert_eq!(parse_stat(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn a_process_whose_first_thread_alone_has_ended_has_not() {
        let stat = |state, threads| Stat { state, parent: 7, group: 9, session: 9, threads, start_ticks: 1 };
        for (state, threads, ended) in [(b'Z', 2, false), (b'Z', 1, true), (b'Z', 0, true), (b'S', 1, false)] {
            assert_eq!(stat(state, threads).is_zombie(), ended, "{} with {threads}", char::from(state));
        }
    }

    #[test]
    fn only_listeners_on_that_port_are_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:0793 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 x\n\
             1: 0100007F:0793 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 222 1 x\n\
             2: 00000000:0794 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 x\n";
        assert_eq!(parse_listeners(table, 0x793), [111]);
        assert_eq!(parse_listeners(table, 0x794), [333]);
        assert_eq!(parse_listeners(table, 0x795), [0u64; 0]);
    }

    #[test]
    fn the_age_of_a_process_is_the_time_since_its_start() {
        let began = std::time::Instant::now();
        let mut child = std::process::Command::new("/bin/sleep").arg("600").spawn().expect("a child");
        let start_ticks = stat(Pid::try_from(child.id()).expect("a pid")).expect("it lives").start_ticks;
        let age = age(start_ticks).expect("it has one");
        // A tick may be over by then, and no other.
        assert!(age <= began.elapsed() + Duration::from_millis(20), "{age:?} of {:?}", began.elapsed());
        assert_eq!(super::age(u64::MAX), None, "nobody was started so late");
        assert!(super::age(0).expect("the boot") > age);
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }

    #[test]
    fn a_service_is_told_from_a_session() {
        for (groups, service) in [
            ("0::/system.slice/docker.service\n", Some("/system.slice/docker.service")),
            ("12:cpu:/\n1:name=systemd:/system.slice/cron.service\n0::/\n", Some("/system.slice/cron.service")),
            ("0::/init.scope\n", Some("/init.scope")),
            ("0::/user.slice/user-1000.slice/session-3.scope\n", None),
            ("0::/\n", None),
            ("", None),
        ] {
            assert_eq!(parse_service(groups).as_deref(), service, "{groups:?}");
        }
    }

    #[test]
    fn a_child_is_listed_with_its_parent() {
        // A shell that waits for its own child; both end when the pipe does.
        let mut command = std::process::Command::new("/bin/sh");
        command.args(["-c", "cat & wait"]).stdin(std::process::Stdio::piped());
        let mut shell = command.spawn().expect("a shell");
        let pid = Pid::try_from(shell.id()).expect("a pid");
        assert!(children(own_pid()).contains(&pid));
        drop(shell.stdin.take());
        shell.wait().expect("it ends");
        assert_eq!(children(pid), [0; 0]);
    }

    #[test]
    fn the_environment_of_a_process_that_becomes_another_program_is_there_all_the_time() {
        // For as long as we are there.
        let again = r#"[ "$PPID" != "$2" ] || exec "$0" -c "$1" "$0" "$1" "$2""#;
        // The kernel takes the longer for it the more variables there are.
        for further in [0, 6000] {
            let mut command = std::process::Command::new("/bin/sh");
            command.args(["-c", again, "/bin/sh", again, &own_pid().to_string()]);
            command.envs((0..further).map(|number| (format!("FURTHER_{number}"), "x"))).env("PROC_TEST", "as ever");
            let mut child = command.spawn().expect("a shell");
            let pid = Pid::try_from(child.id()).expect("a pid");
            let look = || environment_value(pid, "PROC_TEST").expect("it may be read");
            let other = (0..10_000).map(|_| look()).find(|value| value.as_deref() != Some("as ever"));
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
            assert_eq!(other, None, "with {further} further variables");
            assert_eq!(environment_value(pid, "PROC_TEST").expect("there is none"), None);
        }
    }

    #[test]
    fn a_process_without_an_environment_is_told_from_one_that_has_none_yet() {
        let mut command = std::process::Command::new("/bin/sleep");
        let mut child = command.arg("600").env_clear().spawn().expect("a child");
        let pid = Pid::try_from(child.id()).expect("a pid");
        // Whoever has started it is told so before all is in place.
        let deadline = Instant::now() + Duration::from_secs(60);
        while !image(&format!("/proc/{pid}")).expect("it may be read").expect("it has one").is_whole() {
            assert!(Instant::now() < deadline, "it stays half a program");
            std::thread::yield_now();
        }
        assert_eq!(environment_value(pid, "PROC_TEST").expect("there is none"), None);
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        assert_eq!(image(&format!("/proc/{pid}")).expect("it is gone"), None);
        for broken in [&b""[..], b"42 (x) S 1 2", b"42 (x)"] {
            assert_eq!(parse_image(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn what_we_use_is_read_from_the_status() {
        let text = "Name:\tx\nVmRSSx:\t1 kB\nVmRSS:\t    1234 kB\nThreads:\t7\n";
        let used = |resident_bytes, threads| OwnUse { resident_bytes, threads, descriptors: None };
        for (text, expected) in [
            (text, used(Some(1234 * 1024), Some(7))),
            ("", used(None, None)),
            ("VmRSS:\nThreads: x\n", used(None, None)),
            ("VmRSS: 99999999999999999999 kB\n", used(None, None)),
        ] {
            assert_eq!(parse_own_status(text), expected, "{text:?}");
        }
        let now = own_use();
        assert!(now.resident_bytes > Some(4096) && now.threads >= Some(1) && now.descriptors >= Some(3), "{now:?}");
    }

    #[test]
    fn our_own_listener_is_found_and_is_ours() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let inodes = listening_inodes(port);
        assert_eq!(inodes.len(), 1);
        assert_eq!(holds_socket(own_pid(), &inodes), Some(true));
    }
}
