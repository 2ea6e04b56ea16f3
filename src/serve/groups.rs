//! Control groups: the one of this hub, below which each module gets its own, and the one of a hub that was killed.

use crate::config::ControlGroups;
use crate::sys::cgroup::{Group, Locked, Own};
use std::io;

/// What the group of a hub is called, before the hub's number.
const OF_A_HUB: &str = "parachute-";

/// The group that we may divide, if that is wanted.
pub(super) fn own(setting: ControlGroups, say: impl Fn(&str)) -> Option<Own> {
    let own = Own::find();
    match (setting, own) {
        (ControlGroups::Off, _) => None,
        (ControlGroups::On, None) => {
            say("PARACHUTE_CGROUPS is on, and no control groups of version 2 are mounted; modules run without them");
            None
        }
        (ControlGroups::On, own) => own,
        (ControlGroups::Auto, own) => own.filter(Own::is_delegated),
    }
}

/// The group of the hub with this number, which need not be there.
pub(super) fn of_hub(own: &Own, instance: &str) -> Option<Group> {
    // It was read from a file.
    let is_number = !instance.is_empty() && instance.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number.then(|| own.below(&format!("{OF_A_HUB}{instance}")))
}

/// Makes the group of this hub. Those of hubs that have gone, wherever their homes were, are removed if they are empty.
pub(super) fn make(setting: ControlGroups, own: &Own, instance: &str, say: impl Fn(&str)) -> Option<Locked> {
    own.sweep(OF_A_HUB);
    match Locked::make(of_hub(own, instance)?) {
        Ok(groups) => {
            say(&format!("each module runs in a control group of its own below {}", groups.directory().display()));
            Some(groups)
        }
        // In most containers they can be seen and no more.
        Err(error) if setting == ControlGroups::Auto && is_usual(&error) => None,
        Err(error) => {
            say(&format!("cannot make control groups, so modules run without them: {error}"));
            None
        }
    }
}

fn is_usual(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | Unsupported)
}
