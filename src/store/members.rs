//! The other members of a folder: which replica each of them keeps, and what it has of ours.

use crate::model::key::PublicKey;
use crate::model::version::ReplicaId;
use crate::store::db::Database;
use crate::store::error::StoreError;
use crate::store::remote::Remote;

/// What is known of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its key.
    pub key: PublicKey,
    /// The number under which its rows wait here, from 1 on.
    pub number: u32,
    /// Its replica, as it last said.
    pub replica: ReplicaId,
    /// All our rows up to this sequence of ours are durable there.
    pub applied: u64,
}

/// The members that a database knows.
#[derive(Clone, Copy, Debug)]
pub struct Members<'d> {
    db: &'d Database,
}

impl<'d> Members<'d> {
    /// Returns the members that `db` knows.
    #[must_use]
    pub fn of(db: &'d Database) -> Self {
        Self { db }
    }

    /// Returns the member with `key`, if it was ever met.
    ///
    /// # Errors
    /// The database refuses.
    pub fn get(&self, key: &PublicKey) -> Result<Option<Member>, StoreError> {
        let sql = "SELECT number, replica, applied FROM member WHERE key = ?1";
        let mut found = self.db.query("read a member", sql, (key.0,), |fields| {
            let (number, replica, applied) = (fields.get(0)?, ReplicaId(fields.get(1)?), fields.get(2)?);
            Ok(Member { key: *key, number, replica, applied })
        })?;
        Ok(found.pop())
    }

    /// Returns all members that were ever met, by their numbers.
    ///
    /// # Errors
    /// The database refuses.
    pub fn all(&self) -> Result<Vec<Member>, StoreError> {
        let sql = "SELECT key, number, replica, applied FROM member ORDER BY number";
        self.db.query("read the members", sql, (), |fields| {
            let (key, number) = (PublicKey(fields.get(0)?), fields.get(1)?);
            Ok(Member { key, number, replica: ReplicaId(fields.get(2)?), applied: fields.get(3)? })
        })
    }

    /// Returns the member with `key`, which keeps `replica` now and is called `name`.
    ///
    /// What holds after: it has a number. Where it kept another replica before, nothing that was heard of that one
    /// waits here any more, and what it had of ours counts no longer.
    ///
    /// # Errors
    /// The database refuses.
    pub fn meet(&self, key: &PublicKey, replica: ReplicaId, name: &str) -> Result<Member, StoreError> {
        self.db.batch(|| {
            let known = self.get(key)?;
            if let Some(known) = known.filter(|known| known.replica == replica) {
                let sql = "UPDATE member SET name = ?2 WHERE key = ?1 AND name <> ?2";
                self.db.execute("write the name of a member", sql, (key.0, name))?;
                return Ok(known);
            }
            let number = match known {
                Some(known) => {
                    Remote::of(self.db, known.number).clear()?;
                    known.number
                }
                None => self.db.ask("number a member", "SELECT coalesce(max(number), 0) + 1 FROM member", ())?,
            };
            let sql =
                "INSERT OR REPLACE INTO member (key, number, replica, applied, name) VALUES (?1, ?2, ?3, 0, ?4)";
            self.db.execute("write a member", sql, (key.0, number, replica.0, name))?;
            Ok(Member { key: *key, number, replica, applied: 0 })
        })
    }

    /// Whether the member with another key than `key` keeps `replica`.
    ///
    /// # Errors
    /// The database refuses.
    pub fn is_of_another(&self, key: &PublicKey, replica: ReplicaId) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM member WHERE replica = ?1 AND key <> ?2)";
        self.db.ask("look for a replica", sql, (replica.0, key.0))
    }

    /// Returns what the member is called that keeps `replica`, if it was ever met.
    ///
    /// # Errors
    /// The database refuses.
    pub fn name(&self, replica: ReplicaId) -> Result<Option<String>, StoreError> {
        let sql = "SELECT name FROM member WHERE replica = ?1";
        Ok(self.db.query("read the name of a member", sql, (replica.0,), |fields| fields.get(0))?.pop())
    }

    /// Notes that the member with `key` has all our rows up to `seq`. What it had before is never less.
    ///
    /// # Errors
    /// The database refuses.
    pub fn applied(&self, key: &PublicKey, seq: u64) -> Result<(), StoreError> {
        let sql = "UPDATE member SET applied = max(applied, ?2) WHERE key = ?1";
        self.db.execute("note what a member has", sql, (key.0, seq)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sample::{database, live, path};

    #[test]
    fn a_member_with_a_new_replica_is_met_as_a_new_one_under_its_number() {
        let (_dir, db) = database();
        let members = Members::of(&db);
        let [one, two] =
            [1, 2].map(|n| members.meet(&PublicKey([n; 32]), ReplicaId([n; 16]), "web").unwrap());
        assert_eq!((one.number, two.number), (1, 2));
        members.applied(&one.key, 9).unwrap();
        members.applied(&one.key, 4).unwrap();
        assert_eq!(members.get(&one.key).unwrap(), Some(Member { applied: 9, ..one }));
        assert_eq!(members.meet(&one.key, one.replica, "web").unwrap().applied, 9);
        for number in [1, 2] {
            Remote::of(&db, number).put(&path("f"), &live(1, 1).row).unwrap();
        }
        let anew = members.meet(&one.key, ReplicaId([7; 16]), "web").unwrap();
        assert_eq!(anew, Member { replica: ReplicaId([7; 16]), applied: 0, ..one });
        assert_eq!([1, 2].map(|number| Remote::of(&db, number).count().unwrap()), [0, 1]);
    }
}
