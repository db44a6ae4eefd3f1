//! The socket of a client that is not logged in yet: plain or TLS, and the few kinds of messages it may send.
//!
//! Nobody has proved who he is here, so every message is bounded before its first byte is kept.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use staffa::Encryption;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::report::{Report, Step};
use super::writer::WriteHalf;
use crate::auth::certificate::Certificate;
use crate::shutdown::FAREWELL;

/// Longest startup packet without its length field, as in PostgreSQL (`MAX_STARTUP_PACKET_LENGTH`).
const STARTUP_BYTES_MAX: usize = 10_000;

/// Longest answer to an authentication request.
const AUTHENTICATION_BYTES_MAX: usize = 64 << 10;

/// The read half of a client's socket.
pub(crate) type ReadHalf = Box<dyn AsyncRead + Send + Unpin>;

/// A client's socket and what was read from it but not used yet.
pub(crate) struct Link {
    socket: Socket,
    input: BytesMut,
}

enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A TLS handshake failed, or did not end in time.
    Lost,
}

impl Link {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self {
            socket: Socket::Plain(socket),
            input: BytesMut::new(),
        }
    }

    /// Our own address of the connection.
    pub(crate) fn local_address(&self) -> Option<std::net::SocketAddr> {
        match &self.socket {
            Socket::Plain(socket) => socket.local_addr().ok(),
            Socket::Tls(socket) => socket.get_ref().0.local_addr().ok(),
            Socket::Lost => None,
        }
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.socket, Socket::Tls(_))
    }

    /// What the two sides agreed on, as OpenSSL calls it.
    pub(crate) fn encryption(&self) -> Option<Encryption> {
        let Socket::Tls(socket) = &self.socket else {
            return None;
        };
        let (_, connection) = socket.get_ref();
        let suite = connection.negotiated_cipher_suite()?.suite();
        let version = connection.protocol_version()?.as_str()?;
        let cipher = openssl_name(suite.as_str()?);
        Some(Encryption {
            version: version.replace("TLSv1_", "TLSv1."),
            bits: if cipher.contains("128") { 128 } else { 256 },
            cipher,
            client: self.client_certificate().map(Into::into),
        })
    }

    /// The certificate that the client has shown, which the handshake has verified.
    pub(crate) fn client_certificate(&self) -> Option<Certificate> {
        match &self.socket {
            Socket::Tls(stream) => Certificate::of(stream.get_ref().1.peer_certificates()?),
            Socket::Plain(_) | Socket::Lost => None,
        }
    }

    /// Whether the client has sent bytes that were read already, beyond the last message.
    pub(crate) fn has_unread_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Whether a new client starts with TLS at once (sslnegotiation=direct) instead of asking for it. Nothing is read.
    pub(crate) async fn starts_with_tls(&self) -> io::Result<bool> {
        /// Content type of a TLS handshake record; as the first byte of a packet's length it would be far too much.
        const HANDSHAKE: u8 = 0x16;
        let mut first = [0];
        match &self.socket {
            Socket::Plain(socket) => Ok(socket.peek(&mut first).await? == 1 && first == [HANDSHAKE]),
            Socket::Tls(_) | Socket::Lost => Ok(false),
        }
    }

    /// The TLS handshake. Callers make sure that nothing of it, or before it, has been read yet.
    pub(crate) async fn start_tls(&mut self, config: &Arc<ServerConfig>) -> io::Result<()> {
        let Socket::Plain(socket) = std::mem::replace(&mut self.socket, Socket::Lost) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the connection is encrypted already",
            ));
        };
        match TlsAcceptor::from(Arc::clone(config))
            .accept(socket)
            .into_fallible()
            .await
        {
            Ok(stream) => {
                self.socket = Socket::Tls(Box::new(stream));
                Ok(())
            }
            Err((error, mut socket)) => {
                tracing::info!(%error, "could not accept TLS connection");
                let _ = tokio::time::timeout(FAREWELL, take_leave(&mut socket)).await;
                Err(error)
            }
        }
    }

    /// The protocol name a TLS client asked for.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match &self.socket {
            Socket::Tls(stream) => stream.get_ref().1.alpn_protocol(),
            Socket::Plain(_) | Socket::Lost => None,
        }
    }

    /// A packet without type byte: SSLRequest, GSSENCRequest, CancelRequest or StartupMessage, without its length.
    /// `None` when the client hangs up instead.
    pub(crate) async fn read_startup_packet(&mut self) -> Step<Option<Bytes>> {
        if !self.fill(4).await? {
            return Ok(None);
        }
        let length = self.input.get_u32() as usize;
        if !(8..=STARTUP_BYTES_MAX + 4).contains(&length) {
            return Err(Report::protocol_fatal("invalid length of startup packet").into());
        }
        if !self.fill(length - 4).await? {
            return Err(unexpected_end().into());
        }
        Ok(Some(self.input.split_to(length - 4).freeze()))
    }

    /// The body of the client's answer to an authentication request. `None` when it hangs up instead, as psql does to
    /// ask its user for the password.
    pub(crate) async fn read_authentication(&mut self) -> Step<Option<Bytes>> {
        if !self.fill(5).await? {
            return Ok(None);
        }
        let tag = self.input.get_u8();
        let length = self.input.get_u32() as usize;
        if tag != b'p' {
            return Err(Report::protocol_fatal(format!("expected SASL response, got message type {tag}")).into());
        }
        if !(4..=AUTHENTICATION_BYTES_MAX).contains(&length) {
            return Err(Report::protocol_fatal("invalid message length").into());
        }
        if !self.fill(length - 4).await? {
            return Err(unexpected_end().into());
        }
        Ok(Some(self.input.split_to(length - 4).freeze()))
    }

    /// Sends what was written to `out`, and empties it.
    pub(crate) async fn send(&mut self, out: &mut BytesMut) -> io::Result<()> {
        self.socket.write_all(out).await?;
        out.clear();
        self.socket.flush().await
    }

    /// Closes our direction, so that the client reads the last message before the end.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.socket.shutdown().await
    }

    /// Reads and forgets what the client sends, until it closes its direction.
    pub(crate) async fn drain(&mut self) -> io::Result<()> {
        loop {
            self.input.clear();
            self.input.reserve(4096);
            if self.socket.read_buf(&mut self.input).await? == 0 {
                return Ok(());
            }
        }
    }

    /// The two directions, and what was read ahead.
    pub(crate) fn split(self) -> (ReadHalf, WriteHalf, BytesMut) {
        match self.socket {
            Socket::Plain(socket) => {
                let (read, write) = socket.into_split();
                (Box::new(read), Box::new(write), self.input)
            }
            socket => {
                let (read, write) = tokio::io::split(socket);
                (Box::new(read), Box::new(write), self.input)
            }
        }
    }

    /// Reads until `length` bytes are there. False at an end of the stream before the first of them.
    async fn fill(&mut self, length: usize) -> io::Result<bool> {
        while self.input.len() < length {
            // Bounded by the callers' limits and this one read.
            self.input.reserve(length.max(512) - self.input.len());
            if self.socket.read_buf(&mut self.input).await? == 0 {
                return if self.input.is_empty() {
                    Ok(false)
                } else {
                    Err(unexpected_end())
                };
            }
        }
        Ok(true)
    }
}

