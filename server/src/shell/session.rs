//! The conversation: reads statements and commands, runs them one after the other, prints what comes back.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use staffa::TransactionStatus;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{Failure, SqlArguments};

use super::backend::Backend;
use super::cells::{Cells, Column, ColumnKind};
use super::copy::CopySource;
use super::error::{Result, ShellError};
use super::lexer::{first_statement, is_blank, words};
use super::meta::{self, Meta};
use super::print::{OutputFormat, Printer, Style};
use super::progress::{Progress, TICK};
use super::source::{Line, Prompt, Source};
use super::tell;

/// The third Ctrl-C while one statement runs ends the program.
const INTERRUPTS_MAX: u32 = 3;

/// One shell: what runs statements, and how results look.
pub(super) struct Shell<'r> {
    runtime: &'r Runtime,
    backend: Backend,
    style: Style,
    timing: bool,
    /// Ctrl-C, when the terminal is not being read.
    interrupts: Signal,
    /// COPY data comes from the standard input, not from the statements' own text.
    copy_from_standard_input: bool,
    /// Files that include each other.
    includes: u32,
}

/// A file that includes itself ends here, not at the end of the stack.
const INCLUDES_MAX: u32 = 16;

/// What happens after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    GoOn,
    /// A statement or command failed.
    Failed,
    Leave,
    /// Failed, and no further statement can run.
    Lost,
}

impl<'r> Shell<'r> {
    pub(super) fn new(
        runtime: &'r Runtime,
        backend: Backend,
        arguments: &SqlArguments,
    ) -> std::result::Result<Self, Failure> {
        let interrupts = {
            let _guard = runtime.enter();
            signal(SignalKind::interrupt())
                .map_err(|error| Failure::new(format!("cannot watch for Ctrl-C: {error}")))?
        };
        let style = Style {
            format: arguments.format,
            expanded: false,
            tuples_only: arguments.tuples_only,
            null: arguments.null.clone(),
        };
        let timing = arguments.timing;
        Ok(Self {
            runtime,
            backend,
            style,
            timing,
            interrupts,
            copy_from_standard_input: false,
            includes: 0,
        })
    }

    /// Runs texts until one fails; false where one did.
    pub(super) fn run_scripts(&mut self, scripts: Vec<Source>, copy_from_standard_input: bool) -> bool {
        self.copy_from_standard_input = copy_from_standard_input;
        for mut script in scripts {
            match self.run(&mut script) {
                Flow::GoOn => {}
                Flow::Leave => return true,
                Flow::Failed | Flow::Lost => return false,
            }
        }
        true
    }

    /// Talks with a person until they leave.
    pub(super) fn converse(&mut self, prompt: Prompt) {
        tell(
            &format!(
                "staffa {}: {}\nType \\? for help.",
                env!("CARGO_PKG_VERSION"),
                self.backend.place()
            ),
            None,
            None,
        );
        let mut source = Source::Prompt(Box::new(prompt));
        self.refresh_names(&mut source);
        if self.run(&mut source) == Flow::Lost {
            tell("The connection is lost.", None, None);
        }
        if let Source::Prompt(prompt) = &mut source {
            prompt.save_history();
        }
    }

    pub(super) fn close(self) {
        self.runtime.block_on(self.backend.close());
    }

    fn run(&mut self, source: &mut Source) -> Flow {
        let interactive = source.is_interactive();
        let mut text = String::new();
        loop {
            let flow = match source.line(&self.prompt()) {
                Err(reason) => {
                    tell(&reason, None, None);
                    return Flow::Failed;
                }
                Ok(Line::Interrupted) => {
                    text.clear();
                    Flow::GoOn
                }
                Ok(Line::End) => {
                    let flow = self.run_rest(&mut text, source);
                    return if flow == Flow::GoOn || interactive {
                        Flow::GoOn
                    } else {
                        flow
                    };
                }
                Ok(Line::Text(line)) if is_blank(&text) && line.trim_start().starts_with('\\') => {
                    text.clear();
                    self.command(&line, source)
                }
                Ok(Line::Text(line)) => {
                    text.push_str(&line);
                    text.push('\n');
                    // Without one of these no statement ends here, and a long text is not looked through again.
                    if line.contains([';', '\\']) {
                        self.run_text(&mut text, source)
                    } else {
                        Flow::GoOn
                    }
                }
            };
            match flow {
                Flow::Failed if !interactive => return Flow::Failed,
                Flow::GoOn | Flow::Failed => {}
                Flow::Leave | Flow::Lost => return flow,
            }
        }
    }

    fn prompt(&self) -> String {
        let state = match self.backend.status() {
            TransactionStatus::Idle => "",
            TransactionStatus::InTransaction => "*",
            TransactionStatus::Failed => "!",
        };
        format!("{}={state}> ", self.backend.database())
    }

