//! Who may log in from where, and how: a file of rules in the format of PostgreSQL's `pg_hba.conf`.
//!
//! ```text
//! # type   database    user          address         method
//! hostssl  all         loader        all             cert
//! hostssl  all         all           10.0.0.0/8      scram-sha-256 clientcert=verify-ca
//! host     sales       ann,+clerks   192.168.1.7/32  scram-sha-256
//! host     all         all           127.0.0.1/32    trust
//! host     all         all           all             reject
//! ```
//!
//! The first rule that fits decides; where none does, nobody comes in. The file is read again when it has changed; one with a
//! mistake is not taken, and the rules before go on.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use staffa::LoginRuleRow;

/// The rules of a file, as it is now.
#[derive(Debug)]
pub struct Rules {
    path: PathBuf,
    /// Whether the server asks clients for certificates, which rules may demand then.
    verifies_clients: bool,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// When the file was written, and its size.
    stamp: Option<(SystemTime, u64)>,
    rules: Arc<[Rule]>,
}

/// How a client that a rule is for proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Scram,
    Trust,
    /// By its certificate alone.
    Certificate,
}

/// What a client's TLS certificate has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Demand {
    /// Nothing: there may be none.
    None,
    /// Signed by an authority (`clientcert=verify-ca`).
    Verified,
    /// And made out to the user (`clientcert=verify-full`).
    OfUser,
}

/// What a client has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) method: Method,
    pub(crate) certificate: Demand,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    line: usize,
    connection: Connection,
    databases: Vec<Word>,
    users: Vec<Word>,
    address: Option<Address>,
    /// `None`: nobody comes in.
    proof: Option<Proof>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    /// Over a Unix socket, which there is none of.
    Local,
    Any,
    Encrypted,
    Plain,
}

/// A name, or a word like `all` that quotes make a name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    text: String,
    quoted: bool,
}

impl Word {
    fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text == keyword
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Address {
    All,
    /// An address of this machine.
    SameHost,
    Net(IpAddr, IpAddr),
}

/// A client before its login.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) peer: IpAddr,
    pub(crate) local: Option<IpAddr>,
    pub(crate) encrypted: bool,
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
    /// The roles that the user is a member of, itself among them; nothing where there is no such user.
    pub(crate) groups: &'a [String],
}

impl Caller<'_> {
    fn told(&self) -> String {
        let encryption = if self.encrypted {
            "SSL encryption"
        } else {
            "no encryption"
        };
        format!(
            "host \"{}\", user \"{}\", database \"{}\", {encryption}",
            self.peer.to_canonical(),
            self.user,
            self.database
        )
    }
}

impl Rules {
    /// Reads the file; every line must be right.
    pub(crate) fn open(path: &Path, verifies_clients: bool) -> Result<Self, String> {
        let (stamp, rules) = read(path, verifies_clients)?;
        Ok(Self {
            path: path.to_owned(),
            verifies_clients,
            kept: Mutex::new(Kept { stamp, rules }),
        })
    }

    /// The rules as the file has them now.
    fn current(&self) -> Arc<[Rule]> {
        let mut kept = self.kept.lock();
        if stamp_of(&self.path) != kept.stamp {
            match read(&self.path, self.verifies_clients) {
                Ok((stamp, rules)) => *kept = Kept { stamp, rules },
                Err(mistake) => {
                    // Told once for each change.
                    kept.stamp = stamp_of(&self.path);
                    tracing::error!("the rules of logins stay as they were: {mistake}");
                }
            }
        }
        Arc::clone(&kept.rules)
    }

    /// How a client proves who it is; an error is PostgreSQL's message.
    pub(crate) fn proof(&self, caller: &Caller<'_>) -> Result<Proof, String> {
        match self.current().iter().find(|rule| rule.fits(caller)) {
            Some(rule) => rule
                .proof
                .ok_or_else(|| format!("pg_hba.conf rejects connection for {}", caller.told())),
            None => Err(format!("no pg_hba.conf entry for {}", caller.told())),
        }
    }

    /// What the file says now, mistakes and all: `pg_hba_file_rules`.
    pub(crate) fn rows(&self) -> Vec<LoginRuleRow> {
        let Ok(text) = std::fs::read_to_string(&self.path) else {
            return Vec::new();
        };
        lines(&text)
            .into_iter()
            .map(|(number, fields)| row(number, &fields, self.verifies_clients))
            .collect()
    }
}

