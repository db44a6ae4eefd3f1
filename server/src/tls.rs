//! TLS: certificate and key from PEM files. Whatever is wrong with them keeps the server from starting; nothing falls back
//! to plain text.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use staffa::{Error, ErrorKind, Result};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ServerConfig};

/// The protocol name of PostgreSQL in TLS (ALPN), asked for by clients that start with TLS at once.
pub(crate) const ALPN: &[u8] = b"postgresql";

/// The TLS configuration of a server: TLS 1.2 or 1.3, the certificate chain of `certificate` (PEM, the server's own
/// certificate first) and its key in `key` (PEM; PKCS#8, SEC1 or PKCS#1).
///
/// # Errors
/// A file that cannot be read, holds no certificate or no key, or a key that is not the certificate's.
pub fn tls_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable("certificate", certificate, &error))?;
    if chain.is_empty() {
        return Err(unreadable("certificate", certificate, &pem::Error::NoItemsFound));
    }
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("private key", key, &error))?;
    let unusable = |error: rustls::Error| {
        let text = format!(
            "could not use certificate \"{}\" with private key \"{}\": {error}",
            certificate.display(),
            key.display()
        );
        Error::new(ErrorKind::InvalidParameterValue, text)
            .with_hint("The private key must be the one the certificate was made for.")
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .map_err(unusable)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// The certificate of a server, which may be renewed while it runs.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    /// Locked for a look-up or a change only.
    current: RwLock<Current>,
}

struct Current {
    changed: Changed,
    postgres: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
}

/// When the two files were changed last.
type Changed = [Option<SystemTime>; 2];

impl Tls {
    /// See [`tls_config`].
    ///
    /// # Errors
    /// As of [`tls_config`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Self> {
        Ok(Self {
            current: RwLock::new(Current::load(certificate, key)?),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        })
    }

    /// For clients that speak PostgreSQL's protocol.
    pub(crate) fn postgres(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().postgres)
    }

    /// For clients that speak HTTP.
    pub(crate) fn http(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().http)
    }

    /// Reads the files again if they have changed, or if `asked` to. Tells whether it did.
    pub(crate) fn renew(&self, asked: bool) -> Result<bool> {
        if !asked && self.current.read().changed == changed(&self.certificate, &self.key) {
            return Ok(false);
        }
        let renewed = Current::load(&self.certificate, &self.key)?;
        *self.current.write() = renewed;
        Ok(true)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Current {
    fn load(certificate: &Path, key: &Path) -> Result<Self> {
        // First: a change while they are read is then seen.
        let changed = changed(certificate, key);
        let postgres = tls_config(certificate, key)?;
        let mut http = ServerConfig::clone(&postgres);
        http.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            changed,
            postgres,
            http: Arc::new(http),
        })
    }
}

fn changed(certificate: &Path, key: &Path) -> Changed {
    [certificate, key].map(|file| std::fs::metadata(file).and_then(|file| file.modified()).ok())
}

fn unreadable(what: &str, path: &Path, error: &pem::Error) -> Error {
    let reason = match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => format!("there is no {what} in PEM form in it"),
        error => error.to_string(),
    };
    let hint = match error {
        pem::Error::NoItemsFound if what == "private key" => {
            "Encrypted keys are not supported: write it without a passphrase, readable by the server only."
        }
        _ => "Both files must be in PEM form, and the server's user must be able to read them.",
    };
    Error::new(
        ErrorKind::InvalidParameterValue,
        format!("could not load {what} file \"{}\": {reason}", path.display()),
    )
    .with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with `openssl req -x509 -newkey ec`; the private key belongs to nothing but this test.
    const CERTIFICATE: &str = include_str!("tls/test_certificate.pem");
    const KEY_PKCS8: &str = include_str!("tls/test_key_pkcs8.pem");
    const KEY_SEC1: &str = include_str!("tls/test_key_sec1.pem");
    const KEY_OTHER: &str = include_str!("tls/test_key_other.pem");

    fn config(certificate: &str, key: &str) -> Result<Arc<ServerConfig>, String> {
        let folder = std::env::temp_dir().join(format!("staffa-tls-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&folder).expect("temporary folder");
        let (certificate_path, key_path) = (folder.join("server.crt"), folder.join("server.key"));
        std::fs::write(&certificate_path, certificate).expect("write");
        std::fs::write(&key_path, key).expect("write");
        let config = tls_config(&certificate_path, &key_path).map_err(|error| error.message().to_owned());
        std::fs::remove_dir_all(&folder).expect("remove");
        config
    }

    #[test]
    fn certificate_with_its_key_in_each_form() {
        assert!(config(CERTIFICATE, KEY_PKCS8).is_ok());
        assert!(config(CERTIFICATE, KEY_SEC1).is_ok());
    }

    #[test]
    fn a_new_certificate_is_taken_and_a_bad_one_is_not() {
        let folder = std::env::temp_dir().join(format!("staffa-tls-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&folder).expect("temporary folder");
        let (certificate, key) = (folder.join("server.crt"), folder.join("server.key"));
        std::fs::write(&certificate, CERTIFICATE).expect("write");
        std::fs::write(&key, KEY_PKCS8).expect("write");
        let tls = Tls::load(&certificate, &key).expect("good");
        let first = tls.postgres();
        assert!(matches!(tls.renew(false), Ok(false)), "nothing has changed");
        assert!(matches!(tls.renew(true), Ok(true)));
        let second = tls.postgres();
        assert!(!Arc::ptr_eq(&first, &second));
        std::fs::write(&key, KEY_OTHER).expect("write");
        assert!(tls.renew(true).is_err());
        assert!(Arc::ptr_eq(&second, &tls.postgres()), "the one before stays");
        std::fs::remove_dir_all(&folder).expect("remove");
    }

    #[test]
    fn anything_wrong_is_an_error() {
        let error = |certificate, key| config(certificate, key).map(|_| ()).unwrap_err();
        assert!(error(CERTIFICATE, KEY_OTHER).contains("could not use certificate"));
        assert!(error("nothing", KEY_PKCS8).contains("there is no certificate"));
        assert!(error(CERTIFICATE, CERTIFICATE).contains("there is no private key"));
        assert!(error(&CERTIFICATE.replace("MII", "!!!"), KEY_PKCS8).contains("could not load certificate"));
        let missing = tls_config(Path::new("/nonexistent/a"), Path::new("/nonexistent/b"))
            .map(|_| ())
            .unwrap_err();
        assert!(missing.message().contains("\"/nonexistent/a\""));
    }
}