    /// Runs all statements that end in the text, and leaves the rest of it.
    fn run_text(&mut self, text: &mut String, source: &mut Source) -> Flow {
        loop {
            let (statement, rest) = match first_statement(text) {
                Ok((statement, rest)) => (statement.to_owned(), rest.to_owned()),
                Err(_) => {
                    let Some((statement, expanded)) = meta::trailing(text) else {
                        return Flow::GoOn;
                    };
                    let statement = statement.to_owned();
                    text.clear();
                    let before = self.style.expanded;
                    self.style.expanded |= expanded;
                    let flow = self.statement(&statement, source);
                    self.style.expanded = before;
                    return flow;
                }
            };
            *text = rest;
            match self.statement(&statement, source) {
                Flow::GoOn => {}
                flow => {
                    text.clear();
                    return flow;
                }
            }
        }
    }

    /// The end of the text ends its last statement.
    fn run_rest(&mut self, text: &mut String, source: &mut Source) -> Flow {
        match self.run_text(text, source) {
            Flow::GoOn => {}
            flow => return flow,
        }
        if is_blank(text) || source.is_interactive() {
            Flow::GoOn
        } else {
            self.statement(text, source)
        }
    }

    fn statement(&mut self, sql: &str, source: &mut Source) -> Flow {
        let sql = sql.trim();
        if is_blank(sql) {
            return Flow::GoOn;
        }
        let style = self.style.clone();
        let started = Instant::now();
        let result = self.execute(sql, source, &style, &mut io::stdout().lock());
        let took = started.elapsed();
        let flow = match result {
            Ok(columns) => {
                if let Source::Prompt(prompt) = source {
                    prompt.assist(|assistant| assistant.names().learn(sql, columns.iter().map(|column| &*column.name)));
                }
                if matches!(words(sql).next().as_deref(), Some("CREATE" | "DROP" | "ALTER")) {
                    self.refresh_names(source);
                }
                Flow::GoOn
            }
            Err(error) => report(&error, sql, &source.place()),
        };
        if self.timing {
            let _ = writeln!(io::stdout(), "Time: {}", show_time(took));
        }
        flow
    }

    /// Runs one statement; Ctrl-C stops the statement, not the shell.
    fn execute(&mut self, sql: &str, source: &mut Source, style: &Style, out: &mut dyn Write) -> Result<Vec<Column>> {
        let progress = Progress::new();
        let mut out = io::BufWriter::with_capacity(64 << 10, out);
        let mut printer = Printer::new(&mut out, style, &progress);
        let mut copy = if self.copy_from_standard_input {
            CopySource::StandardInput
        } else {
            CopySource::Lines(source)
        };
        let stopper = self.backend.stopper();
        let (backend, interrupts) = (&mut self.backend, &mut self.interrupts);
        let result = self.runtime.block_on(async {
            let mut work = Box::pin(backend.execute(sql, &mut copy, &mut printer));
            let mut tick = tokio::time::interval(TICK);
            let mut interrupted = 0;
            loop {
                tokio::select! {
                    biased;
                    result = &mut work => break result,
                    _ = interrupts.recv() => {
                        interrupted += 1;
                        if interrupted >= INTERRUPTS_MAX {
                            progress.finish();
                            // Commits are atomic: ending here is as safe as a crash, which is to say safe.
                            std::process::exit(130);
                        }
                        stopper.stop();
                    }
                    _ = tick.tick() => progress.tick(),
                }
            }
        });
        progress.finish();
        let columns = printer.columns().to_vec();
        // What was printed before an error belongs above it.
        let flushed = out.flush();
        result?;
        flushed?;
        Ok(columns)
    }

    fn command(&mut self, line: &str, source: &mut Source) -> Flow {
        let meta = match meta::parse(line) {
            Ok(meta) => meta,
            Err(reason) => {
                tell(&format!("{}{reason}", source.place()), None, None);
                return Flow::Failed;
            }
        };
        let print = |text: &str| {
            let _ = io::stdout().write_all(text.as_bytes());
        };
        let interactive = source.is_interactive();
        let told = |what: &str, on: bool| {
            if interactive {
                print(&format!("{what} is {}.\n", if on { "on" } else { "off" }));
            }
        };
        match meta {
            Meta::Help => print(&meta::help()),
            Meta::Quit => return Flow::Leave,
            Meta::ConnectionInfo => print(&format!("You are connected to {}.\n", self.backend.place())),
            Meta::Echo(text) => print(&format!("{text}\n")),
            Meta::List(listing) => return self.list(&meta::listing(listing), source),
            Meta::Describe(name) => return self.describe(&name, source),
            Meta::Include(path) => match Source::file(path.as_ref()) {
                Ok(_) if self.includes == INCLUDES_MAX => {
                    tell(
                        &format!("{}{path}: too many files include each other", source.place()),
                        None,
                        None,
                    );
                    return Flow::Failed;
                }
                Ok(mut file) => {
                    self.includes += 1;
                    let flow = self.run(&mut file);
                    self.includes -= 1;
                    return flow;
                }
                Err(error) => {
                    tell(&format!("{}{path}: {error}", source.place()), None, None);
                    return Flow::Failed;
                }
            },
            Meta::Expanded(on) => {
                self.style.expanded = on.unwrap_or(!self.style.expanded);
                told("Expanded display", self.style.expanded);
            }
            Meta::TuplesOnly(on) => {
                self.style.tuples_only = on.unwrap_or(!self.style.tuples_only);
                told("Tuples only", self.style.tuples_only);
            }
            Meta::Timing(on) => {
                self.timing = on.unwrap_or(!self.timing);
                told("Timing", self.timing);
            }
            Meta::Null(text) => self.style.null = text,
            Meta::Format(None) => print(&format!("{:?}\n", self.style.format).to_lowercase()),
            Meta::Format(Some(name)) => {
                use clap::ValueEnum;
                match OutputFormat::from_str(&name, true) {
                    Ok(format) => self.style.format = format,
                    Err(_) => {
                        tell(&format!("\\format: there is no format {name:?}"), None, None);
                        return Flow::Failed;
                    }
                }
            }
        }
        Flow::GoOn
    }

