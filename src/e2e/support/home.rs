//! A throw-away home, and the packages of the modules beside it.

use super::Finished;
use super::module::Module;
use super::process::{PATH, scratch};
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a failed test shows of each file.
const SHOWN_BYTES: usize = 4096;

/// A directory with a home in it, removed when dropped.
pub(crate) struct Home {
    root: PathBuf,
    path: PathBuf,
}

impl Home {
    /// An empty home.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let age_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_nanos());
        let (pid, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let root = scratch().join(format!("parachute-e2e-{pid}-{count}-{age_ns:x}"));
        let path = root.join("home");
        for dir in [&root, &path, &root.join("user"), &root.join("modules")] {
            fs::create_dir(dir).unwrap_or_else(|error| panic!("cannot make {}: {error}", dir.display()));
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).expect("it is ours");
        }
        Self { root, path }
    }

    /// What `PARACHUTE_HOME` is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A file below the home; empty when there is none.
    pub(crate) fn read(&self, relative: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path.join(relative)).unwrap_or_default()).into_owned()
    }

    /// Puts a file below the home in the place of the one before, with the directories that it needs. It is not written in
    /// place: then it would be closed, for whoever watches it, only once no child that another test is just forking has
    /// it open.
    pub(crate) fn write(&self, relative: &str, text: &str) {
        let path = self.path.join(relative);
        let beside = self.path.join(format!("{relative}.new"));
        let written = fs::create_dir_all(path.parent().unwrap_or(&self.path))
            .and_then(|()| fs::write(&beside, text))
            .and_then(|()| fs::metadata(&path).map_or(Ok(()), |old| fs::set_permissions(&beside, old.permissions())))
            .and_then(|()| fs::rename(&beside, &path));
        written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }

    /// Installs a module, or installs it anew: its package beside the home, its row in services.json.
    pub(crate) fn install(&self, module: &Module) {
        let package = self.package(&module.name);
        let (row, manifest) = module.files(&package);
        fs::create_dir_all(package.join(".parachute")).expect("the directory of the modules is ours");
        fs::write(package.join(".parachute/module.json"), manifest).expect("the package is ours");
        let mut document: Value =
            serde_json::from_str(&self.read("services.json")).unwrap_or_else(|_| json!({ "services": [] }));
        let rows = document["services"].as_array_mut().expect("services.json has an array of rows");
        rows.retain(|other| other["name"] != row["name"]);
        rows.push(row);
        self.write("services.json", &format!("{document:#}\n"));
    }

    /// Where the package of a module is.
    pub(crate) fn package(&self, name: &str) -> PathBuf {
        self.root.join("modules").join(name)
    }

    /// Puts a file of one of the example modules into the package of that name.
    pub(crate) fn copy_example(&self, name: &str, file: &str) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/modules").join(name).join(file);
        fs::copy(source, self.package(name).join(file)).expect("the example is there");
    }

    /// The binary with these arguments, in an environment built from nothing.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_parachute")), args)
    }

    /// The binary with `args` under strace, which prints, and with `inject=` spoils, what its `options` say.
    #[track_caller]
    pub(crate) fn traced(&self, options: &[&str], args: &[&str]) -> Finished {
        let wrapper: Vec<&str> = ["strace", "-f"].into_iter().chain(options.iter().copied()).collect();
        let ended = Finished::run(through(&wrapper, &self.command(args)));
        assert!(!ended.stderr.contains("strace:"), "strace (Debian: strace) must be allowed to trace: {ended}");
        ended
    }

    /// The same of another build of it.
    pub(crate) fn command_of(&self, binary: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(binary);
        command.args(args).current_dir(&self.root).env_clear();
        command.env("PATH", PATH).env("HOME", self.root.join("user")).env("PARACHUTE_HOME", &self.path);
        command
    }

    /// Every file below the home with the beginning of its text, without what is secret or no text.
    pub(super) fn show(&self) -> String {
        let mut shown = String::new();
        let mut pending = vec![self.path.clone()];
        while let Some(dir) = pending.pop() {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    pending.push(path);
                } else if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                    show_file(&mut shown, &path);
                }
            }
        }
        shown
    }
}

/// The command as another program runs it, in the same environment: `wrapper` is that one and its arguments.
pub(crate) fn through(wrapper: &[&str], plain: &Command) -> Command {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

fn show_file(shown: &mut String, path: &Path) {
    let bytes = fs::read(path).unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = match () {
        () if name.starts_with("operator.token") || name == "hub.pid" || name.starts_with("hub.key") => {
            "(not shown)\n".into()
        }
        () if bytes.contains(&0) => "(binary)\n".into(),
        () => String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES)]),
    };
    // Writing into a String cannot fail.
    let _ = writeln!(shown, "--- {} ({} bytes)\n{text}", path.display(), bytes.len());
}

impl Drop for Home {
    fn drop(&mut self) {
        super::secrets::forget(&self.path);
        // A directory that cannot be removed is in the way of nobody.
        let _ = fs::remove_dir_all(&self.root);
    }
}
