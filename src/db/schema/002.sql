-- What was done with keys and tokens; the oldest rows go when there are many.
CREATE TABLE auth_log (
    id         INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    action     TEXT NOT NULL,
    jti        TEXT,
    parent_jti TEXT,
    sub        TEXT,
    via        TEXT NOT NULL,
    peer       TEXT,
    result     TEXT NOT NULL
) STRICT;

-- Modules that another keeper runs, by the hash of the key that they were given.
CREATE TABLE module_keys (
    short      TEXT PRIMARY KEY,
    key_sha256 BLOB NOT NULL UNIQUE CHECK (length(key_sha256) = 32),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Newest first, as the registry is listed.
CREATE INDEX tokens_by_age ON tokens (iat, jti);