    fn list(&mut self, sql: &str, source: &mut Source) -> Flow {
        let style = self.style.clone();
        match self.execute(sql, source, &style, &mut io::stdout().lock()) {
            Ok(_) => Flow::GoOn,
            // The position is one in our query, of no use to anybody.
            Err(error) => report(&error, "", &source.place()),
        }
    }

    /// The columns of a relation: from the catalog's views, or where a server has none, as a query shows them.
    fn describe(&mut self, name: &str, source: &mut Source) -> Flow {
        let mut found = Vec::new();
        let plain = Style {
            format: OutputFormat::Csv,
            tuples_only: true,
            ..Style::default()
        };
        let listed = self.execute(&meta::description(name), source, &plain, &mut found);
        if listed.is_ok() && !found.is_empty() {
            return self.list(&meta::description(name), source);
        }
        let columns = self
            .runtime
            .block_on(self.backend.describe(&format!("SELECT * FROM {name}")));
        let columns = match columns {
            Ok(columns) => columns,
            Err(ShellError::Sql(mut error)) => {
                error.position = None;
                return report(&ShellError::Sql(error), "", &source.place());
            }
            Err(error) => return report(&error, "", &source.place()),
        };
        let style = self.style.clone();
        let progress = Progress::hidden();
        let mut out = io::stdout().lock();
        let mut printer = Printer::new(&mut out, &style, &progress);
        let header = ["Column", "Type"].map(|name| Column {
            name: name.to_owned(),
            kind: ColumnKind::Other,
        });
        let mut print = || {
            printer.begin(header.to_vec())?;
            let mut cells = Cells::default();
            for (name, ty) in &columns {
                cells.clear();
                cells.push(Some(name));
                cells.push(Some(ty));
                printer.row(&cells)?;
            }
            printer.end()
        };
        match print() {
            Ok(()) => Flow::GoOn,
            Err(error) => report(&error.into(), "", ""),
        }
    }

    /// Asks for the names that completion offers. A server without the catalog's views is no reason to complain.
    fn refresh_names(&mut self, source: &mut Source) {
        if !source.is_interactive() || self.backend.status() != TransactionStatus::Idle {
            return;
        }
        let style = Style {
            format: OutputFormat::Unaligned,
            tuples_only: true,
            ..Style::default()
        };
        let mut found = Vec::new();
        if self.execute(&meta::names(), source, &style, &mut found).is_err() {
            return;
        }
        let mut relations: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in String::from_utf8_lossy(&found).lines() {
            if let Some((relation, column)) = line.split_once('|') {
                relations
                    .entry(relation.to_owned())
                    .or_default()
                    .push(column.to_owned());
            }
        }
        if let Source::Prompt(prompt) = source {
            prompt.assist(|assistant| assistant.names().set_relations(relations));
        }
    }
}

/// Prints an error; says whether the shell can go on.
fn report(error: &ShellError, sql: &str, place: &str) -> Flow {
    match error {
        ShellError::Sql(error) => {
            let _ = write!(io::stderr(), "{place}{}", error.report(sql));
            if error.disconnected { Flow::Lost } else { Flow::Failed }
        }
        // The reader has what it wanted.
        ShellError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Flow::Leave,
        ShellError::Output(error) => {
            tell(&format!("cannot write the output: {error}"), None, None);
            Flow::Lost
        }
    }
}

/// `12.345 ms`; from a second on also as people read it.
fn show_time(took: Duration) -> String {
    let milliseconds = took.as_secs_f64() * 1e3;
    if took < Duration::from_secs(1) {
        return format!("{milliseconds:.3} ms");
    }
    let seconds = took.as_secs();
    let clock = match seconds {
        0..3600 => format!("{:02}:{:02}.{:03}", seconds / 60, seconds % 60, took.subsec_millis()),
        _ => format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
    };
    format!("{milliseconds:.3} ms ({clock})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_like_psql() {
        assert_eq!(show_time(Duration::from_micros(12_345)), "12.345 ms");
        assert_eq!(show_time(Duration::from_millis(61_500)), "61500.000 ms (01:01.500)");
        assert_eq!(show_time(Duration::from_secs(3_725)), "3725000.000 ms (01:02:05)");
    }
}