impl Rule {
    fn fits(&self, caller: &Caller<'_>) -> bool {
        let connection = match self.connection {
            Connection::Local => false,
            Connection::Any => true,
            Connection::Encrypted => caller.encrypted,
            Connection::Plain => !caller.encrypted,
        };
        let is_group = |group: &str| caller.groups.iter().any(|known| known == group);
        let database = |word: &Word| {
            word.is("all")
                || word.is("sameuser") && caller.user == caller.database
                || (word.is("samerole") || word.is("samegroup")) && is_group(caller.database)
                // Of connections for replication, which there are none of.
                || !word.is("replication") && word.text == caller.database
        };
        let user = |word: &Word| match word.text.strip_prefix('+') {
            Some(group) if !word.quoted => is_group(group),
            _ => word.is("all") || word.text == caller.user,
        };
        connection
            && self.address.is_some_and(|address| address.has(caller))
            && self.databases.iter().any(database)
            && self.users.iter().any(user)
    }
}

impl Address {
    fn has(self, caller: &Caller<'_>) -> bool {
        let peer = caller.peer.to_canonical();
        match self {
            Address::All => true,
            Address::SameHost => peer.is_loopback() || caller.local.map(|local| local.to_canonical()) == Some(peer),
            Address::Net(net, mask) => match (net, mask, peer) {
                (IpAddr::V4(net), IpAddr::V4(mask), IpAddr::V4(peer)) => {
                    u32::from(net) & u32::from(mask) == u32::from(peer) & u32::from(mask)
                }
                (IpAddr::V6(net), IpAddr::V6(mask), IpAddr::V6(peer)) => {
                    u128::from(net) & u128::from(mask) == u128::from(peer) & u128::from(mask)
                }
                _ => false,
            },
        }
    }

    /// Whether others than this machine are meant.
    fn is_open(self) -> bool {
        match self {
            Address::All => true,
            Address::SameHost => false,
            Address::Net(IpAddr::V4(net), IpAddr::V4(mask)) => !net.is_loopback() || mask.octets()[0] != 255,
            Address::Net(net, mask) => !net.is_loopback() || !is_whole(mask),
        }
    }
}

fn is_whole(mask: IpAddr) -> bool {
    match mask {
        IpAddr::V4(mask) => u32::from(mask) == u32::MAX,
        IpAddr::V6(mask) => u128::from(mask) == u128::MAX,
    }
}

fn stamp_of(path: &Path) -> Option<(SystemTime, u64)> {
    let known = std::fs::metadata(path).ok()?;
    Some((known.modified().ok()?, known.len()))
}

type Read = (Option<(SystemTime, u64)>, Arc<[Rule]>);

fn read(path: &Path, verifies_clients: bool) -> Result<Read, String> {
    let stamp = stamp_of(path);
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let rules = lines(&text).into_iter().map(|(number, fields)| {
        rule(number, &fields, verifies_clients).map_err(|mistake| format!("{}:{number}: {mistake}", path.display()))
    });
    Ok((stamp, rules.collect::<Result<Vec<_>, _>>()?.into()))
}

/// The lines that say something, as lists of words, with their numbers. A backslash at its end continues a line.
fn lines(text: &str) -> Vec<(usize, Vec<Vec<Word>>)> {
    let mut all = Vec::new();
    let mut physical = text.lines().enumerate();
    while let Some((index, first)) = physical.next() {
        let mut line = first.to_owned();
        while line.ends_with('\\') {
            line.pop();
            match physical.next() {
                Some((_, more)) => line.push_str(more),
                None => break,
            }
        }
        let fields = fields(&line);
        if !fields.is_empty() {
            all.push((index + 1, fields));
        }
    }
    all
}

