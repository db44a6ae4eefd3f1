//! A small client of the Postgres protocol that shows every message, and can send what no driver would.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A server that stays silent this long has failed the test.
const SILENCE: Duration = Duration::from_secs(120);

pub const PROTOCOL_3_0: i32 = 196_608;
pub const SSL_REQUEST: i32 = 80_877_103;
pub const GSSENC_REQUEST: i32 = 80_877_104;
pub const CANCEL_REQUEST: i32 = 80_877_102;

/// One message of the server: its type and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub tag: u8,
    pub body: Vec<u8>,
}

/// An ErrorResponse or NoticeResponse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorFields {
    pub severity: String,
    pub code: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub position: Option<usize>,
}

impl fmt::Display for ErrorFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ErrorFields {}

/// What one query gave.
#[derive(Debug, Default)]
pub struct Reply {
    pub columns: Vec<(String, i32)>,
    /// Relation and column of each column, 0 where there is none.
    pub origins: Vec<(u32, i16)>,
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
    pub tags: Vec<String>,
    pub error: Option<ErrorFields>,
    pub messages: Vec<Message>,
}

impl Reply {
    /// The rows as text.
    pub fn text(&self) -> Vec<Vec<Option<String>>> {
        let text = |value: &Option<Vec<u8>>| value.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        self.rows.iter().map(|row| row.iter().map(text).collect()).collect()
    }

    /// The one value of a reply that has one.
    pub fn value(&self) -> String {
        assert!(self.error.is_none(), "{}", self.error.as_ref().unwrap());
        self.text()[0][0].clone().unwrap_or_else(|| "NULL".to_owned())
    }

    /// SQLSTATE of the error, or an empty string.
    pub fn code(&self) -> &str {
        self.error.as_ref().map_or("", |error| &error.code)
    }

    /// The types of its messages, e.g. `TDCZ`.
    pub fn shape(&self) -> String {
        self.messages.iter().map(|message| message.tag as char).collect()
    }
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    pub parameters: Vec<(String, String)>,
    /// Process number and secret of BackendKeyData.
    pub key: Option<(i32, Vec<u8>)>,
    /// `I`, `T` or `E` of the last ReadyForQuery.
    pub status: u8,
}

impl Wire {
    /// A socket; nothing is sent yet.
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        stream.set_write_timeout(Some(SILENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            parameters: Vec::new(),
            key: None,
            status: 0,
        }
    }

    /// Logs in without a password.
    pub fn connect(address: SocketAddr, user: &str, database: &str) -> Result<Self, Box<ErrorFields>> {
        Self::login(address, PROTOCOL_3_0, &[("user", user), ("database", database)]).map(|(wire, _)| wire)
    }

    /// Logs in with these startup parameters; gives the messages up to ReadyForQuery too.
    pub fn login(
        address: SocketAddr,
        version: i32,
        parameters: &[(&str, &str)],
    ) -> Result<(Self, Vec<Message>), Box<ErrorFields>> {
        let mut wire = Self::open(address);
        wire.send(&startup(version, parameters));
        let messages = wire.until_ready();
        if let Some(error) = messages.iter().find(|message| message.tag == b'E') {
            return Err(Box::new(error_fields(&error.body)));
        }
        for message in &messages {
            match message.tag {
                b'S' => {
                    let mut words = message
                        .body
                        .split(|byte| *byte == 0)
                        .map(|word| String::from_utf8_lossy(word).into_owned());
                    wire.parameters.push((words.next().unwrap(), words.next().unwrap()));
                }
                b'K' => {
                    let pid = i32::from_be_bytes(message.body[..4].try_into().unwrap());
                    wire.key = Some((pid, message.body[4..].to_vec()));
                }
                _ => {}
            }
        }
        Ok((wire, messages))
    }

    /// How much the system may take from the server before it is read.
    pub fn bound_receive_buffer(&self, bytes: usize) {
        socket2::SockRef::from(&self.stream)
            .set_recv_buffer_size(bytes)
            .unwrap();
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends what it can: a server that hangs up meanwhile is not this test's failure.
    pub fn send_lossy(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next bytes, fewer when the server hangs up.
    pub fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while filled < count {
            match self.stream.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("the server stays silent: {error}"),
            }
        }
        bytes.truncate(filled);
        bytes
    }

    /// The next message; `None` when the server hung up.
    pub fn message(&mut self) -> Option<Message> {
        let head = self.read_bytes(5);
        let [tag, length @ ..] = &head[..] else { return None };
        let length = i32::from_be_bytes(length.try_into().ok()?) as usize;
        let body = self.read_bytes(length - 4);
        (body.len() == length - 4).then_some(Message { tag: *tag, body })
    }

    /// Messages up to and with ReadyForQuery, or to the end of the connection.
    pub fn until_ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.message() {
            let ready = message.tag == b'Z';
            if ready {
                self.status = message.body[0];
            }
            messages.push(message);
            if ready {
                break;
            }
        }
        messages
    }

    /// Whether the server closes now, after whatever it still says.
    pub fn closes(&mut self) -> bool {
        while self.message().is_some() {}
        true
    }

    /// One message of the simple protocol and all it brings.
    pub fn simple(&mut self, sql: &str) -> Reply {
        self.send(&query(sql));
        reply(self.until_ready())
    }

    /// Parse, Bind, Describe, Execute, Sync with the unnamed statement; text in and out.
    pub fn extended(&mut self, sql: &str, parameters: &[Option<&[u8]>]) -> Reply {
        let mut bytes = parse("", sql, &[]);
        bytes.extend(bind("", "", &[], parameters, &[]));
        bytes.extend(describe(b'P', ""));
        bytes.extend(execute("", 0));
        bytes.extend(sync());
        self.send(&bytes);
        reply(self.until_ready())
    }

    /// Stops reading: the other side's writes will fill the socket's buffers.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }
}

