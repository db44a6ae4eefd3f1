//! A password typed at the terminal, unseen.

use std::borrow::Cow;

use rustyline::completion::Completer;
use rustyline::config::Configurer;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Behavior, ColorMode, Config, Editor, Helper};

use crate::cli::Failure;

/// Shows stars.
struct Masked;

impl Highlighter for Masked {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        Cow::Owned("*".repeat(line.chars().count()))
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        kind != CmdKind::MoveCursor
    }
}

impl Completer for Masked {
    type Candidate = String;
}

impl Hinter for Masked {
    type Hint = String;
}

impl Validator for Masked {}

impl Helper for Masked {}

/// Asks on the terminal itself: the standard input may be a script.
///
/// # Errors
/// There is no terminal, or the user gave up.
pub(super) fn ask(user: &str) -> Result<String, Failure> {
    let failed = |reason: String| {
        Failure::new(format!(
            "a password is needed for \"{user}\", and it cannot be asked for: {reason}"
        ))
        .with_hint("set STAFFA_PASSWORD")
    };
    if !std::path::Path::new("/dev/tty").exists() && !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return Err(failed("there is no terminal".to_owned()));
    }
    let config = Config::builder()
        .behavior(Behavior::PreferTerm)
        .auto_add_history(false)
        .build();
    let mut editor: Editor<Masked, rustyline::history::MemHistory> =
        Editor::with_history(config, rustyline::history::MemHistory::new())
            .map_err(|error| failed(error.to_string()))?;
    editor.set_helper(Some(Masked));
    // Without colours rustyline would not call the highlighter, which is what hides the text.
    editor.set_color_mode(ColorMode::Forced);
    editor
        .readline(&format!("Password for {user}: "))
        .map_err(|error| failed(error.to_string()))
}
