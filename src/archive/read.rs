//! From an archive to a home: everything is checked before anything is made, and again while it is made.

use super::stage::{self, DIR_MODE, ROOT_UID, Stage};
use super::tar::{self, BLOCK_BYTES, Block, Header, Kind, Malformed, Owner, Records, Said};
use super::{ABOUT, ArchiveError, Contents, DATABASE, FORMAT, LOST_AND_FOUND, PIECE_BYTES, ROOT, RUN, SUMS, sum_line};
use crate::db::{self, DbError};
use crate::store::{Create, Home, StoreError, epoch, services};
use crate::sys::fs::{self, Dir};
use crate::token::digest::Digest;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The file about the archive is a few lines.
const ABOUT_MAX_BYTES: u64 = 64 << 10;
/// More files than any home has; their names are held in memory.
const ENTRIES_MAX: usize = 1_000_000;
/// Zeros that other programs fill the last record with.
const TRAILING_MAX_BYTES: u64 = 64 << 10;
/// Nobody but the owner may write what was restored.
const MODE_MASK: u32 = 0o755;

/// Reads a whole archive, which is to be `path`, and checks every name, length and hash.
pub(super) fn verify(mut file: File, path: &Path) -> Result<Contents, ArchiveError> {
    file.rewind().map_err(|source| ArchiveError::Read { path: path.to_owned(), source })?;
    Ok(Reader::of(file, path)?.go_through(None)?.0)
}

/// The home that an archive has become.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) contents: Contents,
    /// How many rows named places below the path where the home was, and name those below its new one now.
    pub(crate) moved_rows: usize,
    /// No token is taken until the key is changed, because what was revoked since is good in the database.
    pub(crate) is_older_copy: bool,
    /// What will not run as it did, each with the reason.
    pub(crate) warnings: Vec<String>,
    /// Why a power failure may still take it back.
    pub(crate) unsettled: Option<io::Error>,
}

