-- Rows of several members wait side by side. docs/STORE.md explains every column.
ALTER TABLE remote RENAME TO remote_of_one;
DROP INDEX remote_gone;
DROP INDEX remote_moved;
CREATE TABLE remote (
    peer INTEGER NOT NULL,
    path BLOB NOT NULL,
    seq INTEGER NOT NULL,
    gone INTEGER NOT NULL CHECK (gone IN (0, 1)),
    moved_to BLOB,
    row BLOB NOT NULL,
    PRIMARY KEY (peer, path)
) STRICT, WITHOUT ROWID;
INSERT INTO remote SELECT 0, path, 0, gone, moved_to, row FROM remote_of_one;
DROP TABLE remote_of_one;
CREATE INDEX remote_path ON remote (path);
CREATE INDEX remote_gone ON remote (peer, path) WHERE gone = 1 AND moved_to IS NULL;
CREATE INDEX remote_moved ON remote (peer, moved_to) WHERE moved_to IS NOT NULL;

-- Which node a replica is, where that is known, and under which number its rows wait.
CREATE TABLE member (
    key BLOB PRIMARY KEY CHECK (length(key) = 32),
    number INTEGER NOT NULL UNIQUE CHECK (number > 0),
    replica BLOB NOT NULL CHECK (length(replica) = 16),
    applied INTEGER NOT NULL,
    name TEXT NOT NULL
) STRICT, WITHOUT ROWID;
