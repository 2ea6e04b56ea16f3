//! Pure: the verbs behind `hub`.

use super::{Verb, Words, switch};

const fn sub(name: &'static str, about: &'static str) -> Verb {
    Verb {
        name,
        group: Some("hub"),
        subs: &[],
        words: Words::None,
        args: "",
        about,
        notes: &[],
        flags: &[],
        examples: &[],
    }
}

/// In the order of the help.
pub(crate) const HUB_VERBS: &[Verb] = &[
    Verb {
        examples: &["parachute hub show-origin"],
        ..sub("show-origin", "Show under which origin the hub issues tokens")
    },
    Verb {
        words: Words::MaybeOrigin,
        args: "[ORIGIN]",
        notes: &[
            "Such as https://example.org: no path, no slash at the end. It wins over",
            "PARACHUTE_HUB_ORIGIN. Tokens of earlier origins stay good, the operator's",
            "is issued anew, modules are told at their next start.",
        ],
        flags: &[switch("unset", "Nobody says it, but the environment")],
        examples: &["parachute hub set-origin https://example.org", "parachute hub set-origin --unset"],
        ..sub("set-origin", "Say under which origin the world reaches the hub")
    },
];
