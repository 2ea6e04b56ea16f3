-- What the hub remembers of itself: its id, the origins it had, counters. Times are Unix seconds everywhere.
CREATE TABLE settings (
    key        TEXT PRIMARY KEY,
    value      TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Master secrets. A dead key keeps its row, with the secret overwritten by zeros.
CREATE TABLE hs_keys (
    kid          TEXT PRIMARY KEY,
    secret       BLOB NOT NULL CHECK (length(secret) = 32),
    state        TEXT NOT NULL CHECK (state IN ('active', 'verify', 'dead')),
    created_at   INTEGER NOT NULL,
    rotated_at   INTEGER,
    verify_until INTEGER
) STRICT;
CREATE UNIQUE INDEX hs_keys_one_active ON hs_keys (state) WHERE state = 'active';

-- Every token that was ever handed out, as its hash. No row: not valid.
CREATE TABLE tokens (
    jti           TEXT PRIMARY KEY,
    token_sha256  BLOB NOT NULL UNIQUE CHECK (length(token_sha256) = 32),
    kid           TEXT NOT NULL REFERENCES hs_keys (kid),
    sub           TEXT NOT NULL,
    aud           TEXT NOT NULL,
    scope         TEXT NOT NULL,
    client_id     TEXT NOT NULL,
    created_via   TEXT NOT NULL,
    parent_jti    TEXT,
    iat           INTEGER NOT NULL,
    exp           INTEGER NOT NULL,
    permissions   TEXT,
    revoked_at    INTEGER,
    revoke_after  INTEGER,
    revoke_reason TEXT,
    last_used_at  INTEGER
) STRICT;
CREATE INDEX tokens_exp ON tokens (exp);
CREATE INDEX tokens_parent ON tokens (parent_jti);
CREATE INDEX tokens_revoked ON tokens (revoked_at) WHERE revoked_at IS NOT NULL;
