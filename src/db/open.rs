//! Opening: whose file it is, whether it is sound, and bringing it to the newest schema (files §14.4, §14.5).

use super::epoch;
use super::error::{Class, DbError};
use crate::stamp;
use crate::sys::fs::{self, FileLock, Kind, Stat};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// How long a call waits for another process that holds the write lock.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(5000);
/// "PARA", in the file's header: this is our database.
pub(super) const APPLICATION_ID: i32 = 0x5041_5241;
/// The schema, step by step; `user_version` counts the steps that a file has.
const MIGRATIONS: &[&str] = &[include_str!("schema/001.sql"), include_str!("schema/002.sql")];
/// Switching to WAL fails at once, without waiting, while another opener does the same.
const WAL_TRIES: usize = 8;
/// Of the database and what SQLite puts beside it.
const FILE_MODE: u32 = 0o600;
const LOOSE_BITS: u32 = 0o077;
/// What SQLite keeps beside the database.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];
/// For a file that nobody has open: SQLite locks nothing, and puts nothing beside it.
pub(super) const UNCHANGEABLE: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_URI);

pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) identity: (u64, u64),
    /// Size and time of the last change.
    pub(super) stamp: (u64, i128),
    pub(super) notices: Vec<String>,
}

impl Opened {
    fn of(connection: Connection, facts: &Stat, path: PathBuf, notices: Vec<String>) -> Self {
        let (identity, stamp) = ((facts.dev, facts.ino), (facts.size_bytes, facts.mtime_ns));
        Self { connection, path, identity, stamp, notices }
    }
}

pub(super) fn open(path: &Path) -> Result<Opened, DbError> {
    let path = resolve(path)?;
    let mut notices = Vec::new();
    let connection = match attempt(&path, &mut notices) {
        Err(error) if error.is_damage() || error.is_of_a_missing_file() => replace(&path, &mut notices)?,
        other => other?,
    };
    let facts = fs::stat(&path).map_err(|source| files(&path, "look at", source))?;
    Ok(Opened::of(connection, &facts, path, notices))
}

/// Moves a damaged database aside and starts a new one. Several openers do so once: all but the first find a sound one
/// when they have the lock, also who came while there was none. It is that of the directory, so that no file is left of it.
fn replace(path: &Path, notices: &mut Vec<String>) -> Result<Connection, DbError> {
    let directory = path.parent().unwrap_or(path);
    let lock = fs::open_read(directory).and_then(|file| FileLock::acquire(file, Instant::now() + BUSY_TIMEOUT));
    let lock = lock.map_err(|source| files(directory, "lock", source))?;
    let damage = match attempt(path, notices) {
        Err(damage) if damage.is_damage() => damage,
        other => return other,
    };
    let kept = set_aside(path)?;
    fs::sync(lock.file()).map_err(|source| files(directory, "sync", source))?;
    notices.push(format!(
        "{damage}; moved it to {} and started a new one: every token issued so far is void",
        kept.display()
    ));
    attempt(path, notices)
}

/// A connection that only reads, to a sound database of ours and of this release.
pub(super) fn look(path: &Path) -> Result<Option<Opened>, DbError> {
    let path = resolve(path)?;
    let Some(facts) = inspect(&path)?.filter(|facts| facts.size_bytes > 0) else { return Ok(None) };
    look_inside(&path)?;
    let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let version = user_version(&connection).map_err(|source| DbError::sqlite(&path, "read its version", &source))?;
    let opened = Opened::of(connection, &facts, path, Vec::new());
    Ok((version == known_version()).then_some(opened))
}

/// The same file with a directory that has no links in it: SQLite refuses a link anywhere in a path, and only the last
/// part is ours to judge.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, DbError> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(files(path, "open", io::Error::from(io::ErrorKind::InvalidInput)));
    };
    Ok(directory.canonicalize().map_err(|source| files(directory, "open", source))?.join(name))
}

fn attempt(path: &Path, notices: &mut Vec<String>) -> Result<Connection, DbError> {
    let present = inspect(path)?;
    let looked = match &present {
        // Nothing beside it is a link.
        Some(facts) if facts.size_bytes > 0 => is_in_use(path).and_then(|_| look_inside(path)),
        Some(_) | None => Ok(()),
    };
    let looked = match looked {
        // Who may read it is for that program to say.
        Err(error) if error.is_foreign() => return Err(error),
        other => other,
    };
    if let Some(facts) = &present {
        notices.extend(tighten(path, facts)?);
    }
    for companion in COMPANIONS {
        let companion = beside(path, companion);
        if let Some(facts) = inspect(&companion)? {
            notices.extend(tighten(&companion, &facts)?);
        }
    }
    looked?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    if present.is_none() {
        // Created this moment, by SQLite and with our umask; whatever that is, no key goes into a file others can read.
        // What SQLite puts beside it gets the same mode.
        let facts = fs::stat(path).map_err(|source| files(path, "look at", source))?;
        tighten(path, &facts)?;
    }
    configure(&connection).map_err(|source| DbError::sqlite(path, "set it up", &source))?;
    migrate(path, &mut connection)?;
    Ok(connection)
}

