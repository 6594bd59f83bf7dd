-- Where contents stand, for what a peer told of its folder. docs/STORE.md explains every column.
CREATE TABLE content (
    digest BLOB NOT NULL CHECK (length(digest) = 16),
    path BLOB NOT NULL,
    PRIMARY KEY (digest, path)
) STRICT, WITHOUT ROWID;
