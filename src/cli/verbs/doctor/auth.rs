//! Whether the operator's token and the modules' keys are good: what the database says of them, and what the hub does.

use crate::cli::exit::Failure;
use crate::cli::out::Out;
use crate::cli::reach;
use crate::cli::verbs::check::{self, Findings};
use crate::client::{Client, ClientError};
use crate::config::Config;
use crate::manifest::Short;
use crate::ops::auth::{About, Weight, checkup};
use crate::store::{Home, module_secrets, operator_token};
use crate::wire::{Code, HubInfo, ModuleInfo, Status};

/// What stands in the files.
pub(super) fn files(home: &Home, config: &Config, findings: &mut Findings) {
    let file = operator_token::path(home);
    let database = home.path().join("hub.db");
    // Reading it makes it private; that others can read it, or that it holds no token, is among the findings already.
    let can_be_read = check::is_private(&file) && !findings.is_bad(&file);
    let token = can_be_read.then(|| operator_token::read(home).ok()).flatten();
    let token = token.as_ref().map(|token| token.text.as_str());
    match checkup(home, &reach::surroundings(home, config), token) {
        Ok(remarks) => {
            for remark in remarks {
                let file = if remark.about == About::Token { &file } else { &database };
                match remark.weight {
                    Weight::Well => findings.well(file, &remark.text),
                    Weight::Note => findings.note(file, &remark.text),
                    Weight::Wrong => findings.bad(file, &remark.text),
                }
            }
        }
        Err(error) => findings.bad(&database, &error.to_string()),
    }
}

/// Whether the running hub takes the operator's token, and answers its modules.
pub(super) fn running(home: &Home, config: &Config, mut up: reach::Up, findings: &mut Findings) {
    // What a variable gives is in no file of the home.
    let file = match config.operator_token_variable() {
        None => operator_token::path(home),
        Some(_) => home.path().to_owned(),
    };
    // Warnings about the file are among the findings already.
    let mut silent = Out::silent();
    let asked = up
        .authorise(home, config, &mut silent)
        .and_then(|()| up.client.modules().map_err(|error| Failure::of_client(&error)));
    match asked {
        Ok(list) => {
            // Not every token that may see the modules may see this.
            if let Ok(hub) = up.client.hub() {
                findings.well(home.path(), &groups(&hub));
            }
            modules(home, &up.client, &list.modules, findings);
        }
        Err(_) if findings.is_bad(&file) => {}
        // The operator has made it so, or somebody gave us one that is for something else.
        Err(failure) if failure.code == Code::InsufficientScope => findings.note(
            &file,
            &format!("the operator's token does not show how the modules are: {}; {}", failure.message, failure.hint),
        ),
        Err(failure) => {
            // The next start would write one; until then this is what matters.
            findings.forget(&file, check::NO_TOKEN);
            findings.bad(&file, &format!("{}; {}", failure.message, failure.hint));
        }
    }
}

/// Whether whatever a module starts is known as its own.
fn groups(hub: &HubInfo) -> String {
    match &hub.control_groups {
        Some(directory) => format!("each module runs in a control group of its own below {directory}"),
        None => "the modules run without control groups of their own".to_owned(),
    }
}

/// Each module that runs and has a key asks about a token, as it would about a caller's.
fn modules(home: &Home, client: &Client, modules: &[ModuleInfo], findings: &mut Findings) {
    let mut answered = 0_u32;
    for module in modules.iter().filter(|module| module.supervisor_status == Some(Status::Running)) {
        let Ok(short) = Short::parse(&module.short) else { continue };
        match asks(home, client, &short) {
            Ok(true) => answered += 1,
            // It was handed none.
            Ok(false) => {}
            Err(error) => {
                let hint = match error.code() {
                    Code::Unauthenticated => format!("; hand it a new key with: parachute restart {short}"),
                    _ => String::new(),
                };
                findings
                    .bad(&home.module_dir(&short), &format!("the hub does not answer its questions: {error}{hint}"));
            }
        }
    }
    if answered > 0 {
        let plural = if answered == 1 { "" } else { "s" };
        findings.well(home.path(), &format!("the hub answers the questions of {answered} module{plural} about tokens"));
    }
}

/// Whether it has a key; an error when the hub does not answer it.
fn asks(home: &Home, client: &Client, short: &Short) -> Result<bool, ClientError> {
    let Some(key) = module_secrets::read_key(home, short) else { return Ok(false) };
    match client.introspect(&key, "none") {
        // It was started anew between the two looks, and has another one.
        Err(_) if module_secrets::read_key(home, short).is_some_and(|newer| newer != key) => asks(home, client, short),
        answer => answer.map(|_| true),
    }
}
