//! Client messages: the body of a frame as typed fields. Every length and count is checked against the bytes that are
//! there, so nothing is allocated and nothing is read because a client said so.

use bytes::Bytes;
use staffa::ErrorKind;

use super::report::Report;

/// A message of a logged-in client (PostgreSQL 15, section 55.7). Terminate is not among them: `frame` stops at it.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    Query(String),
    Parse(Parse),
    Bind(Bind),
    Describe(Target),
    Close(Target),
    Execute(Execute),
    Flush,
    Sync,
    FunctionCall,
    CopyData(Bytes),
    CopyDone,
    CopyFail(String),
}

#[derive(Debug, PartialEq)]
pub(crate) struct Parse {
    /// Empty: the unnamed statement.
    pub(crate) name: String,
    pub(crate) sql: String,
    /// Type OIDs of the first parameters; 0 leaves one open.
    pub(crate) types: Vec<u32>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Bind {
    /// Empty: the unnamed portal.
    pub(crate) portal: String,
    pub(crate) statement: String,
    /// None: all text; one: for all; else one a parameter.
    pub(crate) parameter_formats: Vec<i16>,
    /// `None` is NULL.
    pub(crate) parameters: Vec<Option<Bytes>>,
    /// None: all text; one: for all; else one a column.
    pub(crate) result_formats: Vec<i16>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Execute {
    pub(crate) portal: String,
    /// Rows to send before the portal is suspended; `None` is all (zero and negative numbers on the wire).
    pub(crate) rows_max: Option<u64>,
}

/// What Describe and Close are about.
#[derive(Debug, PartialEq)]
pub(crate) enum Target {
    Statement(String),
    Portal(String),
}

impl Message {
    /// Whether an error in this message (or while it is carried out) makes the server discard messages until Sync.
    pub(crate) fn is_extended(tag: u8) -> bool {
        matches!(tag, b'P' | b'B' | b'D' | b'C' | b'E' | b'H')
    }

    /// The message of a frame whose type `frame::length_limit` knows.
    pub(crate) fn decode(tag: u8, body: Bytes) -> Result<Self, Report> {
        let mut body = Body { rest: body };
        let message = match tag {
            b'Q' => Message::Query(body.text()?),
            b'P' => Message::Parse(body.parse()?),
            b'B' => Message::Bind(body.bind()?),
            b'D' => Message::Describe(body.target("DESCRIBE")?),
            b'C' => Message::Close(body.target("CLOSE")?),
            b'E' => Message::Execute(body.execute()?),
            b'H' => Message::Flush,
            b'S' => Message::Sync,
            // Nothing of a function call is read: it is refused as a whole.
            b'F' => return Ok(Message::FunctionCall),
            b'd' => return Ok(Message::CopyData(body.rest)),
            b'c' => Message::CopyDone,
            b'f' => Message::CopyFail(body.text()?),
            _ => return Err(Report::protocol_fatal(format!("invalid frontend message type {tag}"))),
        };
        body.end()?;
        Ok(message)
    }
}

struct Body {
    rest: Bytes,
}

impl Body {
    fn parse(&mut self) -> Result<Parse, Report> {
        let name = self.text()?;
        let sql = self.text()?;
        let count = self.count()?;
        let types = self.bytes(count * 4)?;
        let types = types
            .chunks_exact(4)
            .map(|oid| u32::from_be_bytes([oid[0], oid[1], oid[2], oid[3]]))
            .collect();
        Ok(Parse { name, sql, types })
    }

    fn bind(&mut self) -> Result<Bind, Report> {
        let portal = self.text()?;
        let statement = self.text()?;
        let parameter_formats = self.formats()?;
        let count = self.count()?;
        let mut parameters = Vec::new();
        for _ in 0..count {
            let length = self.int32()?;
            parameters.push(match usize::try_from(length) {
                Ok(length) => Some(self.bytes(length)?),
                Err(_) if length == -1 => None,
                Err(_) => return Err(short()),
            });
        }
        let result_formats = self.formats()?;
        Ok(Bind {
            portal,
            statement,
            parameter_formats,
            parameters,
            result_formats,
        })
    }

    fn execute(&mut self) -> Result<Execute, Report> {
        let portal = self.text()?;
        let rows_max = u64::try_from(self.int32()?).ok().filter(|&rows| rows > 0);
        Ok(Execute { portal, rows_max })
    }

    fn target(&mut self, command: &str) -> Result<Target, Report> {
        match self.bytes(1)?[0] {
            b'S' => Ok(Target::Statement(self.text()?)),
            b'P' => Ok(Target::Portal(self.text()?)),
            other => Err(Report::protocol(format!("invalid {command} message subtype {other}"))),
        }
    }

    fn formats(&mut self) -> Result<Vec<i16>, Report> {
        let count = self.count()?;
        let formats = self.bytes(count * 2)?;
        Ok(formats
            .chunks_exact(2)
            .map(|code| i16::from_be_bytes([code[0], code[1]]))
            .collect())
    }

    /// An Int16 count. Clients use all 16 bits (65,535 parameters), so it is unsigned.
    fn count(&mut self) -> Result<usize, Report> {
        let bytes = self.bytes(2)?;
        Ok(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
    }

    fn int32(&mut self) -> Result<i32, Report> {
        let bytes = self.bytes(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn bytes(&mut self, length: usize) -> Result<Bytes, Report> {
        if self.rest.len() < length {
            return Err(short());
        }
        Ok(self.rest.split_to(length))
    }

    /// A string that ends with a zero byte.
    fn text(&mut self) -> Result<String, Report> {
        let length = self
            .rest
            .iter()
            .position(|&byte| byte == 0)
            .ok_or_else(|| Report::protocol("invalid string in message"))?;
        let bytes = self.rest.split_to(length);
        let _zero = self.rest.split_to(1);
        utf8(&bytes).map(str::to_owned)
    }

    fn end(&self) -> Result<(), Report> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Report::protocol("invalid message format"))
        }
    }
}

fn short() -> Report {
    Report::protocol("insufficient data left in message")
}

/// Text of a client, which is always UTF-8; the error names the first bytes that are not, as PostgreSQL does.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, Report> {
    std::str::from_utf8(bytes).map_err(|error| {
        let wrong = &bytes[error.valid_up_to()..];
        // As many bytes as the first one promises, and no more than there are.
        let promised = match wrong.first() {
            Some(0xc0..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..=0xf7) => 4,
            _ => 1,
        };
        let shown: Vec<String> = wrong
            .iter()
            .take(promised)
            .map(|byte| format!("0x{byte:02x}"))
            .collect();
        Report::error(
            ErrorKind::CharacterNotInRepertoire,
            format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(tag: u8, body: &[u8]) -> Result<Message, (&'static str, String)> {
        Message::decode(tag, Bytes::copy_from_slice(body)).map_err(|report| (report.code, report.message))
    }

    #[test]
    fn bind_reads_formats_parameters_and_null() {
        let body = b"p\0s\0\0\x01\0\x01\0\x03\0\0\0\x02hi\xff\xff\xff\xff\0\0\0\0\0\x02\0\0\0\x01";
        let expected = Bind {
            portal: "p".to_owned(),
            statement: "s".to_owned(),
            parameter_formats: vec![1],
            parameters: vec![Some(Bytes::from_static(b"hi")), None, Some(Bytes::new())],
            result_formats: vec![0, 1],
        };
        assert_eq!(decode(b'B', body), Ok(Message::Bind(expected)));
    }

    #[test]
    fn parse_reads_oids_and_refuses_more_than_there_are() {
        let parsed = Parse {
            name: "a".to_owned(),
            sql: "select $1".to_owned(),
            types: vec![23],
        };
        assert_eq!(
            decode(b'P', b"a\0select $1\0\0\x01\0\0\0\x17"),
            Ok(Message::Parse(parsed))
        );
        let short = Err(("08P01", "insufficient data left in message".to_owned()));
        assert_eq!(decode(b'P', b"a\0select $1\0\xff\xff\0\0\0\x17"), short);
        assert_eq!(decode(b'P', b"a\0select $1\0"), short);
    }

    #[test]
    fn execute_takes_zero_and_negative_counts_as_all() {
        for (wire, rows_max) in [
            (0_i32, None),
            (-1, None),
            (i32::MIN, None),
            (7, Some(7)),
            (i32::MAX, Some(2_147_483_647)),
        ] {
            let mut body = b"\0".to_vec();
            body.extend(wire.to_be_bytes());
            assert_eq!(
                decode(b'E', &body),
                Ok(Message::Execute(Execute {
                    portal: String::new(),
                    rows_max
                }))
            );
        }
    }

    #[test]
    fn malformed_bodies_are_told_in_postgresqls_words() {
        let code = "08P01";
        let cases: [(u8, &[u8], &str); 7] = [
            (b'Q', b"select 1", "invalid string in message"),
            (b'Q', b"select 1\0x", "invalid message format"),
            (
                b'B',
                b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0",
                "insufficient data left in message",
            ),
            (
                b'B',
                b"\0\0\0\0\0\x01\x7f\xff\xff\xffx",
                "insufficient data left in message",
            ),
            (b'D', b"Q\0", "invalid DESCRIBE message subtype 81"),
            (b'S', b"x", "invalid message format"),
            (b'E', b"\0\0\0", "insufficient data left in message"),
        ];
        for (tag, body, message) in cases {
            assert_eq!(
                decode(tag, body),
                Err((code, message.to_owned())),
                "{} {body:?}",
                char::from(tag)
            );
        }
    }

    #[test]
    fn invalid_utf8_names_the_bytes() {
        // PostgreSQL 15: SELECT convert_from('\xe4626f', 'UTF8').
        let expected = "invalid byte sequence for encoding \"UTF8\": 0xe4 0x62 0x6f".to_owned();
        assert_eq!(decode(b'Q', b"\xe4bo\0"), Err(("22021", expected)));
        let expected = "invalid byte sequence for encoding \"UTF8\": 0xff".to_owned();
        assert_eq!(decode(b'Q', b"a\xffb\0"), Err(("22021", expected)));
    }
}
