//! From a home to an archive: a walk over open directories, every file hashed on its way.

use super::tar::{self, Header, Kind};
use super::{ABOUT, ArchiveError, Contents, DATABASE, FORMAT, LOST_AND_FOUND, PIECE_BYTES, ROOT, SUMS, read, sum_line};
use crate::db;
use crate::stamp;
use crate::store::{Home, StoreError, atomic, module_secrets};
use crate::sys::fs::{self, Dir, Rename, Stat};
use crate::sys::random;
use crate::token::digest::Digest;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Nobody but the owner may read the secrets in it.
const FILE_MODE: u32 = 0o600;
/// Directories in directories; each costs a descriptor while it is walked.
const DEPTH_MAX: usize = 64;
const NS_PER_S: i128 = 1_000_000_000;

/// What became of the home's files.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) contents: Contents,
    /// What no archive holds, each with the reason.
    pub(crate) left_out: Vec<String>,
    /// What this one should hold and does not, each with the reason.
    pub(crate) missing: Vec<String>,
    /// Why a power failure may still take it back.
    pub(crate) unsettled: Option<io::Error>,
}

/// Writes the archive of `home` to the new file `to`, mode 0600, and reads it back. The database is the one of a single
/// moment; other files are as they are when their turn comes, and one that cannot be read keeps none of the others out.
/// After an error there is no file.
pub(crate) fn write(home: &Home, to: &Path, now: SystemTime) -> Result<Written, ArchiveError> {
    let (directory, name) = place(to)?;
    if directory.starts_with(home.path()) {
        return Err(ArchiveError::InsideHome { path: to.to_owned() });
    }
    let error = |source| ArchiveError::Write { path: to.to_owned(), source };
    let dir = Dir::open(&directory).map_err(error)?;
    if dir.stat(&name).is_ok() {
        return Err(ArchiveError::Exists { path: to.to_owned() });
    }
    let mut temp = OsString::from(".");
    temp.push(&name);
    temp.push(format!(".{}.tmp", random::hex(8)));
    let file = dir.create_new(&temp, FILE_MODE).map_err(error)?;
    let temp = Temp { dir: &dir, name: temp };
    let mut writer = Writer::new(home, &file, to);
    let contents = writer.whole(now)?;
    fs::set_mode(&file, FILE_MODE).and_then(|()| fs::sync(&file)).map_err(error)?;
    let found = read::verify(&directory.join(&temp.name)).map_err(|error| renamed(error, to))?;
    debug_assert_eq!(found, contents);
    match dir.rename(&temp.name, &name, Rename::NoReplace) {
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) => {
            dir.rename(&temp.name, &name, Rename::Replace)
        }
        other => other,
    }
    .map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => ArchiveError::Exists { path: to.to_owned() },
        _ => error(source),
    })?;
    // It is whole and the best copy there is: a disk that does not confirm its name is no reason to remove it.
    let unsettled = dir.sync().err();
    Ok(Written { contents, left_out: writer.left_out, missing: writer.missing, unsettled })
}

/// The directory, without links, and the name in it.
fn place(to: &Path) -> Result<(PathBuf, OsString), ArchiveError> {
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write_error = |source| ArchiveError::Write { path: to.to_owned(), source };
    let name = to.file_name().ok_or_else(|| write_error(io::ErrorKind::InvalidInput.into()))?;
    Ok((directory.canonicalize().map_err(write_error)?, name.to_owned()))
}

/// An error about the temporary file in the words of the one that was asked for.
fn renamed(error: ArchiveError, to: &Path) -> ArchiveError {
    match error {
        ArchiveError::Malformed { at_bytes, reason, .. } => {
            ArchiveError::Malformed { path: to.to_owned(), at_bytes, reason }
        }
        ArchiveError::Read { source, .. } => ArchiveError::Read { path: to.to_owned(), source },
        other => other,
    }
}