/// Makes a home at `home` of the archive, which is checked before. There must be nothing at `home`, or an empty
/// directory. Where there is nothing it appears as a whole; an empty directory, which may be a mounted volume, gets one
/// entry after the other, the list of modules last. After an error there is what was before, or what somebody else has made
/// there meanwhile.
pub(crate) fn unpack(archive: &Path, home: &Path) -> Result<Restored, ArchiveError> {
    Reader::open(archive)?.go_through(None)?;
    let write_error = |source| ArchiveError::Write { path: home.to_owned(), source };
    stage::sweep(home);
    match fs::names(home) {
        Ok(names) if is_free(home, &names) => into_empty(archive, &home.canonicalize().map_err(write_error)?),
        Ok(_) => Err(ArchiveError::Exists { path: home.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => into_nothing(archive, home),
        Err(source) => Err(ArchiveError::Read { path: home.to_owned(), source }),
    }
}

/// Whether nobody has put anything into the directory.
fn is_free(home: &Path, names: &[OsString]) -> bool {
    let is_directory = |name: &OsString| fs::stat(&home.join(name)).is_ok_and(|stat| stat.kind == fs::Kind::Directory);
    names.iter().all(|name| name == LOST_AND_FOUND && is_directory(name))
}

/// Unpacks into the stage and looks at what came out as a hub would. What was revoked after the backup is good in its
/// database: noting an epoch that this one has not reached makes it known as the older copy that it is, so that no token
/// is taken until its key is changed (operator-token B8). What rows name below the path of the old home, `add`ed commands
/// above all, is looked for below `home`, where this one will be.
fn fill(stage: &Stage, archive: &Path, home: &Path) -> Result<Filled, ArchiveError> {
    let fill = || {
        let (contents, mut entries) = Reader::open(archive)?.go_through(Some(&stage.path))?;
        let staged = Home::open(&stage.path, Create::No)?;
        let (database, database_there) = (stage.path.join(DATABASE), home.join(DATABASE));
        let is_there = fs::stat(&database).is_ok_and(|stat| stat.size_bytes > 0);
        let found = match db::verify(&database) {
            Ok(None) if !is_there => Database::Missing,
            // A journal that is yet to be played back hides how old it is.
            Ok(found) => {
                epoch::note(&staged, found.map_or(db::BEYOND_ANY_COPY, |found| found.saturating_add(1)))?;
                Database::Older
            }
            // It was as bad when it was archived; who mends it has an older copy as well.
            Err(error) if error.is_of_the_file() => {
                epoch::note(&staged, db::BEYOND_ANY_COPY)?;
                Database::Unusable(error.at(&database_there))
            }
            Err(error) => return Err(error.at(&database_there).into()),
        };
        // Looking at a database with a log makes it, and it is made again by everyone who does.
        let _ = fs::unlink(&stage.path.join("hub.db-shm"));
        entries.remove(&format!("{ROOT}/hub.db-shm"));
        let from = contents.home.as_deref().filter(|from| *from != home);
        let rows = services::move_home(&staged, from, home)?;
        let owners = settle(&stage.path, &mut entries)?;
        Ok(Filled { contents, rows, database: found, owners })
    };
    fill().map_err(|error| unstaged(error, &stage.path, home))
}

/// An error about the stage, which goes away with it, in the words of the home that was asked for.
fn unstaged(error: ArchiveError, stage: &Path, home: &Path) -> ArchiveError {
    match error {
        ArchiveError::Store(StoreError::Write { source, .. } | StoreError::Unsettled { source, .. }) => {
            ArchiveError::Write { path: home.to_owned(), source }
        }
        ArchiveError::Write { path, source } => match path.strip_prefix(stage) {
            Ok(below) => ArchiveError::Write { path: home.join(below), source },
            Err(_) => ArchiveError::Write { path, source },
        },
        other => other,
    }
}

/// The database that came out.
enum Database {
    Missing,
    /// What was revoked since is good in it.
    Older,
    Unusable(DbError),
}

/// What a stage holds.
struct Filled {
    contents: Contents,
    rows: services::Moved,
    database: Database,
    owners: Owners,
}

impl Filled {
    /// Once it is in its place: what rows name is where it was, moved with the home, or nowhere. `synced` is whether
    /// that is on the disk.
    fn restored(self, synced: io::Result<()>) -> Restored {
        let is_missing = |path: &Path| fs::stat_followed(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
        let missing = self.rows.packages.iter().filter(|(_, path)| is_missing(path));
        let mut warnings: Vec<_> = missing
            .map(|(name, path)| format!("{name} cannot start: its directory {} does not exist", path.display()))
            .collect();
        if self.rows.unusable {
            warnings.push("the list of modules cannot be used and is as it was; see: parachute check".to_owned());
        }
        if let Database::Unusable(error) = &self.database {
            warnings.push(format!("the database cannot be used and is as it was: {error}"));
        }
        warnings.extend(self.owners.warnings());
        let is_older_copy = matches!(self.database, Database::Older);
        Restored {
            contents: self.contents,
            moved_rows: self.rows.rows,
            is_older_copy,
            warnings,
            unsettled: synced.err(),
        }
    }
}

/// Whose the home is, and what belongs to somebody else than it should.
struct Owners {
    of_home: Owner,
    lost: u64,
    /// Whether something of the home's own owner is among them.
    is_home_lost: bool,
}

impl Owners {
    /// Gives what stands at `path` to whom it belonged. Who is not root has it all; that the home itself was somebody
    /// else's is then meant.
    fn give(&mut self, path: &Path, owner: Owner) -> io::Result<()> {
        if fs::effective_uid() != ROOT_UID {
            self.lost += u64::from(owner != self.of_home);
            return Ok(());
        }
        let stat = fs::stat(path)?;
        if (stat.uid, stat.gid) == (owner.uid, owner.gid) {
            return Ok(());
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let file = Dir::open(parent)?.open_read(name)?;
        match fs::set_owner(&file, owner.uid, owner.gid) {
            // A root of a container, who has no say over all users.
            Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput) => {
                self.lost += 1;
                self.is_home_lost |= owner == self.of_home;
                Ok(())
            }
            done => done.and_then(|()| fs::sync(&file)),
        }
    }

    fn warnings(&self) -> impl Iterator<Item = String> {
        let Owner { uid, gid } = self.of_home;
        let is_root = fs::effective_uid() == ROOT_UID;
        let foreign = is_root && uid != ROOT_UID && !self.is_home_lost;
        let foreign =
            foreign.then(|| format!("it belongs to user {uid}, group {gid}, as it did; start its hub as that user"));
        let lost = (self.lost > 0).then(|| {
            format!(
                "{} of its files and directories belonged to other users or groups and are yours now; to have them back, \
                 restore {}",
                self.lost,
                if is_root { "where root may give files away" } else { "as root" }
            )
        });
        foreign.into_iter().chain(lost)
    }
}

/// Gives everything of the home in the stage its owner and, once nothing is made in it any more, each directory its
/// time; all that is on the disk afterwards.
fn settle(stage: &Path, entries: &mut Entries) -> Result<Owners, ArchiveError> {
    let of_home = entries.get(ROOT).map_or(Owner { uid: ROOT_UID, gid: ROOT_UID }, |entry| entry.owner);
    let mut owners = Owners { of_home, lost: 0, is_home_lost: false };
    // What was made without an entry is the home's.
    for (name, kind) in [("hub", Kind::Directory), ("hub/run", Kind::Directory), ("hub/run/epoch", Kind::File)] {
        if fs::stat(&stage.join(name)).is_ok() {
            let made = Entry { kind, owner: of_home, mtime: None };
            entries.entry(format!("{ROOT}/{name}")).or_insert(made);
        }
    }
    for (name, entry) in entries.iter().rev() {
        let path = place(stage, name);
        let settled = owners.give(&path, entry.owner).and_then(|()| match entry.kind {
            Kind::File => Ok(()),
            Kind::Directory => {
                let dir = Dir::open(&path)?;
                entry.mtime.map_or(Ok(()), |mtime| fs::set_mtime(&dir, mtime))?;
                dir.sync()
            }
        });
        settled.map_err(|source| ArchiveError::Write { path, source })?;
    }
    Ok(owners)
}

fn into_nothing(archive: &Path, home: &Path) -> Result<Restored, ArchiveError> {
    let write_error = |source| ArchiveError::Write { path: home.to_owned(), source };
    let (Some(parent), Some(name)) = (home.parent(), home.file_name()) else {
        return Err(write_error(io::ErrorKind::InvalidInput.into()));
    };
    fs::make_dirs(parent, DIR_MODE).map_err(write_error)?;
    // Without links, as the home will know itself.
    let parent = parent.canonicalize().map_err(write_error)?;
    let above = Dir::open(&parent).map_err(write_error)?;
    let stage = Stage::new(&parent)?;
    let filled = fill(&stage, archive, &parent.join(name))?;
    fs::rename(&stage.path, &parent.join(name)).map_err(|source| unplaced(home, source))?;
    Ok(filled.restored(above.sync()))
}

/// Why nothing could be put at `home`: somebody else, such as another who restores or a hub that has begun there, may
/// have been faster.
fn unplaced(home: &Path, source: io::Error) -> ArchiveError {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    let path = home.to_owned();
    match source.kind() {
        AlreadyExists | DirectoryNotEmpty | NotADirectory => ArchiveError::Exists { path },
        _ => ArchiveError::Write { path, source },
    }
}

fn into_empty(archive: &Path, home: &Path) -> Result<Restored, ArchiveError> {
    let write_error = |source| ArchiveError::Write { path: home.to_owned(), source };
    // One that no command would use afterwards is not filled.
    Home::open(home, Create::No)?;
    let dir = Dir::open(home).map_err(write_error)?;
    let stage = Stage::new(home)?;
    // Of two who have found it empty at the same time each would take the other's for its own when it takes back.
    let others: Vec<_> =
        fs::names(home).map_err(write_error)?.into_iter().filter(|name| !stage.path.ends_with(name)).collect();
    if !is_free(home, &others) {
        return Err(ArchiveError::Exists { path: home.to_owned() });
    }
    let mut filled = fill(&stage, archive, home)?;
    let mut names = fs::names(&stage.path).map_err(write_error)?;
    // A hub that finds a part of it must not take that for all: without its list it runs nothing.
    names.sort_by_key(|name| name == "services.json");
    let before = dir.own_stat().map_err(write_error)?;
    dir.set_mode(DIR_MODE).map_err(write_error)?;
    let of_home = filled.owners.of_home;
    if let Err(error) =
        filled.owners.give(home, of_home).map_err(write_error).and_then(|()| move_all(&stage.path, home, &names))
    {
        // As it was; who finds it private now can open it again.
        let _ = filled.owners.give(home, Owner { uid: before.uid, gid: before.gid });
        let _ = dir.set_mode(before.mode);
        return Err(error);
    }
    Ok(filled.restored(dir.sync()))
}

/// Moves all of `names`, or none where that can be.
fn move_all(from: &Path, to: &Path, names: &[OsString]) -> Result<(), ArchiveError> {
    for (done, name) in names.iter().enumerate() {
        let Err(source) = move_into(from, to, name) else { continue };
        // Back to where it goes away from.
        let back = names.iter().take(done).map(|name| move_into(to, from, name));
        let is_torn = back.fold(false, |torn, back| torn | back.is_err());
        return Err(if is_torn { ArchiveError::Torn { path: to.to_owned(), source } } else { unplaced(to, source) });
    }
    Ok(())
}

/// Refuses to replace what somebody else has made meanwhile.
fn move_into(from: &Path, to: &Path, name: &OsStr) -> io::Result<()> {
    let to = to.join(name);
    match fs::stat(&to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(&from.join(name), &to),
        Err(error) => Err(error),
    }
}

struct Reader {
    file: File,
    path: PathBuf,
    at_bytes: u64,
    /// Of the file.
    size_bytes: u64,
}

impl Reader {
    fn open(path: &Path) -> Result<Self, ArchiveError> {
        let read_error = |source| ArchiveError::Read { path: path.to_owned(), source };
        // Links are the business of who names the file.
        let real = path.canonicalize().map_err(read_error)?;
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
            return Err(read_error(io::ErrorKind::InvalidInput.into()));
        };
        let file = Dir::open(parent).and_then(|dir| dir.open_read(name)).map_err(read_error)?;
        Self::of(file, path)
    }

    /// From the start of a file on.
    fn of(file: File, path: &Path) -> Result<Self, ArchiveError> {
        let stat = fs::stat_of(&file).map_err(|source| ArchiveError::Read { path: path.to_owned(), source })?;
        let reader = Self { file, path: path.to_owned(), at_bytes: 0, size_bytes: stat.size_bytes };
        match stat.kind {
            fs::Kind::Regular => Ok(reader),
            _ => Err(reader.malformed("it is not a regular file")),
        }
    }

    fn malformed(&self, reason: impl Into<String>) -> ArchiveError {
        ArchiveError::Malformed { path: self.path.clone(), at_bytes: self.at_bytes, reason: reason.into() }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        let wanted = buffer.len() as u64;
        if self.size_bytes.saturating_sub(self.at_bytes) < wanted {
            return Err(self.malformed("it ends too early"));
        }
        (&self.file).read_exact(buffer).map_err(|source| ArchiveError::Read { path: self.path.clone(), source })?;
        self.at_bytes += wanted;
        Ok(())
    }

    fn block(&mut self) -> Result<Block, ArchiveError> {
        let mut block = [0; BLOCK_BYTES];
        self.fill(&mut block).map(|()| block)
    }

    /// The header of the next entry; `None` where the end begins.
    fn next(&mut self) -> Result<Option<Header>, ArchiveError> {
        let bad = |reader: &Self, Malformed(reason)| reader.malformed(reason);
        let block = self.block()?;
        let header = match tar::decode(&block, Records::default()).map_err(|error| bad(self, error))? {
            Said::Zeros => return Ok(None),
            Said::Entry(header) => header,
            Said::Pax { size_bytes } => {
                let records = self.own(size_bytes, tar::PAX_MAX_BYTES)?;
                let records = tar::records(&records).map_err(|error| bad(self, error))?;
                let block = self.block()?;
                match tar::decode(&block, records).map_err(|error| bad(self, error))? {
                    Said::Entry(header) => header,
                    Said::Pax { .. } | Said::Zeros => return Err(self.malformed("records without an entry")),
                }
            }
        };
        let header = tar::settle(header).map_err(|error| bad(self, error))?;
        if header.size_bytes > self.size_bytes.saturating_sub(self.at_bytes) {
            return Err(self.malformed(format!("{} is longer than the archive", header.name)));
        }
        Ok(Some(header))
    }

    /// Hands the next `size_bytes` to `take`, in pieces, and passes over what fills the last block.
    fn content(
        &mut self,
        size_bytes: u64,
        take: &mut dyn FnMut(&[u8]) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        let mut left = size_bytes;
        let mut piece = vec![0; PIECE_BYTES];
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let room = piece.get_mut(..room).unwrap_or_default();
            self.fill(room)?;
            take(room)?;
            left -= room.len() as u64;
        }
        let padding = piece.get_mut(..tar::padding(size_bytes)).unwrap_or_default();
        self.fill(padding)?;
        match padding.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(self.malformed("something stands between two entries")),
        }
    }

    /// A file of the archive's own, whole.
    fn own(&mut self, size_bytes: u64, limit_bytes: u64) -> Result<Vec<u8>, ArchiveError> {
        if size_bytes > limit_bytes {
            return Err(self.malformed("what the archive says of itself is too long"));
        }
        let mut bytes = Vec::new();
        self.content(size_bytes, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Reads everything once, and makes it below `into`, but for what another hub had for itself.
    fn go_through(mut self, into: Option<&Path>) -> Result<(Contents, Entries), ArchiveError> {
        let mut sums = String::new();
        let mut contents = self.about(&mut sums)?;
        let mut entries = Entries::new();
        loop {
            let Some(header) = self.next()? else { return Err(self.malformed(format!("it has no {SUMS}"))) };
            if header.name == SUMS && header.kind == Kind::File {
                let found = self.own(header.size_bytes, sums.len() as u64)?;
                if found != sums.as_bytes() {
                    return Err(self.malformed("a file is not what its hash says"));
                }
                break;
            }
            self.judge(&header, &entries)?;
            let into = into.filter(|_| !is_of_run(&header.name));
            match header.kind {
                Kind::Directory => into.map_or(Ok(()), |into| make_directory(into, &header))?,
                Kind::File => {
                    let hash = self.file(&header, into)?;
                    sums.push_str(&sum_line(&hash, &header.name));
                    contents.files += 1;
                    contents.bytes += header.size_bytes;
                }
            }
            let (kind, owner, mtime) = (header.kind, header.owner, Some(mtime(&header)));
            entries.insert(header.name, Entry { kind, owner, mtime });
        }
        self.end()?;
        entries.retain(|name, _| !is_of_run(name));
        Ok((contents, entries))
    }

    /// The first entry: what the archive says of itself.
    fn about(&mut self, sums: &mut String) -> Result<Contents, ArchiveError> {
        const NOT_OURS: &str = "it is no backup of a home";
        let header = self.next()?.filter(|header| header.name == ABOUT && header.kind == Kind::File);
        let header = header.ok_or_else(|| self.malformed(NOT_OURS))?;
        let bytes = self.own(header.size_bytes, ABOUT_MAX_BYTES)?;
        let mut digest = Digest::default();
        digest.update(&bytes);
        sums.push_str(&sum_line(&digest.hex(), ABOUT));
        let about: Value = serde_json::from_slice(&bytes).map_err(|_| self.malformed(NOT_OURS))?;
        let text = |field: &str| about.get(field).and_then(Value::as_str).map(str::to_owned);
        let (Some(version), Some(created_at)) = (text("version"), text("created_at")) else {
            return Err(self.malformed(NOT_OURS));
        };
        match about.get("format").and_then(Value::as_u64) {
            Some(FORMAT) => {
                let home = text("home").map(PathBuf::from).filter(|path| path.is_absolute());
                Ok(Contents { version, created_at, home, files: 0, bytes: 0 })
            }
            _ => Err(self.malformed(format!("release {version} wrote it in a format that this one does not know"))),
        }
    }

    /// Every entry has its directory before it, and its name for itself.
    fn judge(&self, header: &Header, entries: &Entries) -> Result<(), ArchiveError> {
        let name = &header.name;
        let is_directory = |name: &str| entries.get(name).is_some_and(|entry| entry.kind == Kind::Directory);
        let known = name == ROOT || name.rsplit_once('/').is_some_and(|(above, _)| is_directory(above));
        if !known || (name == ROOT && header.kind == Kind::File) {
            return Err(self.malformed(format!("{name} lies outside of the home")));
        }
        if entries.contains_key(name) {
            return Err(self.malformed(format!("{name} is there twice")));
        }
        if entries.len() >= ENTRIES_MAX {
            return Err(self.malformed(format!("it has more than {ENTRIES_MAX} entries")));
        }
        Ok(())
    }

    /// Reads a file, and makes it; its hash comes back.
    fn file(&mut self, header: &Header, into: Option<&Path>) -> Result<String, ArchiveError> {
        let made = match into.map(|into| place(into, &header.name)) {
            None => None,
            Some(path) => {
                let error = |source| ArchiveError::Write { path: path.clone(), source };
                let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                    return Err(error(io::ErrorKind::InvalidInput.into()));
                };
                let file = Dir::open(parent).and_then(|dir| dir.create_new(name, 0o600)).map_err(error)?;
                Some((file, path))
            }
        };
        let mut digest = Digest::default();
        self.content(header.size_bytes, &mut |piece| {
            digest.update(piece);
            let Some((file, path)) = &made else { return Ok(()) };
            fs::write_all(file, piece).map_err(|source| ArchiveError::Write { path: path.clone(), source })
        })?;
        if let Some((file, path)) = made {
            fs::set_mode(&file, header.mode & MODE_MASK | 0o600)
                .and_then(|()| fs::set_mtime(&file, mtime(header)))
                .and_then(|()| fs::sync(&file))
                .map_err(|source| ArchiveError::Write { path, source })?;
        }
        Ok(digest.hex())
    }

    /// The second block of zeros, and more of them at most.
    fn end(&mut self) -> Result<(), ArchiveError> {
        let is_zero = |block: Block| block.iter().all(|byte| *byte == 0);
        if self.next()?.is_some() || self.size_bytes - self.at_bytes > TRAILING_MAX_BYTES {
            return Err(self.malformed("something stands behind its end"));
        }
        let mut blocks = 0;
        while self.at_bytes < self.size_bytes {
            blocks += 1;
            if !is_zero(self.block()?) {
                return Err(self.malformed("something stands behind its end"));
            }
        }
        if blocks == 0 { Err(self.malformed("it ends too early")) } else { Ok(()) }
    }
}

/// What is known of an entry that was read.
struct Entry {
    kind: Kind,
    owner: Owner,
    mtime: Option<SystemTime>,
}

/// By their names.
type Entries = BTreeMap<String, Entry>;

fn mtime(header: &Header) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(header.mtime_s)
}

/// Whether an entry is the run-time state of the hub that was.
fn is_of_run(name: &str) -> bool {
    name.strip_prefix(RUN).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Where an entry of the home goes; the name was judged.
fn place(into: &Path, name: &str) -> PathBuf {
    match name.strip_prefix(ROOT).map(|below| below.trim_start_matches('/')) {
        Some("") | None => into.to_owned(),
        Some(below) => into.join(below),
    }
}

fn make_directory(into: &Path, header: &Header) -> Result<(), ArchiveError> {
    let path = place(into, &header.name);
    let error = |source| ArchiveError::Write { path: path.clone(), source };
    if path != into {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(error(io::ErrorKind::InvalidInput.into()));
        };
        Dir::open(parent).and_then(|dir| dir.make_dir(name, DIR_MODE)).map_err(error)?;
    }
    // The home itself is nobody else's, whatever it was.
    let mode = if path == into { DIR_MODE } else { header.mode & MODE_MASK | DIR_MODE };
    Dir::open(&path).and_then(|dir| dir.set_mode(mode)).map_err(error)
}
