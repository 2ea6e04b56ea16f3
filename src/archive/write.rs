//! From a home to an archive: a walk over open directories, every file hashed on its way.

use super::stage::Stage;
use super::tar::{self, Header, Kind, Owner};
use super::{
    ABOUT, ArchiveError, Contents, DATABASE, FORMAT, LOST_AND_FOUND, PIECE_BYTES, ROOT, RUN, SUMS, read, sum_line,
};
use crate::db;
use crate::stamp;
use crate::store::{Home, StoreError, atomic, epoch, module_secrets};
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
    let draft = Draft::new(&dir, &name).map_err(error)?;
    let mut writer = Writer::new(home, &draft.file, to);
    let contents = writer.whole(&directory, now)?;
    let Writer { left_out, missing, .. } = writer;
    fs::set_mode(&draft.file, FILE_MODE).and_then(|()| fs::sync(&draft.file)).map_err(error)?;
    let found = read::verify(draft.file.try_clone().map_err(error)?, to)?;
    debug_assert_eq!(found, contents);
    draft.publish(&name).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => ArchiveError::Exists { path: to.to_owned() },
        _ => error(source),
    })?;
    // It is whole and the best copy there is: a disk that does not confirm its name is no reason to remove it.
    let unsettled = dir.sync().err();
    Ok(Written { contents, left_out, missing, unsettled })
}

/// The directory, without links, and the name in it.
fn place(to: &Path) -> Result<(PathBuf, OsString), ArchiveError> {
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write_error = |source| ArchiveError::Write { path: to.to_owned(), source };
    let name = to.file_name().ok_or_else(|| write_error(io::ErrorKind::InvalidInput.into()))?;
    Ok((directory.canonicalize().map_err(write_error)?, name.to_owned()))
}

/// A file that is gone again unless it got its name.
struct Draft<'a> {
    dir: &'a Dir,
    file: File,
    /// Its name meanwhile, where the file system knows no file without one.
    temp: Option<OsString>,
}

impl<'a> Draft<'a> {
    fn new(dir: &'a Dir, name: &OsStr) -> io::Result<Self> {
        if let Ok(file) = dir.create_unnamed(FILE_MODE) {
            return Ok(Self { dir, file, temp: None });
        }
        let mut temp = OsString::from(".");
        temp.push(name);
        temp.push(format!(".{}.tmp", random::hex(8)));
        let file = dir.create_new(&temp, FILE_MODE)?;
        Ok(Self { dir, file, temp: Some(temp) })
    }

    /// Gives it its name, which nobody has yet.
    fn publish(mut self, name: &OsStr) -> io::Result<()> {
        let Some(temp) = &self.temp else { return self.dir.link(&self.file, name) };
        match self.dir.rename(temp, name, Rename::NoReplace) {
            Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput) => {
                self.dir.rename(temp, name, Rename::Replace)
            }
            other => other,
        }?;
        self.temp = None;
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if let Some(temp) = &self.temp {
            let _ = self.dir.unlink(temp);
        }
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

    /// Nothing is made in the home; the copy of the database is beside the archive, in `beside`, for a moment.
    fn whole(&mut self, beside: &Path, now: SystemTime) -> Result<Contents, ArchiveError> {
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
        self.database(&place, beside, &mut contents)?;
        self.walk(&place, &mut contents)?;
        let sums = std::mem::take(&mut self.sums);
        self.bytes(SUMS, sums.as_bytes(), now)?;
        self.put(&[0; 2 * tar::BLOCK_BYTES])?;
        Ok(contents)
    }

