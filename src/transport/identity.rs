//! The node's own key: made once, kept in a file that nobody else can read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use crate::model::key::PublicKey;
use crate::transport::tls::key_of;

/// Name of the key's file in the state directory.
pub const KEY_FILE: &str = "node.key";
/// A PKCS#8 document of an Ed25519 key is 83 bytes; a longer file is no key.
const KEY_BYTES_MAX: u64 = 1024;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is no file.
    #[error("there is no key {0}")]
    Missing(PathBuf),
    /// The file cannot be opened, read, made or flushed.
    #[error("cannot {action} the key {path}")]
    Io {
        /// `open`, `read`, `make` or `flush`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A key that others could have read is no secret any more.
    #[error("the key {path} has mode {mode:04o}: others may read it; wanted 0600")]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key belongs to another user.
    #[error("the key {path} belongs to uid {owner}, but csync runs as uid {me}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who we are.
        me: u32,
    },
    /// The file holds something else.
    #[error("{path} is no key: wanted an Ed25519 key as a PKCS#8 document")]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes for a key")]
    Random,
}

/// A node's key pair. The private half never leaves it.
#[derive(Debug)]
pub struct Identity {
    public: PublicKey,
    tls: Arc<CertifiedKey>,
}

impl Identity {
    /// Returns the public half.
    ///
    /// # Errors
    /// Never: a key without a public half is not loaded.
    pub fn public(&self) -> Result<PublicKey, IdentityError> {
        Ok(self.public)
    }

    /// Returns the pair as TLS wants it: it signs handshakes, and shows the public half in place of a certificate.
    pub(crate) fn tls(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.tls)
    }

    /// Returns a new key that is stored nowhere.
    ///
    /// # Errors
    /// The system gave no random bytes.
    pub fn ephemeral() -> Result<Self, IdentityError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_unspecified| IdentityError::Random)?;
        Self::of(document.as_ref()).ok_or(IdentityError::Random)
    }

    fn of(document: &[u8]) -> Option<Self> {
        let signer = any_eddsa_type(&PrivatePkcs8KeyDer::from(document)).ok()?;
        let shown = signer.public_key()?;
        let public = key_of(&shown)?;
        let shown = CertificateDer::from(shown.to_vec());
        Some(Self { public, tls: Arc::new(CertifiedKey::new(vec![shown], signer)) })
    }

    /// Returns the key in `state_dir`, checked for being this user's (`me`, the effective uid) alone.
    ///
    /// # Errors
    /// There is none, it is not a regular file, others may read it, it is another's, or it is no key.
    pub fn load(state_dir: &Path, me: u32) -> Result<Self, IdentityError> {
        let path = state_dir.join(KEY_FILE);
        let file = File::open(&path).map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                IdentityError::Missing(path.clone())
            } else {
                IdentityError::Io { action: "open", path: path.clone(), source }
            }
        })?;
        let read = |source| IdentityError::Io { action: "read", path: path.clone(), source };
        let metadata = file.metadata().map_err(read)?;
        if !metadata.is_file() {
            return Err(IdentityError::NoKey { path });
        }
        if metadata.uid() != me {
            return Err(IdentityError::Foreign { path, owner: metadata.uid(), me });
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(IdentityError::Readable { path, mode: metadata.mode() & 0o7777 });
        }
        let mut document = Vec::new();
        file.take(KEY_BYTES_MAX + 1).read_to_end(&mut document).map_err(read)?;
        Self::of(&document).ok_or(IdentityError::NoKey { path })
    }

    /// Makes a key in `state_dir`, durable when this returns. Never replaces one.
    ///
    /// # Errors
    /// There is a file already, or it cannot be written. A file written in part is left: it is refused as no key.
    pub fn create(state_dir: &Path) -> Result<Self, IdentityError> {
        let path = state_dir.join(KEY_FILE);
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_unspecified| IdentityError::Random)?;
        let failed = |action| {
            let path = path.clone();
            move |source| IdentityError::Io { action, path, source }
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed("make"))?;
        file.write_all(document.as_ref()).map_err(failed("write"))?;
        file.sync_all().map_err(failed("flush"))?;
        File::open(state_dir).and_then(|dir| dir.sync_all()).map_err(failed("flush"))?;
        Self::of(document.as_ref()).ok_or(IdentityError::NoKey { path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn uid(dir: &Path) -> u32 {
        std::fs::metadata(dir).unwrap().uid()
    }

    #[test]
    fn a_key_is_made_once_and_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let me = uid(dir.path());
        assert!(matches!(Identity::load(dir.path(), me), Err(IdentityError::Missing(_))));
        let made = Identity::create(dir.path()).unwrap().public().unwrap();
        assert_eq!(Identity::load(dir.path(), me).unwrap().public().unwrap(), made);
        assert!(Identity::create(dir.path()).is_err());
        assert_eq!(Identity::load(dir.path(), me).unwrap().public().unwrap(), made);
        let mode = std::fs::metadata(dir.path().join(KEY_FILE)).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    #[test]
    fn a_key_that_is_not_safe_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, me) = (dir.path().join(KEY_FILE), uid(dir.path()));
        Identity::create(dir.path()).unwrap();
        assert!(matches!(Identity::load(dir.path(), me + 1), Err(IdentityError::Foreign { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Identity::load(dir.path(), me), Err(IdentityError::Readable { mode: 0o640, .. })));
        for content in [&b""[..], b"no key", &[0x30; 4096]] {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(Identity::load(dir.path(), me), Err(IdentityError::NoKey { .. })));
        }
    }
}