/// Fields between blanks, each a list between commas.
fn fields(line: &str) -> Vec<Vec<Word>> {
    let mut fields: Vec<Vec<Word>> = Vec::new();
    let mut word: Option<Word> = None;
    // Whether the next word belongs to the field before it.
    let mut continues = false;
    let mut end = |word: &mut Option<Word>, continues: &mut bool| {
        if let Some(word) = word.take() {
            match fields.last_mut().filter(|_| *continues) {
                Some(field) => field.push(word),
                None => fields.push(vec![word]),
            }
            *continues = false;
        }
    };
    let mut in_quotes = false;
    for character in line.chars() {
        match character {
            '"' => {
                in_quotes = !in_quotes;
                word.get_or_insert(Word {
                    text: String::new(),
                    quoted: true,
                })
                .quoted = true;
            }
            '#' if !in_quotes => break,
            ',' if !in_quotes => {
                end(&mut word, &mut continues);
                continues = true;
            }
            blank if blank.is_whitespace() && !in_quotes => end(&mut word, &mut continues),
            other => word
                .get_or_insert(Word {
                    text: String::new(),
                    quoted: false,
                })
                .text
                .push(other),
        }
    }
    end(&mut word, &mut continues);
    fields
}

fn rule(line: usize, fields: &[Vec<Word>], verifies_clients: bool) -> Result<Rule, String> {
    let single = |index: usize, what: &str| match fields.get(index).map(Vec::as_slice) {
        Some([word]) => Ok(word.text.as_str()),
        Some(_) => Err(format!("multiple values specified for {what}")),
        None => Err(format!("end-of-line before {what} specification")),
    };
    let connection = match single(0, "connection type")? {
        "local" => Connection::Local,
        // Nothing is encrypted by GSSAPI.
        "host" | "hostnogssenc" => Connection::Any,
        "hostssl" => Connection::Encrypted,
        "hostnossl" => Connection::Plain,
        "hostgssenc" => return Err("hostgssenc is not supported: there is no GSSAPI encryption".to_owned()),
        other => return Err(format!("invalid connection type \"{other}\"")),
    };
    let words = |index: usize, what: &str| {
        let words = fields
            .get(index)
            .ok_or_else(|| format!("end-of-line before {what} specification"))?;
        match words.iter().find(|word| !word.quoted && word.text.starts_with('@')) {
            Some(word) => Err(format!("{}: files of names are not supported", word.text)),
            None => Ok(words.clone()),
        }
    };
    let (databases, users) = (words(1, "database")?, words(2, "role")?);
    let mut next = 3;
    let address = match connection {
        Connection::Local => None,
        _ => {
            let address = single(next, "IP address")?;
            next += 1;
            Some(match address {
                "all" => Address::All,
                "samehost" => Address::SameHost,
                "samenet" => return Err("samenet is not supported: write the network".to_owned()),
                address => match address.split_once('/') {
                    Some((address, length)) => {
                        let address = ip(address)?;
                        Address::Net(address, mask_of(address, length)?)
                    }
                    None => {
                        let address = ip(address)?;
                        let mask = single(next, "netmask")?;
                        next += 1;
                        let mask: IpAddr = mask.parse().map_err(|_| format!("invalid IP mask \"{mask}\""))?;
                        if mask.is_ipv4() != address.is_ipv4() {
                            return Err("IP address and mask do not match".to_owned());
                        }
                        Address::Net(address, mask)
                    }
                },
            })
        }
    };
    let method = match single(next, "authentication method")? {
        // The stored verifiers are SCRAM's, which is what PostgreSQL does with md5 then.
        "scram-sha-256" | "md5" => Some(Method::Scram),
        "trust" => Some(Method::Trust),
        "cert" if connection != Connection::Encrypted => {
            return Err("cert authentication is only supported on hostssl connections".to_owned());
        }
        "cert" => Some(Method::Certificate),
        "reject" => None,
        other => return Err(format!("authentication method \"{other}\" is not supported")),
    };
    let mut certificate = match method {
        Some(Method::Certificate) => Demand::OfUser,
        _ => Demand::None,
    };
    for option in fields.iter().skip(next + 1).flatten() {
        let (name, value) = (option.text.split_once('='))
            .ok_or_else(|| format!("authentication option not in name=value format: {}", option.text))?;
        if matches!(name, "clientcert" | "clientname") && connection != Connection::Encrypted {
            return Err(format!("{name} can only be configured for \"hostssl\" rows"));
        }
        match (name, value) {
            ("clientcert", "verify-full") => certificate = Demand::OfUser,
            ("clientcert", "verify-ca") if method == Some(Method::Certificate) => {
                return Err(
                    "clientcert can only be set to \"verify-full\" when using \"cert\" authentication".to_owned(),
                );
            }
            ("clientcert", "verify-ca") => certificate = Demand::Verified,
            ("clientname", "CN") => {}
            ("clientname", "DN") => {
                return Err("clientname=DN is not supported: roles are told by the common name".to_owned());
            }
            ("clientcert" | "clientname", _) => return Err(format!("invalid value for {name}: \"{value}\"")),
            _ => return Err(format!("authentication option \"{name}\" is not supported")),
        }
    }
    if certificate != Demand::None && !verifies_clients {
        return Err(
            "client certificates can only be checked if a root certificate store is available: set tls_client_ca"
                .to_owned(),
        );
    }
    // A certificate of one's own says who one is, wherever one comes from.
    if method == Some(Method::Trust) && certificate != Demand::OfUser && address.is_some_and(Address::is_open) {
        return Err("trust is for addresses of this machine only (127.0.0.1/32, ::1/128, samehost)".to_owned());
    }
    Ok(Rule {
        line,
        connection,
        databases,
        users,
        address,
        proof: method.map(|method| Proof { method, certificate }),
    })
}

