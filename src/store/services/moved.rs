//! The list of modules in a home that was unpacked, before the home stands where it will.

use super::recover::BACKUP;
use super::{SERVICES, SERVICES_MAX_BYTES};
use crate::manifest::services;
use crate::store::atomic::{self, PUBLIC};
use crate::store::{Home, StoreError};
use std::path::{Path, PathBuf};

/// What became of it.
#[derive(Debug)]
pub(crate) struct Moved {
    /// How many rows were changed.
    pub(crate) rows: usize,
    /// Name and `installDir` of every row that has one.
    pub(crate) packages: Vec<(String, PathBuf)>,
    /// The list cannot be used, and stays as it is.
    pub(crate) unusable: bool,
}

/// Moves what the rows of `home` name below `from` to the same place below `to`, in the list and in its backup, durably.
/// Nobody else may know of `home` yet. A list that cannot be read stays as it is.
pub(crate) fn move_home(home: &Home, from: Option<&Path>, to: &Path) -> Result<Moved, StoreError> {
    let list = unless_unusable(move_list(home, SERVICES, from, to))?;
    // One that cannot be read is of no use where it is either.
    let _unusable = unless_unusable(move_list(home, BACKUP, from, to))?;
    let unusable = list.is_none();
    let (rows, packages) = list.flatten().map(|list| (list.rows, list.packages)).unwrap_or_default();
    Ok(Moved { rows, packages, unusable })
}

/// `None` for a list that cannot be read; what cannot be written stays an error.
fn unless_unusable<T>(moved: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match moved {
        Err(error @ (StoreError::Write { .. } | StoreError::Unsettled { .. } | StoreError::Overfull { .. })) => {
            Err(error)
        }
        other => Ok(other.ok()),
    }
}

fn move_list(home: &Home, name: &str, from: Option<&Path>, to: &Path) -> Result<Option<services::Moved>, StoreError> {
    let Some(bytes) = atomic::read(home, name, SERVICES_MAX_BYTES)? else { return Ok(None) };
    // A row is text, and can name no place below another kind of path.
    let from = from.filter(|_| to.to_str().is_some());
    let path = || home.path().join(name);
    let moved = services::moved(&bytes, from, to.to_str().unwrap_or_default())
        .map_err(|problem| StoreError::Syntax { path: path(), problem })?;
    if let Some(bytes) = &moved.bytes {
        if bytes.len() as u64 > SERVICES_MAX_BYTES {
            return Err(StoreError::Overfull { path: path(), limit_bytes: SERVICES_MAX_BYTES });
        }
        atomic::write(home, name, bytes, PUBLIC)?;
    }
    Ok(Some(moved))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TestHome;
    use std::os::unix::fs::PermissionsExt;

    const OLD: &str = r#"{"services":[{"name":"wiki","installDir":"/old/modules/wiki"}]}"#;

    #[test]
    fn the_list_and_its_backup_move_and_keep_their_modes() {
        let home = TestHome::new();
        for (name, mode) in [(SERVICES, 0o640), (BACKUP, 0o600)] {
            let path = home.put(name, OLD);
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
        }
        let moved = move_home(&home, Some(Path::new("/old")), Path::new("/new")).expect("moved");
        assert_eq!(moved.rows, 1);
        assert_eq!(moved.packages, [("wiki".to_owned(), PathBuf::from("/new/modules/wiki"))]);
        for (name, expected) in [(SERVICES, 0o640), (BACKUP, 0o600)] {
            assert!(home.text(name).contains("\"/new/modules/wiki\""), "{name}: {}", home.text(name));
            let mode = std::fs::metadata(home.path().join(name)).expect("there").permissions().mode() & 0o777;
            assert_eq!(mode, expected, "{name}");
        }
        assert_eq!(home.names(), [SERVICES, BACKUP]);
    }

    #[test]
    fn a_list_that_nobody_can_read_or_that_is_missing_stays_as_it_is() {
        let home = TestHome::new();
        let run = || move_home(&home, Some(Path::new("/old")), Path::new("/new")).expect("nothing is written");
        assert!(!run().unusable && home.names().is_empty());
        home.put(SERVICES, "{");
        home.put(BACKUP, OLD);
        assert!(run().unusable);
        assert_eq!(home.text(SERVICES), "{");
        assert!(home.text(BACKUP).contains("/new/modules/wiki"), "what takes its place is moved");
        home.put(SERVICES, OLD);
        assert_eq!(move_home(&home, None, Path::new("/new")).expect("looked at").rows, 0);
        assert_eq!(home.text(SERVICES), OLD);
    }
}
