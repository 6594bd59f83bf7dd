//! A member that another one follows.

use crate::model::key::PublicKey;
use crate::rules::conflict::{Policy, Side};

/// A member that is followed.
#[derive(Clone, Debug)]
pub struct Leader {
    /// Its key.
    pub key: PublicKey,
    /// Its name, for people.
    pub name: String,
    /// What becomes of contents that were written without knowledge of each other.
    pub policy: Policy,
    /// Which side of a decision we are, where the policy names one.
    pub side: Side,
}
