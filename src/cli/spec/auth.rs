//! Pure: the verbs behind `auth`.

use super::{Flag, Verb, Words, option, switch};
use crate::token::scope::SET_NAMES;

const fn sub(name: &'static str, about: &'static str) -> Verb {
    Verb {
        name,
        group: Some("auth"),
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
pub(crate) const AUTH_VERBS: &[Verb] = &[
    Verb {
        notes: &[
            "Prints the token and nothing else, so keep it out of logs; or writes it to",
            "a new file of mode 0600. It gets no more than the operator's token has.",
        ],
        flags: &[
            option("scope", "SCOPES", "What it opens: a list separated by spaces"),
            option("aud", "NAME", "Who it is for [what the scopes name]"),
            option("expires-in", "SEC", "How long it lives, 1..31536000 [7776000]"),
            switch("ephemeral", "It lives for an hour"),
            option("sub", "NAME", "Whose it is [the operator's]"),
            option("permissions", "JSON", "An object for the module to look at"),
            option("token-file", "FILE", "Write it to this new file instead"),
        ],
        examples: &[
            "parachute auth mint-token --scope 'vault:work:read' --ephemeral",
            "parachute auth mint-token --scope scribe:transcribe --token-file t",
        ],
        ..sub("mint-token", "Make a token for a program or a person")
    },
    Verb {
        flags: &[
            switch("active", "Only those that are good at the moment"),
            switch("revoked", "Only those that were revoked"),
            option("subject", "NAME", "Only those of this subject"),
            Flag {
                choices: &["operator_mint", "cli_mint", "rotate", "heal"],
                ..option("via", "HOW", "Only those that were made in this way")
            },
        ],
        ..sub("list-tokens", "Show the tokens that were handed out, newest first")
    },
    Verb {
        words: Words::MaybeJti,
        args: "[JTI]",
        notes: &["Without JTI: what the operator's own token says. Never the token itself."],
        ..sub("show-token", "Show what is known about a token")
    },
    Verb {
        words: Words::Jti,
        args: "JTI",
        flags: &[switch("no-cascade", "Keep the tokens that were minted with it")],
        ..sub("revoke-token", "Take a token back, and those that were minted with it")
    },
    Verb {
        flags: &[option("subject", "NAME", "Whose tokens")],
        notes: &["The token that asks for it stays."],
        ..sub("revoke-all", "Take back every token of a subject")
    },
    Verb {
        notes: &["Works with the hub down, and with no token or a bad one."],
        flags: &[
            Flag { choices: SET_NAMES, ..option("scope-set", "SET", "What it opens [as before, else admin]") },
            switch("keep-old", "Earlier ones stay good until they expire"),
        ],
        ..sub("rotate-operator", "Write a new operator token and revoke the old ones")
    },
    Verb {
        notes: &[
            "Tokens that were signed with the old key stay good until they expire.",
            "--now is for a key that leaked and for a home that was copied.",
        ],
        flags: &[
            option("grace", "TIME", "Only for so long, such as 90s, 15m, 24h, 7d"),
            switch("now", "Not at all: every token is revoked at once"),
            Flag {
                choices: SET_NAMES,
                ..option("scope-set", "SET", "Of the operator's token [as before, else admin]")
            },
        ],
        ..sub("rotate-key", "Sign with a new key from now on")
    },
    Verb {
        words: Words::OneModule,
        args: "MODULE",
        notes: &["A module that the hub starts gets its key by itself. Only a hash of this one", "is kept."],
        flags: &[
            option("key-file", "FILE", "Write it to this new file instead"),
            switch("remove", "Take the module's key back"),
        ],
        ..sub("module-key", "Make a key for a module that something else runs")
    },
    Verb {
        flags: &[Flag { short: Some('n'), ..option("lines", "N", "So many lines [100]") }],
        ..sub("log", "Show what was done with tokens and keys, newest first")
    },
];