/// A file that is gone again unless it got its name.
struct Temp<'a> {
    dir: &'a Dir,
    name: OsString,
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        // After the rename there is nothing under that name any more.
        let _ = self.dir.unlink(&self.name);
    }
}

/// A directory of the home that is walked.
struct Place<'a> {
    dir: &'a Dir,
    path: &'a Path,
    /// In the archive.
    name: String,
    depth: usize,
}

struct Writer<'a> {
    home: &'a Home,
    file: &'a File,
    path: PathBuf,
    /// So long is the file.
    at_bytes: u64,
    sums: String,
    left_out: Vec<String>,
    missing: Vec<String>,
}

impl<'a> Writer<'a> {
    fn new(home: &'a Home, file: &'a File, to: &Path) -> Self {
        let (path, sums) = (to.to_owned(), String::new());
        Self { home, file, path, at_bytes: 0, sums, left_out: Vec::new(), missing: Vec::new() }
    }

    fn whole(&mut self, now: SystemTime) -> Result<Contents, ArchiveError> {
        let home = self.home;
        let read_error = |source| ArchiveError::Read { path: home.path().to_owned(), source };
        let (version, created_at) = (env!("CARGO_PKG_VERSION").to_owned(), stamp::iso(now));
        let about = serde_json::json!({
            "format": FORMAT, "version": version, "created_at": created_at, "home": home.path().to_str(),
        });
        let path = home.path().to_str().map(PathBuf::from);
        let mut contents = Contents { version, created_at, home: path, files: 0, bytes: 0 };
        self.bytes(ABOUT, format!("{about:#}\n").as_bytes(), now)?;
        let dir = Dir::open(home.path()).map_err(read_error)?;
        let place = Place { dir: &dir, path: home.path(), name: ROOT.to_owned(), depth: 0 };
        self.directory(&place, &dir.own_stat().map_err(read_error)?)?;
        self.database(&mut contents)?;
        self.walk(&place, &mut contents)?;
        let sums = std::mem::take(&mut self.sums);
        self.bytes(SUMS, sums.as_bytes(), now)?;
        self.put(&[0; 2 * tar::BLOCK_BYTES])?;
        Ok(contents)
    }

    /// The database of this moment, by way of a private copy beside it.
    fn database(&mut self, contents: &mut Contents) -> Result<(), ArchiveError> {
        let home = self.home;
        let from = home.path().join(DATABASE);
        let copy = format!(".{DATABASE}.{}.tmp", random::hex(8));
        let dir =
            Dir::open(home.path()).map_err(|source| ArchiveError::Read { path: home.path().to_owned(), source })?;
        let temp = Temp { dir: &dir, name: copy.clone().into() };
        if db::copy(&from, &home.path().join(&copy))? {
            let place = Place { dir: &dir, path: home.path(), name: ROOT.to_owned(), depth: 0 };
            self.file(&place, &temp.name, DATABASE, contents)?;
        }
        Ok(())
    }