    /// The database of this moment, by way of a private copy. A bad one is better kept as it is than not; one that is not
    /// known to be bad is not, because half of what its owner writes meanwhile would be in it.
    fn database(&mut self, place: &Place<'_>, beside: &Path, contents: &mut Contents) -> Result<(), ArchiveError> {
        let from = place.path.join(DATABASE);
        let stage = Stage::new(beside)?;
        let error = match db::copy(&from, &stage.path.join(DATABASE)) {
            Ok(true) => {
                let read_error = |source| ArchiveError::Read { path: from.clone(), source };
                let copy = Dir::open(&stage.path).and_then(|dir| dir.open_read(OsStr::new(DATABASE)));
                let copy = copy.map_err(read_error)?;
                let (ours, of) = (fs::stat_of(&copy).map_err(read_error)?, fs::stat(&from).map_err(read_error)?);
                let stat = Stat { uid: of.uid, gid: of.gid, mtime_ns: of.mtime_ns, ..ours };
                return self.content(&copy, &stat, &from, format!("{}/{DATABASE}", place.name), contents);
            }
            Ok(false) if matches!(epoch::read(self.home), Ok(None)) => return Ok(()),
            Ok(false) => {
                self.lack(&from, "it is missing or empty, and a hub has had one; its keys and tokens are lost");
                return Ok(());
            }
            Err(error) if error.is_of_the_file() || error.is_unreadable() => error,
            Err(error) => return Err(error.into()),
        };
        // With half a copy in it.
        drop(stage);
        let is_file = fs::stat(&from).is_ok_and(|stat| stat.kind == fs::Kind::Regular);
        if !is_file || error.is_unreadable() {
            self.lack(&from, &error.to_string());
            return Ok(());
        }
        let files = contents.files;
        for name in [DATABASE, "hub.db-wal", "hub.db-journal"] {
            self.attempt(|writer| writer.file(place, OsStr::new(name), name, contents))?;
            if name == DATABASE && contents.files > files {
                let told = format!("{} is in the archive as it is, and not as a database of use", from.display());
                self.missing.push(format!("{told}: {error}"));
            }
        }
        Ok(())
    }

    fn walk(&mut self, place: &Place<'_>, contents: &mut Contents) -> Result<(), ArchiveError> {
        let read_error = |source| ArchiveError::Read { path: place.path.to_owned(), source };
        for name in fs::names(place.path).map_err(read_error)? {
            self.attempt(|writer| writer.entry(place, &name, contents))?;
        }
        Ok(())
    }

    /// What was written of something that cannot be read to its end is taken back, and told.
    fn attempt(&mut self, act: impl FnOnce(&mut Self) -> Result<(), ArchiveError>) -> Result<(), ArchiveError> {
        let at_bytes = self.at_bytes;
        match act(self) {
            Err(ArchiveError::Read { path, source }) => {
                self.cut(at_bytes)?;
                self.miss(&path, &source);
                Ok(())
            }
            other => other,
        }
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
        let (name, mode, owner, mtime_s) = (place.name.clone(), stat.mode & 0o777, owner(stat), mtime_s(stat));
        self.header(&Header { name, kind: Kind::Directory, mode, owner, size_bytes: 0, mtime_s })
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
        self.content(&file, &stat, &path, format!("{}/{archived}", place.name), contents)
    }

