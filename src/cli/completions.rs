//! Pure: the table as completion scripts. Module names are asked for when they are needed.

use super::parse::Completions;
use super::spec::{Flag, GLOBAL_FLAGS, SHELLS, VERBS, Verb, Words, every_verb};
use std::collections::BTreeSet;

/// What prints the installed modules, one a line; silent on a broken machine. `home` is what gives it the `--home` of the
/// line.
fn modules(home: &str) -> String {
    format!("parachute {home} completions modules 2>/dev/null")
}

/// The script for `kind`; the list of modules is not one.
pub(crate) fn script(kind: Completions) -> Option<String> {
    match kind {
        Completions::Bash => Some(bash()),
        Completions::Zsh => Some(zsh()),
        Completions::Fish => Some(fish()),
        Completions::Modules => None,
    }
}

fn verb_names() -> Vec<&'static str> {
    VERBS.iter().map(|verb| verb.name).collect()
}

fn spellings(flag: &Flag) -> Vec<String> {
    let long = format!("--{}", flag.long);
    flag.short.map_or(vec![long.clone()], |short| vec![long, format!("-{short}")])
}

/// What may stand where a word of the verb is expected.
fn words(verb: &Verb, modules: &str) -> String {
    match verb.words {
        Words::None
        | Words::NewName
        | Words::Directory
        | Words::File
        | Words::Jti
        | Words::MaybeJti
        | Words::MaybeOrigin
        | Words::MaybePath => String::new(),
        Words::Sub => sub_words(verb, modules),
        Words::Modules | Words::OneModule => modules.to_owned(),
        Words::MaybeVerb => verb_names().join(" "),
        Words::Shell => SHELLS.join(" "),
    }
}

/// What may stand behind a verb that has others behind it: those, and the words that they take.
fn sub_words(verb: &Verb, modules: &str) -> String {
    let names: Vec<&str> = verb.subs.iter().map(|sub| sub.name).collect();
    let takes_module = verb.subs.iter().any(|sub| sub.words == Words::OneModule);
    if takes_module { format!("{} {modules}", names.join(" ")) } else { names.join(" ") }
}

/// The flags of a verb and of those behind it, each once.
fn flags_of(verb: &'static Verb) -> Vec<&'static Flag> {
    let mut flags: Vec<&'static Flag> = Vec::new();
    for flag in verb.subs.iter().flat_map(|sub| sub.flags).chain(verb.all_flags()) {
        if !flags.iter().any(|other| other.long == flag.long) {
            flags.push(flag);
        }
    }
    flags
}

/// What a value may be that the shell can tell.
enum Value {
    OneOf(&'static [&'static str]),
    File,
    Directory,
    Any,
}

fn value(flag: &Flag) -> Option<Value> {
    match (flag.value, flag.choices) {
        (Some("FILE"), _) => Some(Value::File),
        (Some("DIR"), _) => Some(Value::Directory),
        (Some(_), choices @ [_, ..]) => Some(Value::OneOf(choices)),
        (Some(_), []) => Some(Value::Any),
        (None, _) => None,
    }
}

/// The flags of all verbs that take a value, as patterns of a shell and each once: those of one name take the same.
fn valued_flags() -> impl Iterator<Item = (String, Value)> {
    let mut seen = BTreeSet::new();
    let flags = GLOBAL_FLAGS.iter().chain(every_verb().flat_map(|verb| verb.flags));
    flags.filter(move |flag| seen.insert(flag.long)).filter_map(|flag| Some((spellings(flag).join("|"), value(flag)?)))
}

/// Adds paths, `kind` of compgen: a line each, because a space is part of a name, and quoted where they are put in.
fn bash_paths(kind: char) -> String {
    format!(
        "; mapfile -t -O ${{#COMPREPLY[@]}} COMPREPLY < <(compgen -{kind} -- \"$cur\"); compopt -o filenames 2>/dev/null"
    )
}