    fn walk(&mut self, place: &Place<'_>, contents: &mut Contents) -> Result<(), ArchiveError> {
        let read_error = |source| ArchiveError::Read { path: place.path.to_owned(), source };
        for name in fs::names(place.path).map_err(read_error)? {
            let at_bytes = self.at_bytes;
            match self.entry(place, &name, contents) {
                Err(ArchiveError::Read { path, source }) => {
                    self.cut(at_bytes)?;
                    self.miss(&path, &source);
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// One name in a directory. It is not counted before all of it is in the archive.
    fn entry(&mut self, place: &Place<'_>, name: &OsStr, contents: &mut Contents) -> Result<(), ArchiveError> {
        let path = place.path.join(name);
        let plain = name.to_str().filter(|name| tar::is_plain(&format!("{}/{name}", place.name)));
        let Some(plain) = plain else {
            self.lack(&path, "its name is too long, not UTF-8, or has control characters");
            return Ok(());
        };
        if is_passing(place, plain) {
            return Ok(());
        }
        let stat = place.dir.stat(name).map_err(|source| ArchiveError::Read { path: path.clone(), source })?;
        match stat.kind {
            fs::Kind::Regular => self.file(place, name, plain, contents)?,
            fs::Kind::Directory if place.depth == 0 && plain == LOST_AND_FOUND => {}
            fs::Kind::Directory if place.depth >= DEPTH_MAX => self.lack(&path, "it lies too deep"),
            fs::Kind::Directory => self.below(place, plain, &stat, contents)?,
            fs::Kind::Symlink if is_written_through(place, plain) => self.linked(place, plain, contents)?,
            fs::Kind::Symlink => self.leave_out(&path, "it is a symbolic link"),
            fs::Kind::Socket | fs::Kind::Other => self.leave_out(&path, "it is no file"),
        }
        Ok(())
    }

    /// A directory with all in it; what cannot be listed is a directory all the same.
    fn below(
        &mut self,
        place: &Place<'_>,
        name: &str,
        stat: &Stat,
        contents: &mut Contents,
    ) -> Result<(), ArchiveError> {
        let path = place.path.join(name);
        let dir = place.dir.open_dir(OsStr::new(name));
        let dir = dir.map_err(|source| ArchiveError::Read { path: path.clone(), source })?;
        let name = format!("{}/{name}", place.name);
        let below = Place { dir: &dir, path: &path, name, depth: place.depth + 1 };
        self.directory(&below, stat)?;
        match self.walk(&below, contents) {
            Err(ArchiveError::Read { path, source }) => {
                self.miss(&path, &source);
                Ok(())
            }
            other => other,
        }
    }

    /// What one of the links leads to that we write through ourselves, as a file in the link's place.
    fn linked(&mut self, place: &Place<'_>, name: &str, contents: &mut Contents) -> Result<(), ArchiveError> {
        let path = place.path.join(name);
        let real = match atomic::real_path(self.home, path.strip_prefix(self.home.path()).unwrap_or(&path)) {
            Ok(Some(real)) => real,
            // Removed this moment.
            Ok(None) => return Ok(()),
            Err(error) => {
                match &error {
                    StoreError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                        self.leave_out(&path, "it is a symbolic link that leads nowhere");
                    }
                    _ => self.lack(&path, &error.to_string()),
                }
                return Ok(());
            }
        };
        let (Some(directory), Some(real_name)) = (real.parent(), real.file_name()) else {
            self.leave_out(&path, "it leads to no file");
            return Ok(());
        };
        let dir = Dir::open(directory).map_err(|source| ArchiveError::Read { path: real.clone(), source })?;
        let there = Place { dir: &dir, path: place.path, name: place.name.clone(), depth: place.depth };
        self.file(&there, real_name, name, contents)
    }

    fn leave_out(&mut self, path: &Path, reason: &str) {
        self.left_out.push(not_in_it(path, reason));
    }

    fn lack(&mut self, path: &Path, reason: &str) {
        self.missing.push(not_in_it(path, reason));
    }

    /// What cannot be read, unless a module has just removed it.
    fn miss(&mut self, path: &Path, error: &io::Error) {
        if error.kind() != io::ErrorKind::NotFound {
            self.lack(path, &error.to_string());
        }
    }

    fn directory(&mut self, place: &Place<'_>, stat: &Stat) -> Result<(), ArchiveError> {
        let (name, mtime_s) = (place.name.clone(), mtime_s(stat));
        self.header(&Header { name, kind: Kind::Directory, mode: stat.mode & 0o777, size_bytes: 0, mtime_s })
    }

    /// One file, as long as it was when it was opened.
    fn file(
        &mut self,
        place: &Place<'_>,
        name: &OsStr,
        archived: &str,
        contents: &mut Contents,
    ) -> Result<(), ArchiveError> {
        let path = place.path.join(archived);
        let read_error = |source| ArchiveError::Read { path: path.clone(), source };
        let file = place.dir.open_read(name).map_err(read_error)?;
        let stat = fs::stat_of(&file).map_err(read_error)?;
        if stat.kind != fs::Kind::Regular {
            self.leave_out(&path, "it is no file");
            return Ok(());
        }
        let name = format!("{}/{archived}", place.name);
        let (mode, size_bytes, mtime_s) = (stat.mode & 0o777, stat.size_bytes, mtime_s(&stat));
        self.header(&Header { name: name.clone(), kind: Kind::File, mode, size_bytes, mtime_s })?;
        let (mut digest, mut left) = (Digest::default(), size_bytes);
        let mut piece = vec![0; PIECE_BYTES];
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let room = piece.get_mut(..room).unwrap_or_default();
            let read = (&file).read(room).map_err(read_error)?;
            let read = room.get(..read).unwrap_or_default();
            if read.is_empty() {
                return Err(ArchiveError::Changed { path });
            }
            digest.update(read);
            self.put(read)?;
            left -= read.len() as u64;
        }
        self.sums.push_str(&sum_line(&digest.hex(), &name));
        contents.files += 1;
        contents.bytes += size_bytes;
        self.put(&[0; tar::BLOCK_BYTES][..tar::padding(size_bytes)])
    }

    /// A file of the archive's own.
    fn bytes(&mut self, name: &str, bytes: &[u8], now: SystemTime) -> Result<(), ArchiveError> {
        let (size_bytes, mtime_s) = (bytes.len() as u64, stamp::unix_ms(now) / 1_000);
        self.header(&Header { name: name.to_owned(), kind: Kind::File, mode: FILE_MODE, size_bytes, mtime_s })?;
        let mut digest = Digest::default();
        digest.update(bytes);
        self.sums.push_str(&sum_line(&digest.hex(), name));
        self.put(bytes)?;
        self.put(&[0; tar::BLOCK_BYTES][..tar::padding(size_bytes)])
    }

    fn header(&mut self, header: &Header) -> Result<(), ArchiveError> {
        self.put(&tar::encode(header))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        fs::write_all(self.file, bytes).map_err(|source| ArchiveError::Write { path: self.path.clone(), source })?;
        self.at_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Takes back what was written of an entry that cannot be read to its end.
    fn cut(&mut self, at_bytes: u64) -> Result<(), ArchiveError> {
        let mut file = self.file;
        fs::set_size(file, at_bytes)
            .and_then(|()| file.seek(SeekFrom::Start(at_bytes)))
            .map_err(|source| ArchiveError::Write { path: self.path.clone(), source })?;
        self.at_bytes = at_bytes;
        Ok(())
    }
}

fn not_in_it(path: &Path, reason: &str) -> String {
    format!("{} is not in the archive: {reason}", path.display())
}

/// The files that may be kept elsewhere (files §14.2, rule 4).
fn is_written_through(place: &Place<'_>, name: &str) -> bool {
    match place.depth {
        0 => name == "services.json",
        1 => name == ".env",
        _ => false,
    }
}

/// What means something only to a hub or a writer that runs, or is in the archive already; and what modules printed.
fn is_passing(place: &Place<'_>, name: &str) -> bool {
    let temporary = atomic::is_temp_name(OsStr::new(name));
    let of_database = [DATABASE, "hub.db-wal", "hub.db-shm", "hub.db-journal", "hub-instance.json"].contains(&name);
    let lock = name == "services.json.lock";
    match place.depth {
        0 => temporary || of_database || lock,
        // A module may be called that, and its command lies in `modules`.
        1 if name == "logs" => place.name != format!("{ROOT}/modules"),
        1 => temporary || name == "run" && place.name == format!("{ROOT}/hub"),
        2 => module_secrets::is_spare_key(name) && place.name.ends_with("/run"),
        _ => false,
    }
}

fn mtime_s(stat: &Stat) -> u64 {
    u64::try_from(stat.mtime_ns / NS_PER_S).unwrap_or(0)
}