/// What is at `path`, refusing what must not hold keys. Looks at names only: closing a descriptor of the database
/// would drop the locks that SQLite has on it in this process.
pub(super) fn inspect(path: &Path) -> Result<Option<Stat>, DbError> {
    let facts = match fs::stat(path) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(files(path, "look at", source)),
    };
    let ours = fs::effective_uid();
    if facts.kind == Kind::Symlink {
        return Err(DbError::Symlink { path: path.to_owned() });
    }
    if facts.kind != Kind::Regular {
        return Err(DbError::NotRegular { path: path.to_owned() });
    }
    if facts.uid != ours {
        return Err(DbError::ForeignOwner { path: path.to_owned(), uid: facts.uid, ours });
    }
    Ok(Some(facts))
}

/// Makes the file private; says so when it was not.
fn tighten(path: &Path, facts: &Stat) -> Result<Option<String>, DbError> {
    let mode = facts.mode;
    if mode & LOOSE_BITS == 0 {
        return Ok(None);
    }
    fs::set_mode_at(path, FILE_MODE).map_err(|source| files(path, "make private", source))?;
    Ok(Some(format!("tightened {} from {mode:04o} to {FILE_MODE:04o}", path.display())))
}

pub(super) fn connect(path: &Path, access: OpenFlags) -> Result<Connection, DbError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let error = |source: rusqlite::Error| DbError::sqlite(path, "open it", &source);
    let name = if access.contains(UNCHANGEABLE) { uri(path) } else { path.to_owned() };
    let connection = Connection::open_with_flags(name, flags).map_err(error)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(error)?;
    Ok(connection)
}

/// Whose database this is and whether it is sound, asked of a read-only connection: a foreign one does not change, and
/// a damaged one keeps its log, which closing a writing connection would merge into it.
pub(super) fn look_inside(path: &Path) -> Result<(), DbError> {
    let looked = match identify(path, OpenFlags::SQLITE_OPEN_READ_ONLY) {
        // A rollback journal that a crash left behind can only be played back by one that writes.
        Err(DbError::Sqlite { class: Class::ReadOnly, .. }) => identify(path, OpenFlags::SQLITE_OPEN_READ_WRITE),
        other => other,
    };
    looked.map(drop)
}

/// The same without a trace. A reader of a database with a log makes the files of that log beside it, which only one that
/// takes the database for unchangeable does not; so that is what it is taken for, unless somebody has it open or was
/// killed with it open. The epoch, where there is one.
pub(super) fn look_from_outside(path: &Path) -> Result<Option<u64>, DbError> {
    let epoch = |connection: Connection| epoch::read(&connection).ok();
    if !is_in_use(path)? {
        match identify(path, UNCHANGEABLE) {
            // Somebody has opened it meanwhile: its pages may change while they are read.
            Err(_) if is_in_use(path)? => {}
            other => return other.map(epoch),
        }
    }
    match identify(path, OpenFlags::SQLITE_OPEN_READ_ONLY) {
        // A crash has left a rollback journal: until the next hub has played it back there is nothing to judge.
        Err(DbError::Sqlite { class: Class::ReadOnly, .. }) => Ok(None),
        other => other.map(epoch),
    }
}

/// Whether somebody has the database open, or was killed with it open.
pub(super) fn is_in_use(path: &Path) -> Result<bool, DbError> {
    let companions = COMPANIONS.iter().map(|companion| inspect(&beside(path, companion)));
    let found = companions.collect::<Result<Vec<_>, _>>()?;
    Ok(found.iter().flatten().any(|facts| facts.size_bytes > 0))
}

/// The file as SQLite names one that nobody writes to.
fn uri(path: &Path) -> PathBuf {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    PathBuf::from(uri)
}

pub(super) fn identify(path: &Path, access: OpenFlags) -> Result<Connection, DbError> {
    let connection = connect(path, access)?;
    let (application_id, version, tables, predecessor) =
        facts_inside(&connection).map_err(|source| DbError::sqlite(path, "read whose it is", &source))?;
    match application_id {
        APPLICATION_ID if version > known_version() => {
            Err(DbError::Newer { path: path.to_owned(), found: version, known: known_version() })
        }
        APPLICATION_ID if version >= 0 => {
            check_contents(path, &connection)?;
            if version == known_version() {
                check_tables(path, &connection)?;
            }
            Ok(connection)
        }
        _ if predecessor => Err(DbError::Predecessor { path: path.to_owned() }),
        // Created and not yet filled, by us or by another opener.
        0 if tables == 0 && version == 0 => Ok(connection),
        application_id => Err(DbError::NotOurs { path: path.to_owned(), application_id, version }),
    }
}

