//! One file, read within limits and written so that it is always the old or the new one (files §14.2).

mod secret;
#[cfg(test)]
mod tests;

pub(super) use secret::{Secret, Trust};

pub(crate) use super::modes::{PRIVATE, PUBLIC};

use super::home::is_trusted;
use super::{Home, StoreError};
use crate::sys::fs::{self, Dir, Kind, Rename, Stat};
use crate::sys::random;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Files without a larger limit of their own.
pub(crate) const SMALL_FILE_MAX_BYTES: u64 = 64 << 10;

/// A temporary file of ours that is older was left by a process that died.
const TEMP_MAX_AGE: Duration = Duration::from_secs(3_600);
const TEMP_RANDOM_BYTES: usize = 8;
/// What SQLite has beside the copy of a database that is being written.
const TEMP_JOURNAL: &str = "-journal";
/// Follows the name of a file that changes places with a spare one.
pub(super) const SPARE: &str = ".spare";

/// What happens at a symbolic link in the last place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    Refuse,
    /// Resolved once, when we or root own what it leads to.
    Follow,
}

/// Whether a power failure may take a write back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sync {
    ToDisk,
    /// The file means nothing after a reboot.
    Never,
}

/// Where a file is, or would be: an open directory and a name in it.
#[derive(Debug)]
pub(super) struct Target {
    dir: Dir,
    name: OsString,
    path: PathBuf,
}

/// Writes `<home>/<relative>` as a whole, durably. A stricter mode of the old file is kept, and nothing is readable by
/// others in a home that others can look into. A symbolic link is refused. Makes missing directories. Blocks on the disk.
pub(crate) fn write(home: &Home, relative: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
    write_as(home, relative.as_ref(), bytes, mode, Sync::ToDisk)
}

/// Like [`write`], without waiting for the disk: for what describes the running hub and is void after a reboot.
pub(super) fn write_volatile(home: &Home, relative: &Path, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
    write_as(home, relative, bytes, mode, Sync::Never)
}

/// Like [`write_volatile`], for a secret that every start of a module writes anew, where making one file and removing
/// another would be felt: the one that stood there stays beside it as the spare, into which the next is written. The
/// first one gets an empty spare.
pub(super) fn swap_volatile(home: &Home, relative: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let target = Target::to_write(home, relative)?;
    if target.swap(bytes) {
        return Ok(());
    }
    let is_first = target.stat()?.is_none();
    replace(home, &target, bytes, PRIVATE, Sync::Never)?;
    if is_first {
        // Without it the next one makes it.
        let _ = target.dir.create_new(&target.spare_name(), PRIVATE);
    }
    Ok(())
}

fn write_as(home: &Home, relative: &Path, bytes: &[u8], mode: u32, sync: Sync) -> Result<(), StoreError> {
    replace(home, &Target::to_write(home, relative)?, bytes, mode, sync)
}

/// Whether [`write`] could put a file there, as far as what is in its place goes.
pub(super) fn look_at_place(home: &Home, relative: &Path) -> Result<(), StoreError> {
    Target::locate(home, relative, Links::Refuse)?.map_or(Ok(()), |target| replaceable(&target).map(drop))
}

/// What is there now, which a new file may take the place of.
fn replaceable(target: &Target) -> Result<Option<Kind>, StoreError> {
    match target.stat()?.map(|stat| stat.kind) {
        Some(Kind::Symlink) => Err(StoreError::Symlink { path: target.path.clone() }),
        Some(Kind::Directory) => Err(StoreError::NotRegular { path: target.path.clone() }),
        // A rename replaces everything else.
        there @ (Some(Kind::Regular | Kind::Socket | Kind::Other) | None) => Ok(there),
    }
}

fn replace(home: &Home, target: &Target, bytes: &[u8], mode: u32, sync: Sync) -> Result<(), StoreError> {
    let there = replaceable(target)?;
    let staged = target.stage_as(bytes, permitted(home, mode), sync)?;
    // In the place of another file ext4 has a new one written at once, which a boot would wait for once a module.
    let changes_places = sync == Sync::Never && there.is_some() && staged.commit(Rename::Exchange).is_ok();
    if !changes_places {
        staged.commit(Rename::Replace).map_err(|source| target.write_error(source))?;
    }
    staged.settle()
}