/// Reads what a client sends whose handshake failed, as one that uses TLS 1.3 does behind its certificate: closing with unread input
/// would reset the connection, and the alert that says what is wrong could be lost on its way.
async fn take_leave(socket: &mut TcpStream) -> io::Result<()> {
    socket.shutdown().await?;
    tokio::io::copy(socket, &mut tokio::io::sink()).await.map(drop)
}

fn unexpected_end() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the client closed the connection inside a message",
    )
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the TLS handshake did not succeed")
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Lost => Poll::Ready(Err(lost())),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Lost => Poll::Ready(Err(lost())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Lost => Poll::Ready(Err(lost())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Lost => Poll::Ready(Err(lost())),
        }
    }
}

/// A cipher suite by the name OpenSSL has for it.
fn openssl_name(suite: &str) -> String {
    if let Some(name) = suite.strip_prefix("TLS13_") {
        return format!("TLS_{name}");
    }
    let name = suite.trim_start_matches("TLS_").replace("_WITH_", "-");
    let name = name.replace("AES_", "AES").replace('_', "-");
    match name.strip_suffix("-POLY1305-SHA256") {
        Some(start) => format!("{start}-POLY1305"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ciphers_have_the_names_of_openssl() {
        for (suite, name) in [
            ("TLS13_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
            (
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
                "ECDHE-ECDSA-CHACHA20-POLY1305",
            ),
        ] {
            assert_eq!(openssl_name(suite), name);
        }
    }
}