/// Sorts messages into a reply.
pub fn reply(messages: Vec<Message>) -> Reply {
    let mut reply = Reply::default();
    for message in &messages {
        match message.tag {
            b'T' => (reply.columns, reply.origins) = row_description(&message.body),
            b'D' => reply.rows.push(data_row(&message.body)),
            b'C' => reply
                .tags
                .push(String::from_utf8_lossy(&message.body[..message.body.len() - 1]).into_owned()),
            b'E' if reply.error.is_none() => reply.error = Some(error_fields(&message.body)),
            _ => {}
        }
    }
    reply.messages = messages;
    reply
}

fn row_description(body: &[u8]) -> (Vec<(String, i32)>, Vec<(u32, i16)>) {
    let count = i16::from_be_bytes([body[0], body[1]]);
    let mut rest = &body[2..];
    let mut columns = Vec::new();
    let mut origins = Vec::new();
    for _ in 0..count {
        let end = rest.iter().position(|byte| *byte == 0).unwrap();
        let name = String::from_utf8_lossy(&rest[..end]).into_owned();
        let oid = i32::from_be_bytes(rest[end + 7..end + 11].try_into().unwrap());
        columns.push((name, oid));
        let relation = u32::from_be_bytes(rest[end + 1..end + 5].try_into().unwrap());
        let number = i16::from_be_bytes(rest[end + 5..end + 7].try_into().unwrap());
        origins.push((relation, number));
        rest = &rest[end + 19..];
    }
    (columns, origins)
}

fn data_row(body: &[u8]) -> Vec<Option<Vec<u8>>> {
    let count = i16::from_be_bytes([body[0], body[1]]);
    let mut rest = &body[2..];
    let mut values = Vec::new();
    for _ in 0..count {
        let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
        rest = &rest[4..];
        values.push((length >= 0).then(|| {
            let (value, after) = rest.split_at(length as usize);
            rest = after;
            value.to_vec()
        }));
    }
    values
}

/// The fields of an ErrorResponse.
pub fn error_fields(body: &[u8]) -> ErrorFields {
    let mut fields = ErrorFields::default();
    for field in body.split(|byte| *byte == 0).filter(|field| !field.is_empty()) {
        let text = String::from_utf8_lossy(&field[1..]).into_owned();
        match field[0] {
            b'S' => fields.severity = text,
            b'C' => fields.code = text,
            b'M' => fields.message = text,
            b'D' => fields.detail = Some(text),
            b'H' => fields.hint = Some(text),
            b'P' => fields.position = text.parse().ok(),
            _ => {}
        }
    }
    fields
}

// Messages of the client.

/// Any message: type, length, body.
pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend((body.len() as i32 + 4).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A message whose length field lies.
pub fn frame_of_length(tag: u8, length: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A message without a type: startup, SSLRequest, CancelRequest.
pub fn untagged(body: &[u8]) -> Vec<u8> {
    frame(0, body)[1..].to_vec()
}

pub fn startup(version: i32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend(text(name));
        body.extend(text(value));
    }
    body.push(0);
    untagged(&body)
}

pub fn text(value: &str) -> Vec<u8> {
    let mut bytes = value.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

pub fn query(sql: &str) -> Vec<u8> {
    frame(b'Q', &text(sql))
}

pub fn parse(name: &str, sql: &str, types: &[i32]) -> Vec<u8> {
    let mut body = text(name);
    body.extend(text(sql));
    body.extend((types.len() as i16).to_be_bytes());
    types.iter().for_each(|oid| body.extend(oid.to_be_bytes()));
    frame(b'P', &body)
}

pub fn bind(portal: &str, statement: &str, formats: &[i16], values: &[Option<&[u8]>], results: &[i16]) -> Vec<u8> {
    let mut body = text(portal);
    body.extend(text(statement));
    body.extend((formats.len() as i16).to_be_bytes());
    formats.iter().for_each(|format| body.extend(format.to_be_bytes()));
    body.extend((values.len() as i16).to_be_bytes());
    for value in values {
        match value {
            Some(bytes) => {
                body.extend((bytes.len() as i32).to_be_bytes());
                body.extend(*bytes);
            }
            None => body.extend((-1i32).to_be_bytes()),
        }
    }
    body.extend((results.len() as i16).to_be_bytes());
    results.iter().for_each(|format| body.extend(format.to_be_bytes()));
    frame(b'B', &body)
}

pub fn describe(kind: u8, name: &str) -> Vec<u8> {
    frame(b'D', &[&[kind][..], &text(name)].concat())
}

pub fn execute(portal: &str, rows: i32) -> Vec<u8> {
    frame(b'E', &[&text(portal)[..], &rows.to_be_bytes()].concat())
}

pub fn close(kind: u8, name: &str) -> Vec<u8> {
    frame(b'C', &[&[kind][..], &text(name)].concat())
}

pub fn sync() -> Vec<u8> {
    frame(b'S', &[])
}

pub fn flush() -> Vec<u8> {
    frame(b'H', &[])
}

pub fn cancel_request(pid: i32, secret: &[u8]) -> Vec<u8> {
    let mut body = CANCEL_REQUEST.to_be_bytes().to_vec();
    body.extend(pid.to_be_bytes());
    body.extend(secret);
    untagged(&body)
}