/// Application id, schema version, number of tables, and whether one of them is the TypeScript hub's.
fn facts_inside(connection: &Connection) -> rusqlite::Result<(i32, i64, i64, bool)> {
    // One transaction: the numbers belong together although another process may be creating the tables.
    let look = connection.unchecked_transaction()?;
    let application_id = look.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version = look.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let (tables, predecessor) = look.query_row(
        "SELECT count(*), count(*) FILTER (WHERE name = 'schema_version') > 0 FROM sqlite_master WHERE type = 'table'",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok((application_id, version, tables, predecessor))
}

/// Settings of the connection; and WAL where the file system can, which is a setting of the file.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; PRAGMA synchronous = FULL;",
    )?;
    for _ in 0..WAL_TRIES {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)) {
            // Any other answer than "wal" means the rollback journal, which does as well.
            Ok(_) => return Ok(()),
            Err(error) if Class::of(&error) == Class::Busy => {
                // Waits, as the switch does not, until the other one is through. Failing to is no harm.
                let _ = connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn check_contents(path: &Path, connection: &Connection) -> Result<(), DbError> {
    const DOING: &str = "check it";
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|source| DbError::sqlite(path, DOING, &source))?;
    match verdict.as_str() {
        "ok" => Ok(()),
        _ => Err(DbError::Sqlite { path: path.to_owned(), doing: DOING, class: Class::Corrupt, message: verdict }),
    }
}

/// Whether all tables of the newest schema are there: without one of them nothing can be done with the rest.
fn check_tables(path: &Path, connection: &Connection) -> Result<(), DbError> {
    const DOING: &str = "find its tables";
    let error = |source: rusqlite::Error| DbError::sqlite(path, DOING, &source);
    let mut statement = connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").map_err(error)?;
    let found = statement.query_map([], |row| row.get(0)).and_then(Iterator::collect::<Result<Vec<String>, _>>);
    let found = found.map_err(error)?;
    match tables().find(|name| !found.iter().any(|found| found == name)) {
        None => Ok(()),
        Some(name) => {
            let message = format!("table {name} is missing");
            Err(DbError::Sqlite { path: path.to_owned(), doing: DOING, class: Class::Corrupt, message })
        }
    }
}

/// The names of those that the steps of the schema make.
fn tables() -> impl Iterator<Item = &'static str> {
    let lines = MIGRATIONS.iter().flat_map(|step| step.lines());
    lines.filter_map(|line| line.strip_prefix("CREATE TABLE ")?.split_whitespace().next())
}

/// Takes the missing steps of the schema in one transaction. Two first openers do it once.
fn migrate(path: &Path, connection: &mut Connection) -> Result<(), DbError> {
    let error = |source: rusqlite::Error| DbError::sqlite(path, "bring it to the newest schema", &source);
    if user_version(connection).map_err(error)? == known_version() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(error)?;
    // Again under the lock: another opener may have been faster.
    let found = user_version(&transaction).map_err(error)?;
    let Some(missing) = usize::try_from(found).ok().and_then(|done| MIGRATIONS.get(done..)) else {
        return Err(DbError::Newer { path: path.to_owned(), found, known: known_version() });
    };
    for step in missing {
        transaction.execute_batch(step).map_err(error)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(error)?;
    transaction.pragma_update(None, "user_version", known_version()).map_err(error)?;
    transaction.commit().map_err(error)
}

fn user_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn known_version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Moves the database and its companions to names that say when; they open together there as well.
fn set_aside(path: &Path) -> Result<PathBuf, DbError> {
    let stamp = stamp::compact(SystemTime::now());
    let mut kept = beside(path, &format!(".corrupt-{stamp}"));
    let mut number = 1_u32;
    while fs::stat(&kept).is_ok() {
        number += 1;
        kept = beside(path, &format!(".corrupt-{stamp}-{number}"));
    }
    // The companions first: a new database must never meet the log of the old one.
    for companion in COMPANIONS {
        match fs::rename(&beside(path, companion), &beside(&kept, companion)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved.map_err(|source| files(path, "move aside", source))?,
        }
    }
    fs::rename(path, &kept).map_err(|source| files(path, "move aside", source))?;
    Ok(kept)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

pub(super) fn files(path: &Path, doing: &'static str, source: io::Error) -> DbError {
    DbError::Files { path: path.to_owned(), doing, source }
}
