//! Pure: the verbs and their flags, as one table. Help, completions, suggestions and the README come from it.

mod auth;
mod hub;

/// One flag. `--json` and `-q` style only; a flag with a `value` takes it as `--flag v` or `--flag=v`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flag {
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    /// The word for the value in the help; `None` for a switch.
    pub(crate) value: Option<&'static str>,
    /// The only values that are good; empty when any is.
    pub(crate) choices: &'static [&'static str],
    pub(crate) repeat: bool,
    pub(crate) about: &'static str,
}

/// What the words after a verb are, for checking their number and for completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    None,
    /// Any number of modules or `hub`.
    Modules,
    OneModule,
    /// A name that does not exist yet, then `--` and a command.
    NewName,
    Directory,
    /// The number of a token.
    Jti,
    MaybeJti,
    /// An origin, or a flag that says that there is none.
    MaybeOrigin,
    /// A path below the hub's origin.
    MaybePath,
    /// One of the verbs behind this one.
    Sub,
    File,
    MaybeVerb,
    Shell,
}

impl Words {
    /// The fewest and the most words.
    pub(crate) fn range(self) -> (usize, usize) {
        match self {
            Self::None => (0, 0),
            Self::Modules => (0, usize::MAX),
            Self::OneModule | Self::NewName | Self::Directory | Self::File | Self::Shell | Self::Jti | Self::Sub => {
                (1, 1)
            }
            Self::MaybeJti | Self::MaybeOrigin | Self::MaybePath => (0, 1),
            Self::MaybeVerb => (0, 2),
        }
    }
}

/// One verb.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    /// The verb that stands in front of this one.
    pub(crate) group: Option<&'static str>,
    /// The verbs behind this one; then it does nothing by itself.
    pub(crate) subs: &'static [Verb],
    pub(crate) words: Words,
    /// The words as the usage line shows them.
    pub(crate) args: &'static str,
    pub(crate) about: &'static str,
    /// Further lines of its own help.
    pub(crate) notes: &'static [&'static str],
    pub(crate) flags: &'static [Flag],
    pub(crate) examples: &'static [&'static str],
}

const fn switch(long: &'static str, about: &'static str) -> Flag {
    Flag { long, short: None, value: None, choices: &[], repeat: false, about }
}

const fn option(long: &'static str, value: &'static str, about: &'static str) -> Flag {
    Flag { long, short: None, value: Some(value), choices: &[], repeat: false, about }
}

/// Flags that every verb takes, before or after it.
pub(crate) const GLOBAL_FLAGS: &[Flag] = &[
    switch("json", "Print one JSON object instead of text"),
    option("home", "DIR", "Use this home instead of $PARACHUTE_HOME"),
    Flag { short: Some('q'), ..switch("quiet", "Print only failures and what was asked for") },
    option("timeout", "SEC", "Wait this long for an answer of the hub [60]"),
    Flag { short: Some('h'), ..switch("help", "Print help and do nothing") },
    Flag { short: Some('v'), ..switch("version", "Print the version and do nothing") },
];

const WAIT: Flag = switch("wait", "Fail unless it also answers on its port");
const NO_WAIT: Flag = switch("no-wait", "Order it, and do not wait until it is done");
const NO_START: Flag = switch("no-start", "Register only");
const REPLACE: Flag = switch("replace", "Change a module that has this name already");