    /// An open file, which is known as `path`, as what `stat` says of it.
    fn content(
        &mut self,
        mut file: &File,
        stat: &Stat,
        path: &Path,
        name: String,
        contents: &mut Contents,
    ) -> Result<(), ArchiveError> {
        let read_error = |source| ArchiveError::Read { path: path.to_owned(), source };
        let (mode, owner, size_bytes, mtime_s) = (stat.mode & 0o777, owner(stat), stat.size_bytes, mtime_s(stat));
        self.header(&Header { name: name.clone(), kind: Kind::File, mode, owner, size_bytes, mtime_s })?;
        let (mut digest, mut left) = (Digest::default(), size_bytes);
        let mut piece = vec![0; PIECE_BYTES];
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let room = piece.get_mut(..room).unwrap_or_default();
            let read = file.read(room).map_err(read_error)?;
            let read = room.get(..read).unwrap_or_default();
            if read.is_empty() {
                let shorter = "it became shorter while it was read; stop its module, then try again";
                return Err(read_error(io::Error::new(io::ErrorKind::UnexpectedEof, shorter)));
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
        let (name, kind, owner) = (name.to_owned(), Kind::File, Owner { uid: 0, gid: 0 });
        let header = Header { name, kind, mode: FILE_MODE, owner, size_bytes, mtime_s };
        self.header(&header)?;
        let mut digest = Digest::default();
        digest.update(bytes);
        self.sums.push_str(&sum_line(&digest.hex(), &header.name));
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

/// What means something only to a hub or a writer that runs, or is in the archive already; and the logs.
fn is_passing(place: &Place<'_>, name: &str) -> bool {
    let temporary = atomic::is_temp_name(OsStr::new(name));
    let of_database = [DATABASE, "hub.db-wal", "hub.db-shm", "hub.db-journal", "hub-instance.json"].contains(&name);
    let lock = name == "services.json.lock";
    match place.depth {
        0 => temporary || of_database || lock,
        1 => temporary || format!("{}/{name}", place.name) == RUN,
        2 => module_secrets::is_spare_key(name) && place.name.ends_with("/run") || is_log(place, name),
        _ => false,
    }
}

/// Whether it is a log of the hub or of a module, or an older one, which has a number behind.
fn is_log(place: &Place<'_>, name: &str) -> bool {
    let of = place.name.strip_suffix("/logs").and_then(|above| above.rsplit_once('/')).map(|(_, of)| of);
    let log = match of {
        Some("hub") => "access.log".to_owned(),
        Some(short) => format!("{short}.log"),
        None => return false,
    };
    match name.strip_prefix(&log) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('.').is_some_and(|number| number.parse::<u32>().is_ok()),
        None => false,
    }
}

fn owner(stat: &Stat) -> Owner {
    Owner { uid: stat.uid, gid: stat.gid }
}

fn mtime_s(stat: &Stat) -> u64 {
    u64::try_from(stat.mtime_ns / NS_PER_S).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Create;
    use crate::sys::testdir::TestDir;

    /// A file becomes shorter while it is read, as one on a disk that fails in its midst.
    #[test]
    fn of_what_cannot_be_read_to_its_end_nothing_is_in_the_archive() {
        let dir = TestDir::new("archive-cut");
        let home = Home::open(&dir.join("home"), Create::Yes).expect("a home");
        let path = home.path().join("log");
        std::fs::write(&path, [b'x'; 700]).expect("written");
        let log = File::open(&path).expect("there");
        let stat = Stat { size_bytes: 2_000, ..fs::stat_of(&log).expect("open") };
        let written = |to: &Path, is_tried: bool| {
            let file = File::options().read(true).write(true).create_new(true).open(to).expect("made");
            let mut writer = Writer::new(&home, &file, to);
            let (version, created_at) = (String::new(), String::new());
            let mut contents = Contents { version, created_at, home: None, files: 0, bytes: 0 };
            writer.bytes("before", b"kept", SystemTime::UNIX_EPOCH).expect("written");
            if is_tried {
                let act =
                    |writer: &mut Writer<'_>| writer.content(&log, &stat, &path, format!("{ROOT}/log"), &mut contents);
                writer.attempt(act).expect("told, and no more");
            }
            writer.bytes("after", b"kept", SystemTime::UNIX_EPOCH).expect("written");
            assert_eq!(writer.at_bytes, file.metadata().expect("open").len());
            let Writer { sums, missing, .. } = writer;
            (std::fs::read(to).expect("there"), sums, contents.files, missing)
        };
        let (tried, plain) = (written(&dir.join("tried"), true), written(&dir.join("plain"), false));
        assert_eq!((tried.0, tried.1, tried.2), (plain.0, plain.1, plain.2));
        assert!(
            tried.3.iter().all(|told| told.contains("log is not in the archive: it became shorter")),
            "{:?}",
            tried.3
        );
        assert_eq!((tried.3.len(), plain.3.len()), (1, 0));
    }
}
