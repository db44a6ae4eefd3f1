//! Who a client's TLS certificate says it is. The handshake has verified it; here are its names, as PostgreSQL reads and writes them.

use arrow::datatypes::i256;
use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag, Tagged};
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Short names of attributes, as OpenSSL has them.
const SHORT_NAMES: &[(ObjectIdentifier, &str)] = &[
    (COMMON_NAME, "CN"),
    (ObjectIdentifier::new_unwrap("2.5.4.4"), "SN"),
    (ObjectIdentifier::new_unwrap("2.5.4.5"), "serialNumber"),
    (ObjectIdentifier::new_unwrap("2.5.4.6"), "C"),
    (ObjectIdentifier::new_unwrap("2.5.4.7"), "L"),
    (ObjectIdentifier::new_unwrap("2.5.4.8"), "ST"),
    (ObjectIdentifier::new_unwrap("2.5.4.9"), "street"),
    (ObjectIdentifier::new_unwrap("2.5.4.10"), "O"),
    (ObjectIdentifier::new_unwrap("2.5.4.11"), "OU"),
    (ObjectIdentifier::new_unwrap("2.5.4.12"), "title"),
    (ObjectIdentifier::new_unwrap("2.5.4.41"), "name"),
    (ObjectIdentifier::new_unwrap("2.5.4.42"), "GN"),
    (ObjectIdentifier::new_unwrap("2.5.4.43"), "initials"),
    (ObjectIdentifier::new_unwrap("2.5.4.46"), "dnQualifier"),
    (ObjectIdentifier::new_unwrap("2.5.4.65"), "pseudonym"),
    (ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.1"), "UID"),
    (ObjectIdentifier::new_unwrap("0.9.2342.19200300.100.1.25"), "DC"),
    (ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1"), "emailAddress"),
];

/// A certificate that a client has proved to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// The first one of its subject.
    pub(crate) common_name: Option<String>,
    subject: String,
    issuer: String,
    serial: Option<i256>,
}

impl Certificate {
    /// The client's own certificate: the first one it sent.
    pub(crate) fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let certificate = EndEntityCert::try_from(chain.first()?).ok()?;
        // Names that cannot be read are nobody's.
        let subject = attributes(certificate.subject()).unwrap_or_default();
        let issuer = attributes(certificate.issuer()).unwrap_or_default();
        let common_name = subject.iter().find(|(kind, _)| *kind == COMMON_NAME);
        Some(Self {
            common_name: common_name.map(|(_, value)| value.clone()),
            subject: shown(&subject),
            issuer: shown(&issuer),
            serial: number(certificate.serial()),
        })
    }
}

impl From<Certificate> for staffa::ClientCertificate {
    fn from(certificate: Certificate) -> Self {
        staffa::ClientCertificate {
            subject: certificate.subject,
            serial: certificate.serial,
            issuer: certificate.issuer,
        }
    }
}

type Attribute = (ObjectIdentifier, String);

/// The attributes of a name, in their order: a sequence of sets of pairs.
fn attributes(name: &[u8]) -> der::Result<Vec<Attribute>> {
    let mut all = Vec::new();
    let mut sets = SliceReader::new(name)?;
    while !sets.is_finished() {
        let set = AnyRef::decode(&mut sets)?;
        set.tag().assert_eq(Tag::Set)?;
        let mut pairs = SliceReader::new(set.value())?;
        while !pairs.is_finished() {
            let pair = AnyRef::decode(&mut pairs)?;
            pair.tag().assert_eq(Tag::Sequence)?;
            let mut pair = SliceReader::new(pair.value())?;
            let kind = ObjectIdentifier::decode(&mut pair)?;
            let value = AnyRef::decode(&mut pair)?;
            all.push((kind, text(value)?));
        }
    }
    Ok(all)
}