/// Every verb, in the order of the help.
pub(crate) const VERBS: &[Verb] = &[
    Verb {
        name: "serve",
        group: None,
        subs: &[],
        words: Words::None,
        args: "",
        about: "Run the hub in the foreground",
        notes: &[
            "Starts every installed module and serves them under one origin, until",
            "SIGINT or SIGTERM. An empty home is set up at the first start. What it",
            "prints while it runs is plain text, also with --json and --quiet.",
            "Environment: PORT [1939], PARACHUTE_BIND_HOST [127.0.0.1],",
            "PARACHUTE_HUB_ORIGIN, PARACHUTE_ALLOWED_HOSTS, PARACHUTE_EXTRA_PATH.",
        ],
        flags: &[option("port", "N", "Listen here instead of $PORT; 0 takes a free port")],
        examples: &["parachute serve", "PORT=8080 parachute serve"],
    },
    Verb {
        name: "start",
        group: None,
        subs: &[],
        words: Words::Modules,
        args: "[MODULE]...",
        about: "Start modules",
        notes: &["Without a module, or with `hub`: say whether the hub is up."],
        flags: &[WAIT, NO_WAIT],
        examples: &["parachute start vault", "parachute start vault scribe"],
    },
    Verb {
        name: "stop",
        group: None,
        subs: &[],
        words: Words::Modules,
        args: "[MODULE]...",
        about: "Stop modules; they stay stopped until they are started",
        notes: &["With the hub down too: the next one does not start them."],
        flags: &[NO_WAIT],
        examples: &["parachute stop vault"],
    },
    Verb {
        name: "restart",
        group: None,
        subs: &[],
        words: Words::Modules,
        args: "[MODULE]...",
        about: "Restart modules, or start those that do not run",
        notes: &[],
        flags: &[WAIT, NO_WAIT],
        examples: &["parachute restart vault"],
    },
    Verb {
        name: "status",
        group: None,
        subs: &[],
        words: Words::Modules,
        args: "[MODULE]...",
        about: "Show modules and the hub",
        notes: &[
            "Works with the hub down. Exit code 1 if a module or their list fails.",
            "With modules, or `hub`: these alone, and the exit code is about these.",
            "--check needs a token that shows the modules, but for: --check hub",
        ],
        flags: &[
            switch("check", "Exit 6 unless the hub and every module are well"),
            Flag { short: Some('w'), ..switch("watch", "Show it again whenever it has changed") },
        ],
        examples: &["parachute status", "parachute status vault --json", "parachute status --check -q"],
    },
    Verb {
        name: "logs",
        group: None,
        subs: &[],
        words: Words::OneModule,
        args: "MODULE",
        about: "Show what a module printed",
        notes: &["Asks the hub, and the log file for older lines or with the hub down."],
        flags: &[
            Flag { short: Some('f'), ..switch("follow", "Keep printing new lines") },
            Flag { short: Some('n'), ..option("lines", "N", "Start N lines back [200]") },
        ],
        examples: &["parachute logs vault", "parachute logs -f -n 20 vault"],
    },
    Verb {
        name: "add",
        group: None,
        subs: &[],
        words: Words::NewName,
        args: "NAME [FLAGS] -- COMMAND [ARG]...",
        about: "Register any command as a module and start it",
        notes: &[
            "The command gets its port as $PORT and wherever `{port}` stands in its",
            "arguments. No shell is involved.",
        ],
        flags: &[
            option("port", "N", "Its port [a free one]"),
            option("path", "PATH", "Serve it below this path [/NAME]"),
            option("health", "PATH", "The path that tells whether it is well [/]"),
            Flag { repeat: true, ..option("env", "K=V", "Set a variable; may be given more than once") },
            option("cwd", "DIR", "Run it in this directory [where you are]"),
            switch("strip-prefix", "Take the path off before the module sees it"),
            switch("public", "Everybody who reaches the hub may reach it"),
            switch("private", "Only this machine may reach it"),
            NO_START,
            option("stop-signal", "SIGNAL", "Ask it to end with this signal [TERM]"),
            Flag {
                choices: &["always", "on-failure", "never"],
                ..option("restart", "POLICY", "always, on-failure or never [always]")
            },
            Flag {
                choices: &["port", "http", "none"],
                ..option("ready", "PROBE", "Ready when: port, http or none [port]")
            },
            REPLACE,
            WAIT,
            NO_WAIT,
        ],
        examples: &[
            "parachute add wiki --strip-prefix -- python3 -m http.server '{port}'",
            "parachute add grafana --port 3000 --health /api/health -- grafana server",
        ],
    },
    Verb {
        name: "install",
        group: None,
        subs: &[],
        words: Words::Directory,
        args: "DIRECTORY",
        about: "Register a directory that holds .parachute/module.json",
        notes: &["The directory is used in place; nothing is copied. file:DIR is one as well."],
        flags: &[option("port", "N", "Its port [the manifest's, else a free one]"), NO_START, REPLACE, WAIT, NO_WAIT],
        examples: &["parachute install ./wiki"],
    },
    Verb {
        name: "remove",
        group: None,
        subs: &[],
        words: Words::OneModule,
        args: "MODULE",
        about: "Stop a module and forget it; its data and logs stay",
        notes: &[],
        flags: &[],
        examples: &["parachute remove wiki"],
    },
    Verb {
        name: "check",
        group: None,
        subs: &[],
        words: Words::None,
        args: "",
        about: "Check every file of the home and say what is wrong",
        notes: &["Changes nothing. Exit code 78 if something is invalid."],
        flags: &[],
        examples: &["parachute check"],
    },
    Verb {
        name: "open",
        group: None,
        subs: &[],
        words: Words::MaybePath,
        args: "[PATH]",
        about: "Print an address that lets a browser in for ten minutes",
        notes: &[
            "The address is good once and for a minute. It is under the hub's origin",
            "if one was given, else on this machine. The browser comes to PATH [/].",
        ],
        flags: &[switch("here", "On this machine in any case")],
        examples: &["parachute open", "parachute open /wiki/app"],
    },
    Verb {
        name: "auth",
        group: None,
        subs: auth::AUTH_VERBS,
        words: Words::Sub,
        args: "COMMAND",
        about: "Make, show and take back tokens and keys",
        notes: &["Works on the hub's database when the hub is down."],
        flags: &[],
        examples: &["parachute auth list-tokens", "parachute auth rotate-operator"],
    },
    Verb {
        name: "hub",
        group: None,
        subs: hub::HUB_VERBS,
        words: Words::Sub,
        args: "COMMAND",
        about: "Show and change what the hub is called",
        notes: &["Works on the hub's database when the hub is down."],
        flags: &[],
        examples: &["parachute hub show-origin", "parachute hub set-origin https://example.org"],
    },
    Verb {
        name: "doctor",
        group: None,
        subs: &[],
        words: Words::None,
        args: "",
        about: "Check the home and the running hub; with --fix, mend it",
        notes: &[
            "Looks at every file, at how long the operator's token is good and how old",
            "the key is, and asks the running hub as the operator and as each module.",
            "What it mends loses nothing: modes that let others in, an unusable list",
            "with a backup, rows that newer ones superseded, what dead writers left.",
            "Exit code 6 if something is wrong.",
        ],
        flags: &[switch("fix", "Mend what can be mended safely")],
        examples: &["parachute doctor", "parachute doctor --fix"],
    },
    Verb {
        name: "backup",
        group: None,
        subs: &[],
        words: Words::File,
        args: "FILE",
        about: "Write the whole home, secrets included, into one tar archive",
        notes: &[
            "The hub may run. The database is of one moment; stop modules that write",
            "meanwhile. Without: logs, links, what only a running hub needs. What cannot",
            "be read is named, and a damaged database archived as it is; then the exit",
            "code is 1, with the rest in the archive.",
            "By hand: tar xf FILE && sha256sum -c SHA256SUMS",
        ],
        flags: &[],
        examples: &["parachute backup parachute.tar"],
    },
    Verb {
        name: "restore",
        group: None,
        subs: &[],
        words: Words::File,
        args: "FILE",
        about: "Make a new home of an archive that backup wrote",
        notes: &[
            "The home must be missing or empty. The archive is checked before",
            "anything is made, and a home appears as a whole or not at all. At another",
            "path than before, rows that named places below the old one follow it.",
            "Times come back, and as root owners, by their numbers.",
        ],
        flags: &[],
        examples: &["parachute restore parachute.tar", "parachute --home /new restore parachute.tar"],
    },
    Verb {
        name: "version",
        group: None,
        subs: &[],
        words: Words::None,
        args: "",
        about: "Print the version",
        notes: &[],
        flags: &[],
        examples: &[],
    },
    Verb {
        name: "help",
        group: None,
        subs: &[],
        words: Words::MaybeVerb,
        args: "[VERB]",
        about: "Print help",
        notes: &[],
        flags: &[],
        examples: &["parachute help add"],
    },
    Verb {
        name: "completions",
        group: None,
        subs: &[],
        words: Words::Shell,
        args: "SHELL",
        about: "Print completions for bash, zsh or fish",
        notes: &[],
        flags: &[],
        examples: &["parachute completions bash > /etc/bash_completion.d/parachute"],
    },
];

