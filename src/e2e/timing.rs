//! Whether the time of a refusal tells how much of a guess was right (operator-token Part C, case 47): a running hub is
//! asked with a secret that is wrong in its first byte or in its last, at random, and the times of both are compared.

use crate::welch::{self, Compared};
use crate::{USAGE, die, say};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// base64url of 32 bytes.
const SECRET_CHARS: usize = 43;
/// What a letter of it can be; every fourth one where only the upper four bits count, which is in the last place.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const LAST_LETTERS: usize = 4;
/// What one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// So many first answers fill caches and are not counted.
const WARM_UP: usize = 200;

/// What is spoiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guess {
    /// The MAC of a token that is good otherwise.
    Mac,
    /// The module's key.
    Key,
}

/// A module's key, and a token for that module.
struct Credentials {
    key: String,
    token: String,
}

/// Asks the hub on `port` about tokens with the key and the token in these files, `samples` times with each of the two
/// spoiled spellings and for at most `limit`. Prints `samples N` of each, `first_us` and `last_us`, their medians, and
/// `t`, Welch's for the difference of their means.
pub(crate) fn run(port: u16, guess: Guess, files: [&str; 2], samples: usize, limit: Duration) {
    let [key, token] = files.map(|file| match fs::read_to_string(file) {
        Ok(text) => text.trim().to_owned(),
        Err(error) => die(1, format_args!("cannot read {file}: {error}")),
    });
    let credentials = Credentials { key, token };
    let times = measure(port, guess, &credentials, samples, limit)
        .unwrap_or_else(|error| die(1, format_args!("asking the hub on 127.0.0.1:{port}: {error}")));
    let taken = times.each_ref().map(Vec::len);
    let Some(Compared { medians: [first, last], t }) = welch::compare(times) else {
        die(1, format_args!("{taken:?} answers within {} s are too few", limit.as_secs()))
    };
    say("samples", taken[0].min(taken[1]));
    say("first_us", format_args!("{:.1}", first / 1000.0));
    say("last_us", format_args!("{:.1}", last / 1000.0));
    say("t", format_args!("{t:.2}"));
}

/// The times of the answers to a wrong first and to a wrong last byte, in ns.
fn measure(
    port: u16,
    guess: Guess,
    credentials: &Credentials,
    samples: usize,
    limit: Duration,
) -> io::Result<[Vec<u64>; 2]> {
    let began = Instant::now();
    let mut chance = Chance::seeded();
    let mut connection = connect(port)?;
    let mut times = [Vec::with_capacity(samples), Vec::with_capacity(samples)];
    let mut warm_up = WARM_UP;
    let mut answer = Vec::new();
    while times.iter().any(|taken| taken.len() < samples) && began.elapsed() < limit {
        let is_last = chance.below(2);
        let request = request(port, &spoiled(guess, credentials, is_last == 1, &mut chance));
        let asked = Instant::now();
        connection.get_mut().write_all(&request)?;
        let stays = read_answer(&mut connection, &mut answer)?;
        let taken = u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX);
        check(guess, &answer)?;
        if !stays {
            connection = connect(port)?;
        }
        if warm_up > 0 {
            warm_up -= 1;
        } else if times[is_last].len() < samples {
            times[is_last].push(taken);
        }
    }
    Ok(times)
}

/// The same with another letter, so that the first or the last byte is another one; which one is left to chance.
fn spoiled(guess: Guess, credentials: &Credentials, is_last: bool, chance: &mut Chance) -> Credentials {
    let (mut key, mut token) = (credentials.key.clone(), credentials.token.clone());
    let secret = if guess == Guess::Key { &mut key } else { &mut token };
    let Some(start) = secret.len().checked_sub(SECRET_CHARS).filter(|_| secret.is_ascii()) else {
        die(USAGE, "the files hold no key and token")
    };
    let (at, step) = if is_last { (secret.len() - 1, LAST_LETTERS) } else { (start, 1) };
    let letter = loop {
        let letter = LETTERS[chance.below(LETTERS.len() / step) * step];
        if letter != secret.as_bytes()[at] {
            break char::from(letter);
        }
    };
    secret.replace_range(at..=at, letter.encode_utf8(&mut [0; 4]));
    Credentials { key, token }
}

fn request(port: u16, Credentials { key, token }: &Credentials) -> Vec<u8> {
    let length = "token=".len() + token.len();
    format!(
        "POST /oauth/introspect HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\ntoken={token}"
    )
    .into_bytes()
}

fn connect(port: u16) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(BufReader::new(stream))
}

/// Reads an answer with a stated length, head and body; whether the connection stays.
fn read_answer(connection: &mut BufReader<TcpStream>, answer: &mut Vec<u8>) -> io::Result<bool> {
    answer.clear();
    let (mut length, mut stays) = (0, true);
    loop {
        let start = answer.len();
        if connection.read_until(b'\n', answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&answer[start..]).trim_end().to_ascii_lowercase();
        match line.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().map_err(io::Error::other)?,
            Some(("connection", value)) => stays = value.trim() != "close",
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    connection.take(length).read_to_end(answer)?;
    Ok(stays)
}

/// The hub has to have looked at what was spoiled: an answer that says anything else measures something else.
fn check(guess: Guess, answer: &[u8]) -> io::Result<()> {
    let text = String::from_utf8_lossy(answer);
    let expected = match guess {
        Guess::Mac => text.starts_with("HTTP/1.1 200 ") && text.trim_end().ends_with(r#"{"active":false}"#),
        Guess::Key => text.starts_with("HTTP/1.1 401 "),
    };
    if expected { Ok(()) } else { Err(io::Error::other(format!("it answered {text}"))) }
}

/// Numbers that follow no pattern that matters here (xorshift64).
struct Chance(u64);

impl Chance {
    fn seeded() -> Self {
        let age = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |age| age.as_nanos());
        Self(age as u64 | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 32) % limit as u64) as usize
    }
}