/// Reads `<home>/<relative>` up to `limit_bytes`; `None` when it is missing. Never blocks on what is no file.
pub(crate) fn read(home: &Home, relative: impl AsRef<Path>, limit_bytes: u64) -> Result<Option<Vec<u8>>, StoreError> {
    match Target::locate(home, relative.as_ref(), Links::Refuse)? {
        Some(target) => Ok(target.read(limit_bytes)?.map(|(bytes, _)| bytes)),
        None => Ok(None),
    }
}

/// Where `<home>/<relative>` is in truth: what a symbolic link leads to, when we or root own that; `None` when it is
/// missing.
pub(crate) fn real_path(home: &Home, relative: &Path) -> Result<Option<PathBuf>, StoreError> {
    let Some(target) = Target::locate(home, relative, Links::Follow)? else { return Ok(None) };
    Ok(target.stat()?.map(|_| target.path))
}

/// Whether nothing stands at `<home>/<relative>`, by one look: for what most modules do not have and is asked at every
/// start. Whatever stands in the way of telling is left to whoever opens it.
pub(super) fn is_missing(home: &Home, relative: &Path) -> bool {
    fs::stat(&home.path().join(relative)).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Removes `<home>/<relative>`; one that is missing already is fine.
pub(super) fn remove(home: &Home, relative: &Path) -> Result<(), StoreError> {
    let Some(target) = Target::locate(home, relative, Links::Refuse)? else { return Ok(()) };
    match target.dir.unlink(&target.name) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(target.write_error(source)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Gives `<home>/<relative>` another name in its directory, for good; the new path comes back.
pub(super) fn move_aside(home: &Home, relative: &Path, name: &str) -> Result<Option<PathBuf>, StoreError> {
    match Target::locate(home, relative, Links::Refuse)? {
        Some(target) => target.move_aside(OsStr::new(name)).map(Some),
        None => Ok(None),
    }
}

/// Nothing is for others in a home that others can look into.
pub(super) fn permitted(home: &Home, mode: u32) -> u32 {
    if home.is_private() { mode } else { mode & PRIVATE }
}

/// Where to look for what writers left that died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sweep {
    /// In the home and beside the hub's files: what a boot has the time for.
    OwnFiles,
    /// Also in the directories of all modules.
    Everywhere,
}

/// Removes what writers left that died, once it is an hour old. Returns how many.
pub(crate) fn sweep(home: &Home, now: SystemTime, sweep: Sweep) -> Result<usize, StoreError> {
    let mut places: Vec<PathBuf> = ["", "hub", "hub/run", "well-known"].map(PathBuf::from).into();
    if sweep == Sweep::Everywhere {
        let modules = below(home, Path::new("modules"))?.into_iter().map(|name| name.join(".parachute"));
        places.extend(modules);
        let below_the_home = below(home, Path::new(""))?;
        // Where a module is handed its keys.
        places.extend(below_the_home.iter().map(|name| name.join("run")));
        places.extend(below_the_home);
        places.sort();
        places.dedup();
    }
    let oldest = now.checked_sub(TEMP_MAX_AGE).and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    let oldest_ns = i128::try_from(oldest.unwrap_or_default().as_nanos()).unwrap_or(i128::MAX);
    let mut removed = 0;
    for relative in &places {
        // What is no directory of ours has nothing of ours in it.
        let Ok(Some(dir)) = home.open_dir(relative) else { continue };
        let path = home.path().join(relative);
        let read_error = |source| StoreError::Read { path: path.clone(), source };
        for name in fs::names(&path).map_err(read_error)?.iter().filter(|name| is_temp_name(name)) {
            let is_old = dir.stat(name).is_ok_and(|stat| stat.mtime_ns < oldest_ns);
            if is_old && dir.unlink(name).is_ok() {
                removed += 1;
            }
        }
    }
    Ok(removed)
}

/// The directories in one of the home's.
fn below(home: &Home, relative: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let path = home.path().join(relative);
    let read_error = |source| StoreError::Read { path: path.clone(), source };
    let mut names = match fs::names(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(read_error)?,
    };
    names.retain(|name| fs::stat(&path.join(name)).is_ok_and(|stat| stat.kind == fs::Kind::Directory));
    Ok(names.into_iter().map(|name| relative.join(name)).collect())
}

/// A file that nobody else can look into, by this name or another.
fn is_ours_alone(stat: &Stat) -> bool {
    stat.kind == Kind::Regular && stat.uid == fs::effective_uid() && stat.links == 1 && stat.mode == PRIVATE
}

fn temp_name(name: &OsStr) -> OsString {
    let mut temp = OsString::from(".");
    temp.push(name);
    temp.push(format!(".{}.tmp", random::hex(TEMP_RANDOM_BYTES)));
    temp
}

/// Whether only a writer of ours, or SQLite beside one, makes a file of this name.
pub(crate) fn is_temp_name(name: &OsStr) -> bool {
    let random = || {
        let name = name.to_str()?.strip_prefix('.')?;
        let name = name.strip_suffix(TEMP_JOURNAL).unwrap_or(name);
        let (name, random) = name.strip_suffix(".tmp")?.rsplit_once('.')?;
        (!name.is_empty()).then_some(random)
    };
    random().is_some_and(|r| r.len() == 2 * TEMP_RANDOM_BYTES && r.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl Target {
    /// Finds `<home>/<relative>`; `None` when its directory is missing.
    pub(super) fn locate(home: &Home, relative: &Path, links: Links) -> Result<Option<Self>, StoreError> {
        match home.open_dir(relative.parent().unwrap_or(Path::new("")))? {
            Some(dir) => Self::at(dir, home.path().join(relative))?.resolved(links).map(Some),
            None => Ok(None),
        }
    }

    /// The place of a file that is to be written; missing directories are made.
    fn to_write(home: &Home, relative: &Path) -> Result<Self, StoreError> {
        let dir = home.make_dir(relative.parent().unwrap_or(Path::new("")))?;
        Self::at(dir, home.path().join(relative))
    }

    /// Finds a file anywhere, following links to what we or root own; `None` when its directory is missing.
    pub(super) fn outside(path: &Path) -> Result<Option<Self>, StoreError> {
        let dir = Dir::open(path.parent().unwrap_or(Path::new("/")));
        match dir {
            Ok(dir) => Self::at(dir, path.to_owned())?.resolved(Links::Follow).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Read { path: path.to_owned(), source }),
        }
    }

    /// Finds a file that whoever started us named, through whatever links; `None` when it is missing.
    pub(super) fn given(path: &Path) -> Result<Option<Self>, StoreError> {
        let read_error = |source| StoreError::Read { path: path.to_owned(), source };
        match path.canonicalize() {
            Ok(real) => {
                let dir = Dir::open(real.parent().unwrap_or(Path::new("/"))).map_err(read_error)?;
                Self::at(dir, real).map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(read_error(source)),
        }
    }

    fn at(dir: Dir, path: PathBuf) -> Result<Self, StoreError> {
        match path.file_name().map(OsStr::to_owned) {
            Some(name) => Ok(Self { dir, name, path }),
            None => Err(StoreError::NotRegular { path }),
        }
    }

    /// Goes to what a symbolic link leads to, once.
    fn resolved(self, links: Links) -> Result<Self, StoreError> {
        if self.stat()?.is_none_or(|stat| stat.kind != Kind::Symlink) {
            return Ok(self);
        }
        if links == Links::Refuse {
            return Err(StoreError::Symlink { path: self.path });
        }
        let read_error = |source| StoreError::Read { path: self.path.clone(), source };
        let real = self.path.canonicalize().map_err(read_error)?;
        let dir = Dir::open(real.parent().unwrap_or(Path::new("/"))).map_err(read_error)?;
        let target = Self::at(dir, real)?;
        match target.stat()? {
            Some(stat) if !is_trusted(&stat) => {
                Err(StoreError::ForeignOwner { path: target.path, owner_uid: stat.uid })
            }
            _ => Ok(target),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What stands there; `None` for nothing.
    pub(super) fn stat(&self) -> Result<Option<Stat>, StoreError> {
        match self.dir.stat(&self.name) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.read_error(source)),
        }
    }

    /// Reads the file and what it was when it was opened; `None` when it is missing. Refuses what is no regular file
    /// before it reads a byte, and what another user than us or root owns.
    pub(super) fn read(&self, limit_bytes: u64) -> Result<Option<(Vec<u8>, Stat)>, StoreError> {
        self.read_name(&self.name, limit_bytes)
    }

    fn read_name(&self, name: &OsStr, limit_bytes: u64) -> Result<Option<(Vec<u8>, Stat)>, StoreError> {
        let Some((file, stat)) = self.open(name)? else { return Ok(None) };
        if !is_trusted(&stat) {
            return Err(StoreError::ForeignOwner { path: self.path.clone(), owner_uid: stat.uid });
        }
        // One byte more than it has, so that its end is seen in the same buffer.
        let mut bytes = Vec::with_capacity(usize::try_from(stat.size_bytes.min(limit_bytes)).unwrap_or(0) + 1);
        match fs::read_into(&file, limit_bytes, &mut bytes).map_err(|source| self.read_error(source))? {
            true => Ok(Some((bytes, stat))),
            false => Err(StoreError::TooLarge { path: self.path.clone(), limit_bytes }),
        }
    }

    /// Opens the regular file `name` for reading; `None` when it is missing. Never blocks on what is none.
    fn open(&self, name: &OsStr) -> Result<Option<(File, Stat)>, StoreError> {
        let path = || self.path.clone();
        match self.dir.stat(name) {
            Ok(stat) if stat.kind == Kind::Symlink => return Err(StoreError::Symlink { path: path() }),
            Ok(stat) if stat.kind != Kind::Regular => return Err(StoreError::NotRegular { path: path() }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.read_error(source)),
        }
        let file = match self.dir.open_read(name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.read_error(source)),
        };
        // Looked at again: another thing may have been put there in between.
        let stat = fs::stat_of(&file).map_err(|source| self.read_error(source))?;
        if stat.kind != Kind::Regular {
            return Err(StoreError::NotRegular { path: path() });
        }
        Ok(Some((file, stat)))
    }

    /// Writes a temporary file beside the target, complete and on the disk. It is gone again when it is dropped.
    pub(super) fn stage(&self, bytes: &[u8], mode: u32) -> Result<Staged<'_>, StoreError> {
        self.stage_as(bytes, mode, Sync::ToDisk)
    }

    /// Like [`Target::stage`], without waiting for the disk: [`Target::sync`] has to follow.
    pub(super) fn stage_unsynced(&self, bytes: &[u8], mode: u32) -> Result<Staged<'_>, StoreError> {
        self.stage_as(bytes, mode, Sync::Never)
    }

    /// Waits until what stands there now is on the disk.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let file = self.dir.open_read(&self.name).map_err(|source| self.write_error(source))?;
        fs::sync(&file).map_err(|source| self.unsettled(source))?;
        self.sync_dir()
    }

    /// Waits until a rename in the directory is on the disk.
    fn sync_dir(&self) -> Result<(), StoreError> {
        self.dir.sync().map_err(|source| self.unsettled(source))
    }

    fn stage_as(&self, bytes: &[u8], mode: u32, sync: Sync) -> Result<Staged<'_>, StoreError> {
        let mode = self.stat()?.map_or(mode, |old| mode & old.mode);
        let temp = temp_name(&self.name);
        let fill = |file: &File| {
            fs::write_all(file, bytes)?;
            fs::set_mode(file, mode)?;
            if sync == Sync::ToDisk { fs::sync(file) } else { Ok(()) }
        };
        let file = self.dir.create_new(&temp, PRIVATE).map_err(|source| self.write_error(source))?;
        let staged = Staged { target: self, temp, sync };
        fill(&file).map_err(|source| self.write_error(source))?;
        Ok(staged)
    }

    /// Writes into the spare file and has it change places with the one that stands there; both have to be private files
    /// of ours alone. `false`, and the spare is removed: that is not so, or it failed; whoever then puts a new file in
    /// its place hears why.
    fn swap(&self, bytes: &[u8]) -> bool {
        let spare = self.spare_name();
        let swap = |file| {
            fs::write_all(&file, bytes).and_then(|()| self.dir.rename(&spare, &self.name, Rename::Exchange)).is_ok()
        };
        let may_swap = self.dir.stat(&self.name).is_ok_and(|stat| is_ours_alone(&stat));
        let is_swapped = may_swap && self.spare(&spare, bytes.len()).is_ok_and(swap);
        if !is_swapped {
            let _ = self.dir.unlink(&spare);
        }
        is_swapped
    }

    fn spare_name(&self) -> OsString {
        let mut name = self.name.clone();
        name.push(SPARE);
        name
    }

    /// Opens the spare file, empty or of this size, for writing, or makes an empty one.
    fn spare(&self, name: &OsStr, size: usize) -> io::Result<File> {
        let fits = |size_bytes| size_bytes == 0 || size_bytes == size as u64;
        if let Ok(file) = self.dir.open_write(name)
            && fs::stat_of(&file).is_ok_and(|stat| is_ours_alone(&stat) && fits(stat.size_bytes))
        {
            return Ok(file);
        }
        // Whatever stands there is not what we have left.
        let _ = self.dir.unlink(name);
        self.dir.create_new(name, PRIVATE)
    }

    /// Gives the file another name in its directory, for good.
    pub(super) fn move_aside(&self, name: &OsStr) -> Result<PathBuf, StoreError> {
        self.dir.rename(&self.name, name, Rename::Replace).map_err(|source| self.write_error(source))?;
        self.sync_dir()?;
        Ok(self.path.with_file_name(name))
    }

    pub(super) fn read_error(&self, source: io::Error) -> StoreError {
        StoreError::Read { path: self.path.clone(), source }
    }

    pub(super) fn write_error(&self, source: io::Error) -> StoreError {
        StoreError::Write { path: self.path.clone(), source }
    }

    fn unsettled(&self, source: io::Error) -> StoreError {
        StoreError::Unsettled { path: self.path.clone(), source }
    }
}

