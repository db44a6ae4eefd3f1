//! TLS: certificate and key from PEM files, and whose certificates clients may show. Whatever is wrong with them keeps the server
//! from starting; nothing falls back to plain text.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use staffa::{Error, ErrorKind, Result};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

/// The protocol name of PostgreSQL in TLS (ALPN), asked for by clients that start with TLS at once.
pub(crate) const ALPN: &[u8] = b"postgresql";

/// The files of a server's TLS, PEM all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, the server's own first.
    pub cert: PathBuf,
    /// PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
    /// The authorities of clients' certificates; `None`: clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// Which of these certificates were revoked.
    pub client_crl: Option<PathBuf>,
}

/// The TLS configuration of a server: TLS 1.2 or 1.3. A client may come without a certificate; one that does not verify ends the
/// handshake.
///
/// # Errors
/// A file that cannot be read, holds nothing of what it should, or a key that is not the certificate's.
pub fn tls_config(files: &TlsFiles) -> Result<Arc<ServerConfig>> {
    let (certificate, key) = (&files.cert, &files.key);
    let chain = certificates(certificate, "certificate")?;
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
    let provider = Arc::new(ring::default_provider());
    let clients = match &files.client_ca {
        Some(authorities) => client_verifier(authorities, files.client_crl.as_deref(), &provider)?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(unusable)?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key_der)
        .map_err(unusable)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// What a client's certificate must fulfil, if it shows one: signed by an authority, for clients, in its time, and not revoked. With
/// revocation lists each authority on the way must have one that is up to date, as in PostgreSQL.
fn client_verifier(
    authorities: &Path,
    revoked: Option<&Path>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>> {
    let unusable = |path: &Path, reason: &dyn fmt::Display| {
        let text = format!(
            "could not use client certificate authorities \"{}\": {reason}",
            path.display()
        );
        Error::new(ErrorKind::InvalidParameterValue, text)
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates(authorities, "certificate")? {
        roots.add(authority).map_err(|error| unusable(authorities, &error))?;
    }
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).allow_unauthenticated();
    if let Some(path) = revoked {
        let lists = CertificateRevocationListDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unreadable("revocation list", path, &error))?;
        if lists.is_empty() {
            return Err(unreadable("revocation list", path, &pem::Error::NoItemsFound));
        }
        builder = builder.with_crls(lists).enforce_revocation_expiration();
    }
    builder
        .build()
        .map_err(|error| unusable(revoked.unwrap_or(authorities), &error))
}

fn certificates(path: &Path, what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(what, path, &error))?;
    match all.is_empty() {
        true => Err(unreadable(what, path, &pem::Error::NoItemsFound)),
        false => Ok(all),
    }
}

/// The TLS of a server, whose files may be renewed while it runs.
pub struct Tls {
    files: TlsFiles,
    /// Locked for a look-up or a change only.
    current: RwLock<Current>,
}

struct Current {
    changed: Changed,
    postgres: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
}

/// When the files were changed last.
type Changed = Vec<Option<SystemTime>>;

impl Tls {
    /// See [`tls_config`].
    ///
    /// # Errors
    /// As of [`tls_config`].
    pub fn load(files: TlsFiles) -> Result<Self> {
        Ok(Self {
            current: RwLock::new(Current::load(&files)?),
            files,
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

    /// Whether clients are asked for a certificate.
    pub(crate) fn verifies_clients(&self) -> bool {
        self.files.client_ca.is_some()
    }

    /// Reads the files again if they have changed, or if `asked` to. Tells whether it did.
    pub(crate) fn renew(&self, asked: bool) -> Result<bool> {
        if !asked && self.current.read().changed == changed(&self.files) {
            return Ok(false);
        }
        let renewed = Current::load(&self.files)?;
        *self.current.write() = renewed;
        Ok(true)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Current {
    fn load(files: &TlsFiles) -> Result<Self> {
        // First: a change while they are read is then seen.
        let changed = changed(files);
        let postgres = tls_config(files)?;
        let mut http = ServerConfig::clone(&postgres);
        http.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            changed,
            postgres,
            http: Arc::new(http),
        })
    }
}

fn changed(files: &TlsFiles) -> Changed {
    let all = [&files.cert, &files.key].into_iter();
    all.chain(&files.client_ca)
        .chain(&files.client_crl)
        .map(|file| std::fs::metadata(file).and_then(|file| file.modified()).ok())
        .collect()
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
        _ => "It must be in PEM form, and the server's user must be able to read them.",
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

    fn files(cert: &Path, key: &Path) -> TlsFiles {
        TlsFiles {
            cert: cert.to_owned(),
            key: key.to_owned(),
            client_ca: None,
            client_crl: None,
        }
    }

    fn config(certificate: &str, key: &str) -> Result<Arc<ServerConfig>, String> {
        let folder = std::env::temp_dir().join(format!("staffa-tls-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&folder).expect("temporary folder");
        let (certificate_path, key_path) = (folder.join("server.crt"), folder.join("server.key"));
        std::fs::write(&certificate_path, certificate).expect("write");
        std::fs::write(&key_path, key).expect("write");
        let config = tls_config(&files(&certificate_path, &key_path)).map_err(|error| error.message().to_owned());
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
        let tls = Tls::load(files(&certificate, &key)).expect("good");
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
        let missing = tls_config(&files(Path::new("/nonexistent/a"), Path::new("/nonexistent/b")))
            .map(|_| ())
            .unwrap_err();
        assert!(missing.message().contains("\"/nonexistent/a\""));
    }
}
