-- The replica database: what one replica knows. docs/STORE.md explains every column.
PRAGMA application_id = 0x6373796e; -- "csyn"

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE slot (
    number INTEGER PRIMARY KEY,
    replica BLOB NOT NULL UNIQUE CHECK (length(replica) = 16)
) STRICT;

CREATE TABLE entry (
    path BLOB PRIMARY KEY,
    seq INTEGER NOT NULL,
    bytes INTEGER,
    record BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX entry_seq ON entry (seq);

CREATE TABLE remote (
    path BLOB PRIMARY KEY,
    gone INTEGER NOT NULL CHECK (gone IN (0, 1)),
    moved_to BLOB,
    row BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX remote_gone ON remote (path) WHERE gone = 1 AND moved_to IS NULL;
CREATE INDEX remote_moved ON remote (moved_to) WHERE moved_to IS NOT NULL;

CREATE TABLE peer (
    replica BLOB PRIMARY KEY CHECK (length(replica) = 16),
    cursor INTEGER NOT NULL,
    nonce BLOB
) STRICT, WITHOUT ROWID;

CREATE TABLE hint (
    path BLOB PRIMARY KEY,
    recursive INTEGER NOT NULL CHECK (recursive IN (0, 1)),
    at_secs INTEGER NOT NULL,
    at_nanos INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE conflict (
    id BLOB PRIMARY KEY CHECK (length(id) = 32),
    path BLOB NOT NULL,
    open INTEGER NOT NULL CHECK (open IN (0, 1)),
    sides BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX conflict_path ON conflict (path, open);

CREATE TABLE kept (
    id TEXT PRIMARY KEY,
    path BLOB NOT NULL,
    replaced_secs INTEGER NOT NULL,
    replaced_nanos INTEGER NOT NULL,
    digest BLOB CHECK (digest IS NULL OR length(digest) = 32),
    batch TEXT NOT NULL,
    place BLOB NOT NULL,
    details BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX kept_path ON kept (path, replaced_secs, replaced_nanos);
CREATE INDEX kept_age ON kept (replaced_secs, replaced_nanos);
CREATE INDEX kept_digest ON kept (digest) WHERE digest IS NOT NULL;