/// The shells that `completions` knows.
pub(crate) const SHELLS: &[&str] = &["bash", "zsh", "fish"];

pub(crate) fn verb(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name)
}

/// Every verb, those behind another one right after it.
pub(crate) fn every_verb() -> impl Iterator<Item = &'static Verb> {
    VERBS.iter().flat_map(|verb| std::iter::once(verb).chain(verb.subs))
}

impl Verb {
    /// As it is typed: `start`, `auth mint-token`.
    pub(crate) fn path(&self) -> String {
        self.group.map_or(self.name.to_owned(), |group| format!("{group} {}", self.name))
    }

    /// Its own flags, then the global ones.
    pub(crate) fn all_flags(&self) -> impl Iterator<Item = &'static Flag> {
        self.flags.iter().chain(GLOBAL_FLAGS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_lower_case_and_described() {
        let mut verbs = BTreeSet::new();
        for verb in every_verb() {
            assert!(verbs.insert(verb.path()), "{}", verb.name);
            assert!(verb.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", verb.name);
            assert_eq!(verb.subs.is_empty(), verb.words != Words::Sub, "{}", verb.name);
            assert!(verb.subs.iter().all(|sub| sub.group == Some(verb.name)), "{}", verb.name);
            assert!(!verb.about.is_empty() && !verb.about.ends_with('.'), "{}", verb.name);
            let (mut longs, mut shorts) = (BTreeSet::new(), BTreeSet::new());
            for flag in verb.all_flags() {
                assert!(longs.insert(flag.long), "{} --{}", verb.name, flag.long);
                assert!(flag.short.is_none_or(|short| shorts.insert(short)), "{} --{}", verb.name, flag.long);
                assert!(!flag.about.is_empty() && !flag.about.ends_with('.'), "{} --{}", verb.name, flag.long);
                assert!(flag.value.is_some() || !flag.repeat && flag.choices.is_empty(), "{}", flag.long);
            }
        }
    }

    #[test]
    fn no_module_can_be_called_like_a_word_that_verbs_take() {
        assert!(verb("help").is_some(), "`parachute logs help` prints help");
    }
}