fn text(value: AnyRef<'_>) -> der::Result<String> {
    let bytes = value.value();
    let not_text = || value.tag().value_error();
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            String::from_utf8(bytes.to_vec()).map_err(|_| not_text())
        }
        // Latin-1, as everybody takes it.
        Tag::TeletexString => Ok(bytes.iter().map(|&byte| char::from(byte)).collect()),
        Tag::BmpString if bytes.len() % 2 == 0 => {
            let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units)
                .collect::<Result<_, _>>()
                .map_err(|_| not_text())
        }
        _ => Err(not_text()),
    }
}

/// `/C=DE/O=Staffa/CN=ann`
fn shown(attributes: &[Attribute]) -> String {
    let mut shown = String::new();
    for (kind, value) in attributes {
        let short = SHORT_NAMES.iter().find(|(known, _)| known == kind);
        let name = short.map_or_else(|| kind.to_string(), |(_, short)| (*short).to_owned());
        shown.extend(["/", &name, "="]);
        escape(value, &mut shown);
    }
    shown
}

/// What has a meaning in RFC 2253 gets a backslash, and control characters are numbers.
fn escape(value: &str, out: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (at, character) in value.chars().enumerate() {
        match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => out.extend(['\\', character]),
            '#' if at == 0 => out.push_str("\\#"),
            ' ' if at == 0 || at == last => out.push_str("\\ "),
            control if control.is_ascii_control() => out.push_str(&format!("\\{:02X}", u32::from(control))),
            other => out.push(other),
        }
    }
}

/// A big-endian number in two's complement; `None`: longer than 20 bytes and its sign, the most that certificates may have.
fn number(bytes: &[u8]) -> Option<i256> {
    const BYTES_MAX: usize = 21;
    let sign = if *bytes.first()? < 0x80 { 0 } else { 0xff };
    let mut all = [sign; 32];
    let start = all.len() - Some(bytes.len()).filter(|length| *length <= BYTES_MAX)?;
    all[start..].copy_from_slice(bytes);
    Some(i256::from_be_bytes(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).expect("short")], content].concat()
    }

    /// `2.5.4.kind` with a value of some type.
    fn attribute(kind: u8, tag: u8, value: &[u8]) -> Vec<u8> {
        let pair = [element(6, &[0x55, 4, kind]), element(tag, value)].concat();
        element(0x31, &element(0x30, &pair))
    }

    #[test]
    fn names_are_read_and_shown() {
        let name = [
            attribute(6, 0x13, b"DE"),
            attribute(10, 0x14, b"B\xfcro"),
            attribute(99, 0x0c, "a,b\n".as_bytes()),
            attribute(3, 0x1e, b"\0a\0\0\x20\xac"),
        ]
        .concat();
        let read = attributes(&name).expect("a name");
        assert_eq!(read[3], (COMMON_NAME, "a\0\u{20ac}".to_owned()));
        assert_eq!(shown(&read), "/C=DE/O=B\u{fc}ro/2.5.4.99=a\\,b\\0A/CN=a\\00\u{20ac}");
        assert_eq!(attributes(b"").expect("empty"), []);
        for length in 1..name.len() {
            // A piece of a name is its first attributes, or an error; never a panic.
            let part = attributes(&name[..length]);
            assert!(part.is_err() || part.is_ok_and(|part| read.starts_with(&part)));
        }
        assert!(attributes(&attribute(3, 0x0c, b"\xff")).is_err());
        assert!(attributes(&attribute(3, 0x1e, b"a")).is_err());
        assert!(attributes(&attribute(3, 0x02, b"a")).is_err());
    }

    #[test]
    fn serial_numbers() {
        assert_eq!(number(&[0x00, 0xff]), Some(i256::from_i128(255)));
        assert_eq!(number(&[0xff]), Some(i256::from_i128(-1)));
        assert_eq!(number(&[]), None);
        let long = number(&[0x7f; 20]).expect("20 bytes");
        assert_eq!(long.to_string().len(), 48);
        assert_eq!(number(&[1; 22]), None);
    }
}
