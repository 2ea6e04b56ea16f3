//! A hub in a home of its own, for tests. No module of it can be started: nobody forks.

use super::auth::{Asker, Authority, Surroundings, Via};
use super::manifests::Manifests;
use super::plan_source::Files;
use super::{Hub, Log, Parts, lock};
use crate::logs::Console;
use crate::manifest::Short;
use crate::store::identity::Identity;
use crate::store::intent::Intent;
use crate::store::services::Services;
use crate::store::{Create, Home, operator_token};
use crate::supervisor::inputs::Facts;
use crate::supervisor::{Hooks, Supervisor};
use crate::sys::testdir::TestDir;
use crate::token::claims::{Claims, owner_of};
use crate::token::proof::BootSecret;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) struct Fixture {
    pub(crate) hub: Arc<Hub>,
    pub(crate) token: String,
    said: Arc<Mutex<Vec<String>>>,
    dir: TestDir,
}

impl Fixture {
    /// A hub whose `services.json` holds these rows.
    pub(crate) fn new(rows: &serde_json::Value) -> Self {
        let dir = TestDir::new("ops");
        let home = Home::open(dir.path(), Create::Yes).expect("a temp dir can be a home");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let said: Log = {
            let lines = Arc::clone(&lines);
            Arc::new(move |line| lock(&lines).push(line.to_owned()))
        };
        let surroundings = Surroundings { port: 1939, ..Surroundings::default() };
        let authority =
            Authority::open(&home, surroundings, Arc::clone(&said)).expect("a new home can have a database");
        let authority = Arc::new(authority);
        authority.bootstrap().expect("a new home can have a token");
        let token = operator_token::read(&home).expect("the token was just written").text;
        let (services, manifests) = (Arc::new(Services::new(home.clone())), Arc::new(Manifests::new(Box::new(|| {}))));
        let files = Arc::new(Files {
            home: home.clone(),
            services: Arc::clone(&services),
            manifests: Arc::clone(&manifests),
            authority: Arc::clone(&authority),
            hub_port: 1939,
            introspection_url: "http://127.0.0.1:1939/oauth/introspect".to_owned(),
            log: Arc::clone(&said),
            said: Mutex::default(),
            readable: Mutex::default(),
        });
        let (console, _ends_with_the_process) = Console::start(io::sink()).expect("a thread can be started");
        let facts = Facts {
            environment: Vec::new(),
            extra_path: Vec::new(),
            usual_path: Vec::new(),
            instance: "test-instance".to_owned(),
        };
        let hooks = Hooks {
            groups: None,
            source: files.plan_source(),
            hand_over: files.hand_over(),
            record: Arc::new(|_, _| {}),
            console,
            facts,
            on_change: Arc::new(|| {}),
        };
        let identity = Identity {
            instance: "test-instance".to_owned(),
            secret: Some(BootSecret::take(&mut [7; 32])),
            pid: 42,
            start_ticks: 1,
            port: 1939,
            started_at: Some("2026-01-02T03:04:05.006Z".to_owned()),
        };
        let fixture = Self {
            hub: Arc::new(Hub::new(Parts {
                intent: Arc::new(Intent::load(&home)),
                home,
                services,
                manifests,
                supervisor: Arc::new(Supervisor::new(hooks).expect("descriptors are free")),
                authority,
                identity,
                on_origins: Arc::new(|_| {}),
                build_time: None,
                traffic: Arc::new(crate::ops::metrics::Traffic::default),
                bad_tokens: 10,
                log: said,
            })),
            token,
            said: lines,
            dir,
        };
        fixture.write_rows(rows);
        fixture
    }

    /// The lines of the hub's log so far.
    pub(crate) fn said(&self) -> Vec<String> {
        lock(&self.said).clone()
    }

    /// The claims of a token for the hub itself that was minted a minute ago and lives on for a quarter of an hour.
    pub(crate) fn claims(&self) -> Claims {
        self.hub.parts.authority.claims_for_test(now_unix() - 60)
    }

    /// Any payload, signed with the key of `owner`; on no record.
    pub(crate) fn sign(&self, owner: &str, payload: &[u8]) -> String {
        self.hub.parts.authority.sign_for_test(owner, payload)
    }

    /// A token with these claims, on record; minting would not have made it.
    pub(crate) fn issue(&self, claims: &Claims) -> String {
        let owner = owner_of(&claims.aud).expect("somebody's audience");
        let token = self.sign(owner, &claims.to_json());
        self.register(claims, &token);
        token
    }

    /// Puts a token on record as one with these claims.
    pub(crate) fn register(&self, claims: &Claims, token: &str) {
        self.hub.parts.authority.register_for_test(claims, token);
    }

    /// The key of a module that something else runs.
    pub(crate) fn module_key(&self, short: &str) -> String {
        let short = Short::parse(short).expect("a short name");
        self.hub.parts.authority.make_external_key(&short, Asker { via: Via::Cli, peer: None }).expect("made")
    }

    /// Does to the database what nothing of ours would.
    pub(crate) fn execute(&self, sql: &str) {
        self.hub.parts.authority.execute_for_test(sql);
    }

    /// How many tokens are on record.
    pub(crate) fn tokens(&self) -> i64 {
        self.hub.parts.authority.number_for_test("SELECT count(*) FROM tokens")
    }

    pub(crate) fn home(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn write_rows(&self, rows: &serde_json::Value) {
        let text = serde_json::json!({ "services": rows }).to_string();
        // As modules do it, so that the change shows in the file's number.
        let beside = self.dir.join("services.json.new");
        fs::write(&beside, text).and_then(|()| fs::rename(&beside, self.dir.join("services.json"))).expect("writable");
    }
}

/// Of the clock that the hub of a fixture goes by.
pub(crate) fn now_unix() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("long before its end")
}
