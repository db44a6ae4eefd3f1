//! Encodings of texts beside UTF-8: those that `convert_from`, `convert_to` and `convert` know.

use std::borrow::Cow;

use super::string;
use crate::error::{Error, ErrorKind, Result};

/// The encodings PostgreSQL numbers, by their numbers.
pub(crate) const ENCODINGS: &[&str] = &[
    "SQL_ASCII",
    "EUC_JP",
    "EUC_CN",
    "EUC_KR",
    "EUC_TW",
    "EUC_JIS_2004",
    "UTF8",
    "MULE_INTERNAL",
    "LATIN1",
    "LATIN2",
    "LATIN3",
    "LATIN4",
    "LATIN5",
    "LATIN6",
    "LATIN7",
    "LATIN8",
    "LATIN9",
    "LATIN10",
    "WIN1256",
    "WIN1258",
    "WIN866",
    "WIN874",
    "KOI8R",
    "WIN1251",
    "WIN1252",
    "ISO_8859_5",
    "ISO_8859_6",
    "ISO_8859_7",
    "ISO_8859_8",
    "WIN1250",
    "WIN1253",
    "WIN1254",
    "WIN1255",
    "WIN1257",
    "KOI8U",
    "SJIS",
    "BIG5",
    "GBK",
    "UHC",
    "GB18030",
    "JOHAB",
    "SHIFT_JIS_2004",
];

/// The place of an encoding in `ENCODINGS`, by any spelling of its name.
pub(crate) fn encoding_number(name: &str) -> Option<usize> {
    let plain = |name: &str| name.to_uppercase().replace(['-', '_', ' '], "");
    let given = plain(name);
    let wanted = match given.as_str() {
        "UNICODE" => "UTF8",
        "ISO88591" => "LATIN1",
        "ABC" | "TCVN" | "TCVN5712" | "VSCII" => "WIN1258",
        other => other,
    };
    ENCODINGS.iter().position(|name| plain(name) == wanted)
}

/// An encoding texts can be converted to and from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Bytes are taken as they are, as the database's own.
    SqlAscii,
    Utf8,
    Latin1,
}

impl Encoding {
    /// By its name; `role` says in an error which of two it is.
    pub(crate) fn named(name: &str, role: &str) -> Result<Self> {
        match encoding_number(name).map(|number| ENCODINGS[number]) {
            Some("SQL_ASCII") => Ok(Self::SqlAscii),
            Some("UTF8") => Ok(Self::Utf8),
            Some("LATIN1") => Ok(Self::Latin1),
            Some(known) => Err(Error::unsupported(format!("encoding \"{known}\" is not supported"))),
            None => {
                let message = format!("invalid {role}encoding name \"{name}\"");
                Err(Error::new(ErrorKind::InvalidParameterValue, message))
            }
        }
    }

    /// The text that bytes are in this encoding.
    pub(crate) fn decoded(self, bytes: &[u8]) -> Result<Cow<'_, str>> {
        match self {
            Self::SqlAscii | Self::Utf8 => Ok(Cow::Borrowed(string::utf8(bytes)?)),
            Self::Latin1 if bytes.contains(&0) => {
                let message = "invalid byte sequence for encoding \"LATIN1\": 0x00";
                Err(Error::new(ErrorKind::CharacterNotInRepertoire, message))
            }
            // Latin-1 is the first 256 code points.
            Self::Latin1 => Ok(Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect())),
        }
    }

    /// The bytes a text is in this encoding.
    pub(crate) fn encoded(self, text: &str) -> Result<Cow<'_, [u8]>> {
        match self {
            Self::SqlAscii | Self::Utf8 => Ok(Cow::Borrowed(text.as_bytes())),
            Self::Latin1 => {
                let byte = |letter: char| u8::try_from(u32::from(letter)).map_err(|_| no_equivalent(letter));
                Ok(Cow::Owned(text.chars().map(byte).collect::<Result<_>>()?))
            }
        }
    }
}

fn no_equivalent(letter: char) -> Error {
    let mut buffer = [0; 4];
    let bytes: Vec<String> = letter
        .encode_utf8(&mut buffer)
        .bytes()
        .map(|byte| format!("0x{byte:02x}"))
        .collect();
    let message = format!(
        "character with byte sequence {} in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"",
        bytes.join(" ")
    );
    Error::new(ErrorKind::UntranslatableCharacter, message)
}
