//! Clients of remote object stores: which ones this build has, their timeouts and retries.

use std::fmt::{Display, Formatter};
use std::sync::Arc;

use object_store::ObjectStore;

use super::StoreOptions;
use crate::error::{Error, Result};

/// A kind of remote store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Scheme {
    S3,
    Gcs,
    Azure,
}

impl Scheme {
    /// By the scheme of a URL; Hadoop's names for the same stores are understood.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is = |name: &str| text.eq_ignore_ascii_case(name);
        match () {
            () if is("s3") || is("s3a") || is("s3n") => Some(Self::S3),
            () if is("gs") || is("gcs") => Some(Self::Gcs),
            () if is("az") => Some(Self::Azure),
            () => None,
        }
    }
}

impl Display for Scheme {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        })
    }
}

/// A client for one bucket.
pub(super) fn connect(scheme: Scheme, bucket: &str, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>> {
    match scheme {
        Scheme::S3 => s3(bucket, options),
        Scheme::Gcs => gcs(bucket, options),
        Scheme::Azure => azure(bucket, options),
    }
}

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
mod policy {
    use std::time::Duration;

    use object_store::{ClientOptions, RetryConfig};

    /// A request that has not answered by then failed; retries follow.
    const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// All attempts of one request together.
    const RETRY_TIMEOUT: Duration = Duration::from_secs(90);
    const RETRIES_MAX: usize = 8;

    pub(super) fn client() -> ClientOptions {
        ClientOptions::new()
            .with_timeout(REQUEST_TIMEOUT)
            .with_connect_timeout(CONNECT_TIMEOUT)
    }

    pub(super) fn retry() -> RetryConfig {
        RetryConfig {
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_TIMEOUT,
            ..RetryConfig::default()
        }
    }
}

#[cfg(feature = "s3")]
fn s3(bucket: &str, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>> {
    use object_store::aws::AmazonS3Builder;
    use object_store::client::SpawnedReqwestConnector;

    let s3 = options
        .s3
        .as_ref()
        .ok_or_else(|| Error::unsupported("S3 is not configured"))?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(&s3.region)
        .with_client_options(policy::client())
        .with_retry(policy::retry());
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    // Without keys the builder would ask the machine's metadata service, which hangs outside AWS and lends SQL users the
    // machine's rights inside it.
    builder = match s3.access_key.reveal().is_empty() {
        true => builder.with_skip_signature(true),
        false => builder
            .with_access_key_id(s3.access_key.reveal())
            .with_secret_access_key(s3.secret_key.reveal()),
    };
    if let Some(token) = &s3.session_token {
        builder = builder.with_token(token.reveal());
    }
    if let Some(io) = &options.io {
        builder = builder.with_http_connector(SpawnedReqwestConnector::new(io.clone()));
    }
    // After the client options, which it is part of.
    builder = builder.with_allow_http(s3.allow_http);
    Ok(Arc::new(builder.build().map_err(Error::from)?))
}

#[cfg(not(feature = "s3"))]
fn s3(_: &str, _: &StoreOptions) -> Result<Arc<dyn ObjectStore>> {
    Err(Error::unsupported("this build has no S3 support"))
}

#[cfg(feature = "gcs")]
fn gcs(bucket: &str, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>> {
    use object_store::client::SpawnedReqwestConnector;
    use object_store::gcp::GoogleCloudStorageBuilder;

    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(bucket)
        .with_client_options(policy::client())
        .with_retry(policy::retry());
    if let Some(io) = &options.io {
        builder = builder.with_http_connector(SpawnedReqwestConnector::new(io.clone()));
    }
    Ok(Arc::new(builder.build().map_err(Error::from)?))
}

#[cfg(not(feature = "gcs"))]
fn gcs(_: &str, _: &StoreOptions) -> Result<Arc<dyn ObjectStore>> {
    Err(Error::unsupported("this build has no Google Cloud Storage support"))
}

#[cfg(feature = "azure")]
fn azure(bucket: &str, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>> {
    use object_store::azure::MicrosoftAzureBuilder;
    use object_store::client::SpawnedReqwestConnector;

    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(bucket)
        .with_client_options(policy::client())
        .with_retry(policy::retry());
    if let Some(io) = &options.io {
        builder = builder.with_http_connector(SpawnedReqwestConnector::new(io.clone()));
    }
    Ok(Arc::new(builder.build().map_err(Error::from)?))
}

#[cfg(not(feature = "azure"))]
fn azure(_: &str, _: &StoreOptions) -> Result<Arc<dyn ObjectStore>> {
    Err(Error::unsupported("this build has no Azure support"))
}
