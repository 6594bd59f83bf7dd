-- Where a change was heard of that is not recorded yet. docs/STORE.md explains every column.
CREATE TABLE look (
    path BLOB PRIMARY KEY,
    recursive INTEGER NOT NULL CHECK (recursive IN (0, 1))
) STRICT, WITHOUT ROWID;
