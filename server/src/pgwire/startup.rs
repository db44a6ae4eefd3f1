//! From the first byte to a known wish: encryption, cancel request or login (PostgreSQL 15, sections 55.2.1 and 55.2.11).
//!
//! Every error here is FATAL and ends the connection.

use bytes::{Bytes, BytesMut};
use staffa::ErrorKind;

use super::link::Link;
use super::message::utf8;
use super::reply;
use super::report::{Report, Step};
use crate::auth::cut_name;
use crate::tls::{ALPN, Tls};

const SSL_REQUEST: u32 = 80_877_103;
const GSS_ENCRYPTION_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// Protocol 3.2, the newest we speak.
const VERSION_MAX: u32 = 3 << 16 | 2;

/// What a new connection wants.
pub(crate) enum Wish {
    Login(StartupMessage),
    /// Cancel what the connection with this process number runs.
    Cancel {
        process: i32,
        key: Bytes,
    },
    /// It hung up: a port scan, or a health check.
    Nothing,
}

/// A client's introduction.
#[derive(Debug, PartialEq)]
pub(crate) struct StartupMessage {
    pub(crate) user: String,
    pub(crate) database: String,
    /// Settings in the order they apply: those of `options` first, as in PostgreSQL.
    pub(crate) settings: Vec<(String, String)>,
    /// Whether the protocol is 3.2 or later, whose secret keys are long.
    pub(crate) long_key: bool,
    /// Not empty when the client must be told what we do not have: a newer version, or protocol options.
    pub(crate) negotiate: Option<Vec<String>>,
}

/// Talks with a new client until it says what it wants; sets up TLS when it asks for it.
pub(crate) async fn negotiate(link: &mut Link, tls: Option<&Tls>) -> Step<Wish> {
    if let Some(tls) = tls
        && link.starts_with_tls().await?
    {
        link.start_tls(&tls.postgres()).await?;
        if link.alpn() != Some(ALPN) {
            return Err(Report::protocol_fatal(
                "received direct SSL connection request without ALPN protocol negotiation extension",
            )
            .into());
        }
    }
    let (mut ssl_asked, mut gss_asked) = (link.is_encrypted(), link.is_encrypted());
    loop {
        let Some(packet) = link.read_startup_packet().await? else {
            return Ok(Wish::Nothing);
        };
        let code = u32::from_be_bytes([packet[0], packet[1], packet[2], packet[3]]);
        let body = packet.slice(4..);
        match code {
            SSL_REQUEST if !ssl_asked => {
                ssl_asked = true;
                answer_ssl_request(link, tls).await?;
            }
            GSS_ENCRYPTION_REQUEST if !gss_asked => {
                gss_asked = true;
                link.send(&mut BytesMut::from(&b"N"[..])).await?;
            }
            CANCEL_REQUEST => return cancel_request(body),
            version => return startup_message(version, &body).map(Wish::Login).map_err(Into::into),
        }
    }
}

async fn answer_ssl_request(link: &mut Link, tls: Option<&Tls>) -> Step<()> {
    let Some(tls) = tls else {
        link.send(&mut BytesMut::from(&b"N"[..])).await?;
        return Ok(());
    };
    // Somebody in the middle could put plain text there, to be taken as if it had come encrypted (CVE-2021-23214).
    if link.has_unread_input() {
        let detail = "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.";
        return Err(Report::protocol_fatal("received unencrypted data after SSL request")
            .detail(detail)
            .into());
    }
    link.send(&mut BytesMut::from(&b"S"[..])).await?;
    link.start_tls(&tls.postgres()).await?;
    Ok(())
}

pub(crate) fn cancel_request(body: Bytes) -> Step<Wish> {
    // Process number, then a key of 4 bytes (protocol 3.0) to 256 (3.2).
    if !(8..=260).contains(&body.len()) {
        return Err(Report::protocol_fatal("invalid length of startup packet").into());
    }
    let process = i32::from_be_bytes([body[0], body[1], body[2], body[3]]);
    Ok(Wish::Cancel {
        process,
        key: body.slice(4..),
    })
}

pub(crate) fn startup_message(version: u32, body: &[u8]) -> Result<StartupMessage, Report> {
    let (major, minor) = (version >> 16, version & 0xffff);
    if major != 3 {
        let text = format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2");
        return Err(Report::fatal(ErrorKind::FeatureNotSupported, text));
    }
    let (mut user, mut database) = (None, None);
    let (mut from_options, mut settings, mut unsupported) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in parameters(body).map_err(Report::into_fatal)? {
        match name.as_str() {
            "user" => user = Some(value),
            "database" => database = Some(value),
            "options" => from_options = command_line_settings(&value)?,
            "replication" if is_false(&value) => {}
            "replication" => {
                return Err(Report::fatal(
                    ErrorKind::FeatureNotSupported,
                    "replication connections are not supported",
                ));
            }
            protocol_option if protocol_option.starts_with("_pq_.") => unsupported.push(name),
            _ => settings.push((name, value)),
        }
    }
    let Some(user) = user.filter(|user| !user.is_empty()) else {
        let text = "no PostgreSQL user name specified in startup packet";
        return Err(Report::fatal(ErrorKind::InvalidAuthorization, text));
    };
    let user = cut_name(user);
    from_options.append(&mut settings);
    Ok(StartupMessage {
        database: database
            .filter(|database| !database.is_empty())
            .map_or_else(|| user.clone(), cut_name),
        user,
        settings: from_options,
        long_key: minor >= 2,
        negotiate: (version > VERSION_MAX || !unsupported.is_empty()).then_some(unsupported),
    })
}