fn bash() -> String {
    let mut script = format!(
        "# bash completion for parachute\n_parachute() {{\n\
         \x20   local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} verb= home=() i\n\
         \x20   COMPREPLY=()\n\
         \x20   for ((i = 1; i < COMP_CWORD; i++)); do\n\
         \x20       case ${{COMP_WORDS[i]}} in\n\
         \x20           --) return ;;\n\
         \x20           --home)\n\
         \x20               [ \"${{COMP_WORDS[i+1]}}\" = = ] && ((i++))\n\
         \x20               home=(--home \"${{COMP_WORDS[++i]/#\\~\\//$HOME/}}\") ;;\n\
         \x20           {}) : ${{verb:=${{COMP_WORDS[i]}}}} ;;\n\
         \x20       esac\n\
         \x20   done\n\
         \x20   case $prev in\n",
        verb_names().join("|")
    );
    for (flag, value) in valued_flags() {
        script.push_str(&match value {
            Value::Any => format!("        {flag}) return ;;\n"),
            Value::Directory => format!("        {flag}) :{}; return ;;\n", bash_paths('d')),
            Value::File => format!("        {flag}) :{}; return ;;\n", bash_paths('f')),
            Value::OneOf(choices) => format!(
                "        {flag}) COMPREPLY=($(compgen -W '{}' -- \"$cur\")); [ ${{#COMPREPLY[@]}} -gt 0 ] && return ;;\n",
                choices.join(" ")
            ),
        });
    }
    script.push_str("    esac\n    case $verb in\n");
    for verb in VERBS {
        let flags: Vec<String> = flags_of(verb).into_iter().flat_map(spellings).collect();
        let words = words(verb, &format!("$({})", modules("\"${home[@]}\"")));
        script.push_str(&format!(
            "        {}) COMPREPLY=($(compgen -W \"{} {words}\" -- \"$cur\"))",
            verb.name,
            flags.join(" ")
        ));
        if verb.words == Words::Directory {
            script.push_str(&bash_paths('d'));
        } else if verb.words == Words::File {
            script.push_str(&bash_paths('f'));
        }
        script.push_str(" ;;\n");
    }
    let global: Vec<String> = GLOBAL_FLAGS.iter().flat_map(spellings).collect();
    script.push_str(&format!(
        "        *) COMPREPLY=($(compgen -W \"{} {}\" -- \"$cur\")) ;;\n    esac\n}}\ncomplete -F _parachute parachute\n",
        verb_names().join(" "),
        global.join(" ")
    ));
    script
}

/// `text` inside single quotes, for zsh and fish alike.
fn quoted(text: &str) -> String {
    text.replace('\'', "'\\''")
}

fn zsh() -> String {
    let mut script = format!(
        "#compdef parachute\n_parachute() {{\n\
         \x20   local verb= i\n\
         \x20   local -a items home\n\
         \x20   for ((i = 2; i < CURRENT; i++)); do\n\
         \x20       case $words[i] in\n\
         \x20           --) shift $i words; ((CURRENT -= i)); _normal; return ;;\n\
         \x20           --home) home=(--home \"${{${{(Q)words[++i]}}/#\\~\\//$HOME/}}\") ;;\n\
         \x20           --home=*) home=(\"${{(Q)words[i]}}\") ;;\n\
         \x20           {}) : ${{verb:=$words[i]}} ;;\n\
         \x20       esac\n\
         \x20   done\n\
         \x20   case $words[CURRENT-1] in\n",
        verb_names().join("|")
    );
    for (flag, value) in valued_flags() {
        script.push_str(&match value {
            Value::Any => format!("        {flag}) return ;;\n"),
            Value::Directory => format!("        {flag}) _files -/; return ;;\n"),
            Value::File => format!("        {flag}) _files; return ;;\n"),
            Value::OneOf(choices) => format!("        {flag}) compadd -- {} && return ;;\n", choices.join(" ")),
        });
    }
    script.push_str("    esac\n    case $verb in\n");
    let modules = format!("${{(f)\"$({})\"}}", modules("$home"));
    let describe = |flag: &Flag| -> String {
        spellings(flag).iter().map(|name| format!(" '{name}:{}'", quoted(flag.about).replace(':', "\\:"))).collect()
    };
    for verb in VERBS {
        let flags: String = flags_of(verb).into_iter().map(describe).collect();
        script.push_str(&format!("        {}) items=({flags} ); _describe flag items", verb.name));
        match verb.words {
            Words::None | Words::NewName | Words::Jti | Words::MaybeJti | Words::MaybeOrigin | Words::MaybePath => {}
            Words::Sub => script.push_str(&format!("; compadd -- {}", sub_words(verb, &modules))),
            Words::Directory => script.push_str("; _files -/"),
            Words::File => script.push_str("; _files"),
            Words::Modules | Words::OneModule => {
                script.push_str(&format!("; compadd -- {modules}"));
            }
            Words::MaybeVerb | Words::Shell => script.push_str(&format!("; compadd -- {}", words(verb, ""))),
        }
        script.push_str(" ;;\n");
    }
    let verbs: String =
        VERBS.iter().map(|verb| format!(" '{}:{}'", verb.name, quoted(verb.about).replace(':', "\\:"))).collect();
    script.push_str(&format!(
        "        *) items=({verbs} ); _describe command items ;;\n    esac\n}}\n_parachute \"$@\"\n"
    ));
    script
}

