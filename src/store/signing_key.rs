//! The file that `PARACHUTE_SIGNING_KEY_FILE` names: a secret that a container is handed (operator-token B2).

use super::StoreError;
use super::atomic::{Target, Trust};
use super::home::is_trusted;
use std::path::Path;

/// Far more than any key is long.
const FILE_LIMIT_BYTES: usize = 4096;

/// Reads the file and shows what is in it, without the white space around it, to `with`; `None` when it is missing.
/// Refused unless it belongs to us or to root and nobody else can get at it. It is wiped from memory afterwards.
pub(crate) fn read<T>(path: &Path, with: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, StoreError> {
    let Some(target) = Target::given(path)? else { return Ok(None) };
    if let Some(stat) = target.stat()? {
        if !is_trusted(&stat) {
            return Err(StoreError::ForeignOwner { path: path.to_owned(), owner_uid: stat.uid });
        }
        if stat.mode & 0o077 != 0 {
            return Err(StoreError::Exposed { path: path.to_owned(), mode: stat.mode });
        }
    }
    let secret = target.read_secret(FILE_LIMIT_BYTES, Trust::AsGiven)?;
    Ok(secret.map(|secret| with(secret.as_slice().trim_ascii())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{TestHome, fifo};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_key_is_read_only_where_nobody_else_can_get_at_it() {
        let home = TestHome::new();
        let path = home.put("key", "  secret\n");
        let read = |path: &Path| super::read(path, <[u8]>::to_vec);
        for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o610, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
            match read(&path) {
                Ok(Some(bytes)) => assert!(good && bytes == b"secret", "{mode:o}"),
                Err(StoreError::Exposed { mode: found, .. }) => assert!(!good && found == mode, "{mode:o}"),
                other => panic!("{mode:o}: {other:?}"),
            }
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
        let link = home.path().join("link");
        symlink(&path, &link).expect("a link, as mounted secrets are");
        assert_eq!(read(&link).expect("readable"), Some(b"secret".to_vec()));
        assert_eq!(read(&home.path().join("none")).expect("missing"), None);
        let pipe = home.path().join("pipe");
        fifo(&pipe);
        fs::set_permissions(&pipe, fs::Permissions::from_mode(0o600)).expect("a mode");
        assert!(matches!(read(&pipe), Err(StoreError::NotRegular { .. })));
        assert!(matches!(read(home.path()), Err(StoreError::NotRegular { .. })));
        home.put("key", vec![b'x'; 5000]);
        assert!(matches!(read(&path), Err(StoreError::TooLarge { .. })));
    }
}
