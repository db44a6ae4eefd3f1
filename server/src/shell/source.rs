//! Where statements come from: a person at a prompt, a file, a text.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{CompletionType, Config, Editor};

use super::complete::Assistant;
use super::lexer::words;

/// Lines of statements.
pub(crate) enum Source {
    Prompt(Box<Prompt>),
    Script {
        reader: Box<dyn BufRead + Send>,
        name: String,
        line: usize,
    },
}

/// What reading a line came to.
pub(crate) enum Line {
    Text(String),
    /// Ctrl-C: what was typed so far is thrown away.
    Interrupted,
    End,
}

impl Source {
    pub(crate) fn file(path: &Path) -> io::Result<Self> {
        let file = std::fs::File::open(path)?;
        let name = path.display().to_string();
        Ok(Self::Script {
            reader: Box::new(io::BufReader::new(file)),
            name,
            line: 0,
        })
    }

    pub(crate) fn standard_input() -> Self {
        Self::Script {
            reader: Box::new(io::BufReader::new(io::stdin())),
            name: "<stdin>".to_owned(),
            line: 0,
        }
    }

    pub(crate) fn text(text: String) -> Self {
        Self::Script {
            reader: Box::new(io::Cursor::new(text)),
            name: String::new(),
            line: 0,
        }
    }

    pub(crate) fn is_interactive(&self) -> bool {
        matches!(self, Self::Prompt(_))
    }

    /// `file:12: ` for messages; nothing at a prompt.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Script { name, line, .. } if !name.is_empty() => format!("{name}:{line}: "),
            _ => String::new(),
        }
    }

    pub(crate) fn line(&mut self, prompt: &str) -> Result<Line, String> {
        match self {
            Self::Prompt(editor) => editor.line(prompt),
            Self::Script {
                reader,
                line: number,
                name,
            } => {
                let mut line = String::new();
                match reader.read_line(&mut line) {
                    Ok(0) => Ok(Line::End),
                    Ok(_) => {
                        *number += 1;
                        if line.ends_with('\n') {
                            line.pop();
                        }
                        Ok(Line::Text(line))
                    }
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        Err(format!("{name}:{}: the text is not UTF-8", *number + 1))
                    }
                    Err(error) => Err(format!("cannot read {name}: {error}")),
                }
            }
        }
    }

    /// A line of COPY data, or a reason to give up.
    pub(super) fn copy_line(&mut self) -> Result<Option<String>, String> {
        if let Self::Prompt(editor) = self {
            editor.assist(|assistant| assistant.set_plain(true));
        }
        let line = self.line(">> ");
        if let Self::Prompt(editor) = self {
            editor.assist(|assistant| assistant.set_plain(false));
        }
        match line? {
            Line::Text(line) => Ok(Some(line)),
            Line::End => Ok(None),
            Line::Interrupted => Err("canceled by user".to_owned()),
        }
    }
}

/// A terminal with line editing, history and completion.
pub(crate) struct Prompt {
    editor: Editor<Assistant, DefaultHistory>,
    history: Option<PathBuf>,
}

/// Statements kept in the history file.
const HISTORY_LINES_MAX: usize = 5_000;

impl Prompt {
    pub(crate) fn new(history: Option<PathBuf>, assistant: Assistant) -> rustyline::Result<Self> {
        let config = Config::builder()
            .max_history_size(HISTORY_LINES_MAX)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .tab_stop(4)
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(assistant));
        if let Some(path) = &history
            && path.exists()
            && let Err(error) = editor.load_history(path)
        {
            let _ = writeln!(io::stderr(), "cannot read the history {}: {error}", path.display());
        }
        Ok(Self { editor, history })
    }

    pub(crate) fn assist<T>(&mut self, act: impl FnOnce(&mut Assistant) -> T) -> Option<T> {
        self.editor.helper_mut().map(act)
    }

    fn line(&mut self, prompt: &str) -> Result<Line, String> {
        loop {
            return match self.editor.readline(prompt) {
                Ok(line) => {
                    // Passwords do not belong into files.
                    let secret = words(&line).any(|word| word == "PASSWORD");
                    let data = self.editor.helper().is_some_and(Assistant::is_plain);
                    if !line.trim().is_empty() && !secret && !data {
                        let _ = self.editor.add_history_entry(line.as_str());
                    }
                    Ok(Line::Text(line))
                }
                // Ctrl-C that stopped a statement before: the editor hears of it late.
                Err(ReadlineError::Signal(_)) => continue,
                Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
                Err(ReadlineError::Eof) => Ok(Line::End),
                Err(error) => Err(format!("cannot read from the terminal: {error}")),
            };
        }
    }

    pub(crate) fn save_history(&mut self) {
        if let Some(path) = &self.history
            && let Err(error) = self.editor.save_history(path)
        {
            let _ = writeln!(io::stderr(), "cannot write the history {}: {error}", path.display());
        }
    }
}
