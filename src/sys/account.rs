//! Users and groups by name, as `/etc/passwd` and `/etc/group` say. A static binary cannot ask the C library, which
//! would load its name service at run time.

use super::fs;
use super::spawn::Credentials;
use std::io;
use std::path::Path;

/// Neither file is larger on a machine for a handful of services.
const LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// Why a user or a group cannot be found.
#[derive(Debug)]
pub(crate) enum AccountError {
    Read { path: &'static str, source: io::Error },
    Unknown { path: &'static str, name: String },
}

impl std::fmt::Display for AccountError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read { path, source } => write!(f, "cannot read {path}: {source}"),
            Self::Unknown { path, name } => write!(f, "{path} has no {name:?}"),
        }
    }
}

/// Names or numbers to numbers. Without a group it is the user's own; the supplementary groups are the user's.
pub(crate) fn resolve(user: Option<&str>, group: Option<&str>) -> Result<Credentials, AccountError> {
    let passwd = read("/etc/passwd")?;
    let groups = read("/etc/group")?;
    find(user, group, super::process::own_ids(), &passwd, &groups)
}

fn read(path: &'static str) -> Result<String, AccountError> {
    let error = |source| AccountError::Read { path, source };
    let file = fs::open_read(Path::new(path)).map_err(error)?;
    let mut bytes = Vec::new();
    // What stands further down is not looked at.
    fs::read_into(&file, LIMIT_BYTES, &mut bytes).map_err(error)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn find(
    user: Option<&str>,
    group: Option<&str>,
    own: (u32, u32),
    passwd: &str,
    groups: &str,
) -> Result<Credentials, AccountError> {
    let user_row = |name: &str| {
        passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|row| row.len() >= 4 && (row[0] == name || row[2] == name))
    };
    let (name, uid, own_gid) = match user {
        None => (None, own.0, own.1),
        Some(user) => match user_row(user) {
            Some(row) => {
                let number = |text: &str| text.parse::<u32>().ok();
                match (number(row[2]), number(row[3])) {
                    (Some(uid), Some(gid)) => (Some(row[0].to_owned()), uid, gid),
                    _ => return Err(AccountError::Unknown { path: "/etc/passwd", name: user.to_owned() }),
                }
            }
            // A number needs no row, as in a container without one.
            None => match user.parse::<u32>() {
                Ok(uid) => (None, uid, uid),
                Err(_) => return Err(AccountError::Unknown { path: "/etc/passwd", name: user.to_owned() }),
            },
        },
    };
    let group_rows = || groups.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|row| row.len() >= 4);
    let gid = match group {
        None => own_gid,
        Some(group) => match group_rows().find(|row| row[0] == group) {
            Some(row) => {
                row[2].parse().map_err(|_| AccountError::Unknown { path: "/etc/group", name: group.to_owned() })?
            }
            None => group.parse().map_err(|_| AccountError::Unknown { path: "/etc/group", name: group.to_owned() })?,
        },
    };
    let mut supplementary = vec![gid];
    if let Some(name) = name {
        let member = |row: &Vec<&str>| row[3].split(',').any(|member| member == name);
        supplementary.extend(group_rows().filter(member).filter_map(|row| row[2].parse::<u32>().ok()));
        supplementary.sort_unstable();
        supplementary.dedup();
    }
    Ok(Credentials { uid, gid, groups: supplementary })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nwww:x:33:33::/var/www:/bin/false\n";
    const GROUPS: &str = "root:x:0:\nwww:x:33:\nadm:x:4:syslog,www\nbroken\n";

    #[test]
    fn names_and_numbers_are_found_and_others_refused() {
        let www = Credentials { uid: 33, gid: 33, groups: vec![4, 33] };
        for (user, group, expected) in [
            (Some("www"), None, Some(www.clone())),
            (Some("33"), None, Some(www)),
            (Some("www"), Some("adm"), Some(Credentials { uid: 33, gid: 4, groups: vec![4] })),
            (Some("1234"), None, Some(Credentials { uid: 1234, gid: 1234, groups: vec![1234] })),
            (None, Some("www"), Some(Credentials { uid: 7, gid: 33, groups: vec![33] })),
            (Some("nobody-here"), None, None),
            (Some("www"), Some("nothing"), None),
            (Some("broken"), None, None),
            (Some("-1"), None, None),
        ] {
            assert_eq!(find(user, group, (7, 8), PASSWD, GROUPS).ok(), expected, "{user:?} {group:?}");
        }
    }
}