/// Names and values, each ended by a zero byte, with one more at the end.
fn parameters(body: &[u8]) -> Result<Vec<(String, String)>, Report> {
    let layout = || Report::protocol_fatal("invalid startup packet layout: expected terminator as last byte");
    let Some((0, body)) = body.split_last() else {
        return Err(layout());
    };
    let mut texts = Vec::new();
    if !body.is_empty() {
        let Some((0, body)) = body.split_last() else {
            return Err(layout());
        };
        for text in body.split(|&byte| byte == 0) {
            texts.push(utf8(text)?.to_owned());
        }
    }
    // An empty name is the terminator, so nothing may follow it; a name without a value ends the packet early.
    if texts.len() % 2 != 0 || texts.iter().step_by(2).any(String::is_empty) {
        return Err(layout());
    }
    let mut texts = texts.into_iter();
    Ok(std::iter::from_fn(|| Some((texts.next()?, texts.next()?))).collect())
}

/// The settings in the startup parameter `options`: `-c name=value` and `--name=value`, blanks escaped by a backslash.
fn command_line_settings(options: &str) -> Result<Vec<(String, String)>, Report> {
    let invalid = |word: &str| {
        let text = format!("invalid command-line argument for server process: {word}");
        Report::fatal(ErrorKind::SyntaxError, text).hint("Only \"-c name=value\" and \"--name=value\" are supported.")
    };
    let mut settings = Vec::new();
    let mut words = split_options(options).into_iter();
    while let Some(word) = words.next() {
        let setting = match (word.strip_prefix("-c"), word.strip_prefix("--")) {
            (Some(""), _) => words.next().ok_or_else(|| invalid(&word))?,
            (Some(setting), _) | (_, Some(setting)) => setting.to_owned(),
            _ => return Err(invalid(&word)),
        };
        let (name, value) = setting.split_once('=').ok_or_else(|| invalid(&word))?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

fn split_options(options: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.get_or_insert_default().extend(characters.next()),
            blank if blank.is_ascii_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

fn is_false(value: &str) -> bool {
    ["false", "off", "no", "0"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
}

/// Tells the client which version we speak and which of its protocol options we do not know.
pub(crate) fn reply_negotiation(out: &mut BytesMut, message: &StartupMessage) {
    if let Some(unsupported) = &message.negotiate {
        reply::negotiate_protocol_version(out, VERSION_MAX, unsupported);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION_3_0: u32 = 3 << 16;

    fn packet(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in pairs {
            body.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
        }
        body.push(0);
        body
    }

    fn error(version: u32, body: &[u8]) -> (&'static str, bool) {
        let report = startup_message(version, body).expect_err("wrong");
        (report.code, report.is_fatal())
    }

    #[test]
    fn settings_of_options_come_first_and_the_database_defaults_to_the_user() {
        let body = packet(&[
            ("user", "ann"),
            ("TimeZone", "UTC"),
            ("options", r"-c a.b=x\ y  --search-path=s -cc.d="),
        ]);
        let message = startup_message(VERSION_3_0, &body).expect("valid");
        assert_eq!((message.user.as_str(), message.database.as_str()), ("ann", "ann"));
        let settings = [("a.b", "x y"), ("search_path", "s"), ("c.d", ""), ("TimeZone", "UTC")];
        assert_eq!(
            message.settings,
            settings.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert!(!message.long_key);
        assert_eq!(message.negotiate, None);
    }

    #[test]
    fn long_names_are_cut() {
        let body = packet(&[("user", &"ä".repeat(60)), ("database", &"d".repeat(5000))]);
        let message = startup_message(VERSION_3_0, &body).expect("valid");
        assert_eq!(message.user, "ä".repeat(31));
        assert_eq!(message.database, "d".repeat(63));
    }

    #[test]
    fn newer_versions_and_protocol_options_are_negotiated() {
        let body = packet(&[("user", "ann"), ("_pq_.fast", "1")]);
        let negotiate = |version| startup_message(version, &body).expect("valid").negotiate;
        assert_eq!(negotiate(VERSION_3_0), Some(vec!["_pq_.fast".to_owned()]));
        let message = startup_message(3 << 16 | 9999, &packet(&[("user", "ann")])).expect("valid");
        assert_eq!((message.negotiate, message.long_key), (Some(Vec::new()), true));
    }

    #[test]
    fn every_error_is_fatal() {
        let user = packet(&[("user", "ann")]);
        assert_eq!(error(2 << 16, &user), ("0A000", true));
        assert_eq!(error(SSL_REQUEST, &user), ("0A000", true));
        assert_eq!(error(VERSION_3_0, &packet(&[("database", "x")])), ("28000", true));
        assert_eq!(error(VERSION_3_0, b"user\0ann\0"), ("08P01", true));
        assert_eq!(error(VERSION_3_0, b"user\0ann"), ("08P01", true));
        assert_eq!(error(VERSION_3_0, b"user\0"), ("08P01", true));
        assert_eq!(error(VERSION_3_0, b""), ("08P01", true));
        assert_eq!(error(VERSION_3_0, b"user\0a\xff\0\0"), ("22021", true));
        assert_eq!(
            error(VERSION_3_0, &packet(&[("user", "ann"), ("replication", "database")])),
            ("0A000", true)
        );
        assert_eq!(
            error(VERSION_3_0, &packet(&[("user", "ann"), ("options", "-x")])),
            ("42601", true)
        );
    }

    #[test]
    fn cancel_requests_need_a_key() {
        let wish = |body: &'static [u8]| cancel_request(Bytes::from_static(body));
        assert!(matches!(
            wish(b"\0\0\0\x07\x01\x02\x03\x04"),
            Ok(Wish::Cancel { process: 7, .. })
        ));
        assert!(wish(b"\0\0\0\x07\x01").is_err());
    }
}