fn ip(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| format!("invalid IP address \"{text}\": names of hosts are not supported"))
}

fn mask_of(address: IpAddr, length: &str) -> Result<IpAddr, String> {
    let invalid = || format!("invalid CIDR mask length \"{length}\"");
    let length: u32 = length.parse().map_err(|_| invalid())?;
    match address {
        IpAddr::V4(_) if length <= 32 => Ok(IpAddr::from(
            u32::MAX.checked_shl(32 - length).unwrap_or(0).to_be_bytes(),
        )),
        IpAddr::V6(_) if length <= 128 => Ok(IpAddr::from(
            u128::MAX.checked_shl(128 - length).unwrap_or(0).to_be_bytes(),
        )),
        _ => Err(invalid()),
    }
}

fn row(number: usize, fields: &[Vec<Word>], verifies_clients: bool) -> LoginRuleRow {
    let texts = |words: &[Word]| words.iter().map(|word| word.text.clone()).collect();
    let line = i32::try_from(number).unwrap_or(i32::MAX);
    match rule(number, fields, verifies_clients) {
        Err(mistake) => LoginRuleRow {
            line,
            error: Some(mistake),
            ..LoginRuleRow::default()
        },
        Ok(rule) => {
            let (address, netmask) = match rule.address {
                None => (None, None),
                Some(Address::All) => (Some("all".to_owned()), None),
                Some(Address::SameHost) => (Some("samehost".to_owned()), None),
                Some(Address::Net(net, mask)) => (Some(net.to_string()), Some(mask.to_string())),
            };
            LoginRuleRow {
                line: i32::try_from(rule.line).unwrap_or(i32::MAX),
                kind: fields
                    .first()
                    .and_then(|words| words.first())
                    .map(|word| word.text.clone()),
                databases: Some(texts(&rule.databases)),
                users: Some(texts(&rule.users)),
                address,
                netmask,
                method: Some(
                    match rule.proof.map(|proof| proof.method) {
                        Some(Method::Scram) => "scram-sha-256",
                        Some(Method::Trust) => "trust",
                        Some(Method::Certificate) => "cert",
                        None => "reject",
                    }
                    .to_owned(),
                ),
                options: match rule.proof.map_or(Demand::None, |proof| proof.certificate) {
                    Demand::None => None,
                    Demand::Verified => Some(vec!["clientcert=verify-ca".to_owned()]),
                    Demand::OfUser => Some(vec!["clientcert=verify-full".to_owned()]),
                },
                error: None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Rule>, String> {
        parsed_with(text, true)
    }

    fn parsed_with(text: &str, verifies_clients: bool) -> Result<Vec<Rule>, String> {
        lines(text)
            .into_iter()
            .map(|(number, fields)| rule(number, &fields, verifies_clients))
            .collect()
    }

    fn method(text: &str, peer: &str, encrypted: bool, database: &str, user: &str) -> Option<(usize, Option<Method>)> {
        let rules = parsed(text).expect("rules");
        let groups = [user.to_owned(), "clerks".to_owned()];
        let caller = Caller {
            peer: peer.parse().expect("an address"),
            local: None,
            encrypted,
            database,
            user,
            groups: if user == "ann" { &groups } else { &groups[..1] },
        };
        let found = rules.iter().find(|rule| rule.fits(&caller));
        found.map(|rule| (rule.line, rule.proof.map(|proof| proof.method)))
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let text = "# who comes in\n\
                    local   all      all                            scram-sha-256\n\
                    host    sales    +clerks      10.1.0.0/16       scram-sha-256\n\
                    host    sales,\"all\" bob     10.1.2.3 255.255.255.255 reject\n\
                    hostssl sameuser all          all               md5\n\
                    host    all      all          127.0.0.1/32      trust\n\
                    host    all      all          ::1/128 \\\n trust\n";
        assert_eq!(
            method(text, "10.1.9.9", false, "sales", "ann"),
            Some((3, Some(Method::Scram)))
        );
        assert_eq!(method(text, "10.2.9.9", false, "sales", "ann"), None);
        assert_eq!(method(text, "10.1.9.9", false, "sales", "bob"), None);
        assert_eq!(method(text, "10.1.2.3", false, "sales", "bob"), Some((4, None)));
        assert_eq!(method(text, "10.1.2.3", false, "all", "bob"), Some((4, None)));
        assert_eq!(method(text, "10.1.2.3", false, "other", "bob"), None);
        assert_eq!(
            method(text, "8.8.8.8", true, "eve", "eve"),
            Some((5, Some(Method::Scram)))
        );
        assert_eq!(method(text, "8.8.8.8", false, "eve", "eve"), None);
        assert_eq!(
            method(text, "127.0.0.1", false, "x", "eve"),
            Some((6, Some(Method::Trust)))
        );
        assert_eq!(
            method(text, "::ffff:127.0.0.1", false, "x", "eve"),
            Some((6, Some(Method::Trust)))
        );
        assert_eq!(method(text, "::1", false, "x", "eve"), Some((7, Some(Method::Trust))));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, mistake) in [
            ("hots all all all trust", "invalid connection type \"hots\""),
            ("host all", "end-of-line before role specification"),
            ("host all all 10.0.0.0/33 reject", "invalid CIDR mask length \"33\""),
            ("host all all 10.0.0.0 reject", "invalid IP mask \"reject\""),
            (
                "host all all all password",
                "authentication method \"password\" is not supported",
            ),
            ("host all @names all reject", "@names: files of names are not supported"),
            (
                "host all all 10.0.0.0/8 trust",
                "trust is for addresses of this machine only (127.0.0.1/32, ::1/128, samehost)",
            ),
            (
                "host all all all reject x=1",
                "authentication option \"x\" is not supported",
            ),
            (
                "host all all all md5 clientcert",
                "authentication option not in name=value format: clientcert",
            ),
            (
                "host all all all cert",
                "cert authentication is only supported on hostssl connections",
            ),
            (
                "host all all all md5 clientcert=verify-ca",
                "clientcert can only be configured for \"hostssl\" rows",
            ),
            (
                "hostssl all all all md5 clientcert=1",
                "invalid value for clientcert: \"1\"",
            ),
            (
                "hostssl all all all cert clientcert=verify-ca",
                "clientcert can only be set to \"verify-full\" when using \"cert\" authentication",
            ),
            (
                "hostssl all all all trust clientcert=verify-ca",
                "trust is for addresses of this machine only (127.0.0.1/32, ::1/128, samehost)",
            ),
        ] {
            assert_eq!(parsed(text).expect_err(text), mistake);
        }
    }

    #[test]
    fn certificates_are_demanded() {
        let demand = |rule: &str| parsed(rule).expect(rule)[0].proof.expect("no reject").certificate;
        assert_eq!(demand("hostssl all all all md5"), Demand::None);
        assert_eq!(demand("hostssl all all all cert"), Demand::OfUser);
        assert_eq!(demand("hostssl all all all cert clientname=CN"), Demand::OfUser);
        assert_eq!(demand("hostssl all all all md5 clientcert=verify-ca"), Demand::Verified);
        assert_eq!(
            demand("hostssl all all all trust clientcert=verify-full"),
            Demand::OfUser
        );
        for rule in [
            "hostssl all all all cert",
            "hostssl all all all md5 clientcert=verify-ca",
        ] {
            let mistake = parsed_with(rule, false).expect_err(rule);
            assert!(
                mistake.starts_with("client certificates can only be checked if"),
                "{mistake}"
            );
        }
        assert!(parsed_with("hostssl all all all md5", false).is_ok());
    }
}