fn fish() -> String {
    let mut script = format!(
        "# fish completion for parachute\ncomplete -c parachute -f\n\
         function __parachute_modules\n\
         \x20   set -l words (commandline -opc)\n\
         \x20   set -l home\n\
         \x20   for i in (seq 2 (count $words))\n\
         \x20       switch $words[$i]\n\
         \x20           case --home\n\
         \x20               set home --home (string replace -r '^~/' \"$HOME/\" -- $words[(math $i + 1)])\n\
         \x20           case '--home=*'\n\
         \x20               set home $words[$i]\n\
         \x20       end\n\
         \x20   end\n\
         \x20   {}\n\
         end\n",
        modules("$home")
    );
    let flag_line = |condition: &str, flag: &Flag| {
        let short = flag.short.map_or(String::new(), |short| format!(" -s {short}"));
        let value = match value(flag) {
            None => String::new(),
            Some(Value::Any) => " -x".to_owned(),
            Some(Value::Directory) => " -x -a '(__fish_complete_directories)'".to_owned(),
            // No other line offers files.
            Some(Value::File) => " -r -F".to_owned(),
            Some(Value::OneOf(choices)) => format!(" -x -a '{}'", choices.join(" ")),
        };
        let about = flag.about.replace('\\', "\\\\").replace('\'', "\\'");
        format!("complete -c parachute{condition} -l {}{short}{value} -d '{about}'\n", flag.long)
    };
    for flag in GLOBAL_FLAGS {
        script.push_str(&flag_line("", flag));
    }
    for verb in VERBS {
        let about = verb.about.replace('\'', "\\'");
        script.push_str(&format!("complete -c parachute -n __fish_use_subcommand -a {} -d '{about}'\n", verb.name));
        let condition = format!(" -n '__fish_seen_subcommand_from {}'", verb.name);
        for flag in flags_of(verb).into_iter().filter(|flag| !GLOBAL_FLAGS.contains(flag)) {
            script.push_str(&flag_line(&condition, flag));
        }
        let words = match verb.words {
            Words::Directory => "(__fish_complete_directories)".to_owned(),
            Words::File => "(__fish_complete_path)".to_owned(),
            _ => words(verb, "(__parachute_modules)"),
        };
        if !words.is_empty() {
            script.push_str(&format!("complete -c parachute{condition} -a '{words}'\n"));
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testdir::TestDir;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn every_script_knows_every_verb_and_flag() {
        for kind in [Completions::Bash, Completions::Zsh, Completions::Fish] {
            let script = script(kind).expect("a script");
            for verb in every_verb() {
                assert!(script.contains(verb.name), "{kind:?} {}", verb.name);
                for flag in verb.all_flags() {
                    let spelled = if kind == Completions::Fish {
                        format!("-l {}", flag.long)
                    } else {
                        format!("--{}", flag.long)
                    };
                    assert!(script.contains(&spelled), "{kind:?} {} {}", verb.name, flag.long);
                }
            }
        }
    }

    #[test]
    fn what_a_value_may_be_is_offered_in_its_place() {
        for (kind, choice, file) in [
            (
                Completions::Bash,
                "--restart) COMPREPLY=($(compgen -W 'always on-failure never'",
                "--key-file) :; mapfile",
            ),
            (Completions::Zsh, "--restart) compadd -- always on-failure never && return ;;", "--key-file) _files;"),
            (Completions::Fish, "-l restart -x -a 'always on-failure never'", "-l key-file -r -F"),
        ] {
            let script = script(kind).expect("a script");
            for line in [choice, file] {
                assert_eq!(script.matches(line).count(), 1, "{kind:?}: {line}");
            }
        }
    }

    #[test]
    fn bash_offers_a_name_with_a_space_as_one() {
        let dir = TestDir::new("completions");
        for name in ["a b.tar", "a.tar"] {
            std::fs::write(dir.path().join(name), "").expect("a file");
        }
        std::fs::create_dir(dir.path().join("a c")).expect("a directory");
        let offers = |words: &str| {
            let script = format!(
                "{}\nparachute() {{ case $1 in --home) echo home:$2 ;; *) echo home: ;; esac; }}\ncd '{}'; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _parachute; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
                bash(),
                dir.path().display()
            );
            // Not every machine that builds has bash.
            let done = Command::new("bash").args(["-c", &script]).stderr(Stdio::null()).output().ok()?;
            let mut lines: Vec<String> =
                String::from_utf8(done.stdout).expect("text").lines().map(str::to_owned).collect();
            lines.sort();
            Some(lines)
        };
        for (words, expected) in [
            ("parachute backup a", &["a b.tar", "a c", "a.tar"][..]),
            ("parachute install a", &["a c"]),
            ("parachute --home a", &["a c"]),
            ("parachute auth module-key x --key-file a", &["a b.tar", "a c", "a.tar"]),
            ("parachute add x -- --", &[""]),
            ("parachute logs --lines ''", &[""]),
            ("parachute --home a start h", &["home:a"]),
            ("parachute start --home = a h", &["home:a"]),
            ("parachute start h", &["home:"]),
        ] {
            if let Some(offered) = offers(words) {
                assert_eq!(offered, expected, "{words}");
            }
        }
    }

    #[test]
    fn the_bash_script_is_bash() {
        let mut shell = match Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn() {
            Ok(shell) => shell,
            // Not every machine that builds has bash.
            Err(_) => return,
        };
        shell.stdin.take().expect("piped").write_all(bash().as_bytes()).expect("it reads");
        assert!(shell.wait().expect("it ends").success());
    }
}
