//! A module's own `module.json`, in its package or, for an adopted command, below the home (files §4).

use super::atomic::{self, Target};
use super::home::is_trusted;
use super::{Home, StoreError};
use crate::manifest::module::Manifest;
use crate::manifest::{Short, json};
use crate::sys::fs::Dir;
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};

/// What a row says that has no package with a version.
pub(crate) const NO_VERSION: &str = "0.0.0";

const MANIFEST_MAX_BYTES: u64 = 256 << 10;
const MANIFEST_PATH: &str = ".parachute/module.json";

/// Anybody may write there.
const WORLD_WRITABLE: u32 = 0o002;

/// Reads the manifest of the package at `install_dir`; `None` when it has none. The directory must exist, belong to us
/// or root, and not be writable by everybody. Read anew at every spawn: nothing of it is kept.
pub(crate) fn read_manifest(install_dir: &Path) -> Result<Option<Manifest>, StoreError> {
    if !install_dir.is_absolute() {
        return Err(StoreError::Relative { path: install_dir.to_owned() });
    }
    let read_error = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => StoreError::NoPackage { path: install_dir.to_owned() },
        _ => StoreError::Read { path: install_dir.to_owned(), source },
    };
    // Package managers install through symbolic links: they are resolved once, and what they lead to is judged.
    let real = install_dir.canonicalize().map_err(read_error)?;
    let stat = Dir::open(&real).and_then(|dir| dir.own_stat()).map_err(read_error)?;
    if !is_trusted(&stat) {
        return Err(StoreError::ForeignOwner { path: real, owner_uid: stat.uid });
    }
    if stat.mode & WORLD_WRITABLE != 0 {
        return Err(StoreError::LooseMode { path: real, mode: stat.mode });
    }
    let Some(target) = Target::outside(&real.join(MANIFEST_PATH))? else { return Ok(None) };
    let Some((bytes, _)) = target.read(MANIFEST_MAX_BYTES)? else { return Ok(None) };
    let path = target.path().to_owned();
    Manifest::parse(&bytes).map(Some).map_err(|problem| StoreError::Syntax { path, problem })
}

/// Writes the manifest of an adopted command to `<home>/modules/<short>/.parachute/module.json`, once it is a valid one.
pub(crate) fn write_manifest(home: &Home, short: &Short, manifest: &Value) -> Result<(), StoreError> {
    let relative = adopted(short);
    Manifest::from_value(manifest)
        .map_err(|problem| StoreError::Syntax { path: home.path().join(&relative), problem })?;
    let overfull = || StoreError::Overfull { path: home.path().join(&relative), limit_bytes: MANIFEST_MAX_BYTES };
    let bytes = json::to_bytes_within(manifest, MANIFEST_MAX_BYTES).ok_or_else(overfull)?;
    atomic::write(home, relative, &bytes, atomic::PUBLIC)
}

/// The manifest of an adopted command as it stands there, whatever it says; `None` when there is none.
pub(crate) fn kept_manifest(home: &Home, short: &Short) -> Result<Option<Vec<u8>>, StoreError> {
    atomic::read(home, adopted(short), MANIFEST_MAX_BYTES)
}

/// Puts back what [`kept_manifest`] found.
pub(crate) fn put_manifest_back(home: &Home, short: &Short, kept: Option<&[u8]>) -> Result<(), StoreError> {
    match kept {
        Some(bytes) => atomic::write(home, adopted(short), bytes, atomic::PUBLIC),
        None => remove_manifest(home, short),
    }
}

/// Takes the manifest of an adopted command away; whatever else is in its directory stays.
pub(crate) fn remove_manifest(home: &Home, short: &Short) -> Result<(), StoreError> {
    atomic::remove(home, &adopted(short))
}

/// Where the manifest of an adopted command is, below the home.
fn adopted(short: &Short) -> PathBuf {
    Path::new("modules").join(short.as_str()).join(MANIFEST_PATH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{TestHome, short, testdata};
    use serde_json::json;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_package_without_a_manifest_has_none() {
        let home = TestHome::new();
        assert_eq!(read_manifest(home.path()).expect("an empty package"), None);
        home.put(".parachute/other", "");
        assert_eq!(read_manifest(home.path()).expect("an empty package"), None);
    }

    #[test]
    fn samples_are_what_their_names_say() {
        for entry in std::fs::read_dir(testdata("modules")).expect("testdata") {
            let path = entry.expect("an entry").path();
            let bad = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("bad-"));
            match read_manifest(&path) {
                Ok(manifest) => assert!(manifest.is_some() && !bad, "{}", path.display()),
                Err(StoreError::Syntax { path: file, .. }) => {
                    assert!(bad && file.ends_with(MANIFEST_PATH), "{}", path.display())
                }
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    #[test]
    fn a_package_that_cannot_be_trusted_is_refused() {
        let home = TestHome::new();
        home.put("package/.parachute/module.json", "{}");
        let package = home.path().join("package");
        let refused = |path: &Path| read_manifest(path).expect_err("refused");
        assert!(matches!(refused(Path::new("package")), StoreError::Relative { .. }));
        assert!(matches!(refused(&home.path().join("missing")), StoreError::NoPackage { .. }));
        std::fs::set_permissions(&package, std::fs::Permissions::from_mode(0o777)).expect("a mode");
        assert!(matches!(refused(&package), StoreError::LooseMode { mode: 0o777, .. }));
        std::fs::set_permissions(&package, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        assert!(matches!(refused(&package), StoreError::Syntax { .. }));
        home.put("package/.parachute/module.json", vec![b' '; (256 << 10) + 1]);
        assert!(matches!(refused(&package), StoreError::TooLarge { .. }));
    }

    #[test]
    fn an_adopted_command_is_read_back_also_through_a_link() {
        let home = TestHome::new();
        let manifest = json!({
            "name": "wiki", "manifestName": "wiki", "port": 3000, "paths": ["/wiki"], "health": "/",
            "startCmd": ["python3", "-m", "http.server", "{port}"], "mine": true
        });
        write_manifest(&home, &short("wiki"), &manifest).expect("written");
        let read = read_manifest(&home.adopted_dir(&short("wiki"))).expect("good").expect("there");
        assert_eq!(read.start_cmd.map(|argv| argv.len()), Some(4));
        symlink(home.adopted_dir(&short("wiki")), home.path().join("linked")).expect("a link");
        assert!(read_manifest(&home.path().join("linked")).expect("good").is_some());
        let mut long = manifest.clone();
        long["startCmd"] = json!(["x".repeat(130_000), "y".repeat(130_000), "z".repeat(10_000)]);
        let error = write_manifest(&home, &short("wiki"), &long).expect_err("nobody could read it");
        assert!(matches!(error, StoreError::Overfull { .. }), "{error}");
        let error = write_manifest(&home, &short("notes"), &json!({})).expect_err("not a manifest");
        assert!(matches!(error, StoreError::Syntax { .. }), "{error}");
        assert!(!home.adopted_dir(&short("notes")).exists());
    }
}