/// A complete temporary file that waits to become the target.
#[derive(Debug)]
pub(super) struct Staged<'a> {
    target: &'a Target,
    temp: OsString,
    sync: Sync,
}

impl Staged<'_> {
    /// Puts it in the target's place; [`Staged::settle`] has to follow. After an exchange what stood there is under the
    /// temporary name, to be looked at with [`Staged::read_displaced`], until this is dropped.
    pub(super) fn commit(&self, how: Rename) -> io::Result<()> {
        self.target.dir.rename(&self.temp, &self.target.name, how)
    }

    /// Waits until no power failure takes the change back. The file is the new one, also when this fails.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        if self.sync == Sync::ToDisk { self.target.sync_dir() } else { Ok(()) }
    }

    /// Gives what stood in the target's place before an exchange this name for good; its path comes back.
    pub(super) fn keep_as(&self, name: &str) -> io::Result<PathBuf> {
        self.target.dir.rename(&self.temp, OsStr::new(name), Rename::NoReplace)?;
        Ok(self.target.path.with_file_name(name))
    }

    /// What stood in the target's place before an exchange.
    pub(super) fn read_displaced(&self, limit_bytes: u64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.target.read_name(&self.temp, limit_bytes)?.map(|(bytes, _)| bytes))
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        // After a plain rename there is nothing under that name any more, after an exchange what was there before.
        let _ = self.target.dir.unlink(&self.temp);
    }
}
