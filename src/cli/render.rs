//! The only printing in the crate: lists to standard output, messages and progress to standard error.
//!
//! Every name passes [`Screen::name`], so that none can forge a line or steer a terminal. When standard output is
//! closed by its reader, the rest is dropped quietly and the work goes on: stopping half-way helps nobody.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::failure::Failure;
use crate::engine::options::Telling;
use crate::engine::report::{Item, Observer, Progress};
use crate::model::path::{RelPath, escape, steers};

/// Width of the code of an item line, rsync's eleven characters.
const CODE_WIDTH: usize = 11;

/// Standard output and standard error.
#[derive(Debug)]
pub struct Screen {
    raw_names: bool,
    stdout_open: bool,
}

impl Screen {
    /// Returns the two streams; `raw_names` shows names as they are.
    #[must_use]
    pub fn new(raw_names: bool) -> Self {
        Self { raw_names, stdout_open: true }
    }

    /// Returns `name` as this screen shows it.
    #[must_use]
    pub fn name<'a>(&self, name: &'a [u8]) -> Cow<'a, [u8]> {
        if self.raw_names { Cow::Borrowed(name) } else { Cow::Owned(escape(name).into_bytes()) }
    }

    /// Writes bytes to standard output, as they are.
    ///
    /// # Errors
    /// Standard output failed for another reason than that its reader is gone: a full disk must not pass for success.
    pub fn out(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.stdout_open {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.stdout_open = false;
                Ok(())
            }
            result => result,
        }
    }

    /// Whether somebody still reads standard output, as far as was noticed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stdout_open
    }

    /// Whether standard output is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Writes a line to standard error; what a peer said in it cannot steer a terminal. Where even writing fails nobody
    /// is left to be told.
    pub fn message(&mut self, line: &str) {
        let line: String = line
            .chars()
            .map(|c| if steers(c) && !matches!(c, '\n' | '\t') { char::REPLACEMENT_CHARACTER } else { c })
            .collect();
        let mut stderr = io::stderr().lock();
        stderr.write_all(format!("{line}\n").as_bytes()).ok();
    }

    /// Writes a failure with its fix to standard error.
    pub fn failure(&mut self, failure: &Failure) {
        self.message(&failure.to_string());
    }
}

/// Returns the line of `-i` for `item`, with its newline; names as `screen` shows them.
#[must_use]
pub fn item_line(item: &Item, screen: &Screen) -> Vec<u8> {
    let mut line = format!("{:<CODE_WIDTH$} ", item.code).into_bytes();
    line.extend(shown_path(item, screen));
    line.push(b'\n');
    line
}

/// The path with what follows it: `dir/`, `link -> target`.
fn shown_path(item: &Item, screen: &Screen) -> Vec<u8> {
    let mut shown =
        if item.path.is_root() { b".".to_vec() } else { screen.name(item.path.as_bytes()).into_owned() };
    if item.dir {
        shown.push(b'/');
    }
    shown.extend_from_slice(&screen.name(&item.suffix));
    shown
}

/// Tells a run while it goes on.
#[derive(Debug)]
pub struct Teller {
    screen: Screen,
    telling: Telling,
    bar: Option<ProgressBar>,
    failed: Option<io::Error>,
}

impl Teller {
    /// Returns the observer of a run told to show `telling`.
    #[must_use]
    pub fn new(telling: Telling) -> Self {
        let wanted = telling.progress || (telling.itemize == 0 && telling.verbose == 0 && !telling.json);
        let bar = (wanted && !telling.quiet && io::stderr().is_terminal()).then(bar);
        Self { screen: Screen::new(telling.raw_names), telling, bar, failed: None }
    }

    /// Takes the progress off the terminal and returns the screen for what is told at the end.
    ///
    /// # Errors
    /// Standard output failed while the run went on.
    pub fn finish(self) -> io::Result<Screen> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.screen),
        }
    }

    /// Writes a line to standard output around the progress bar; the first failure is kept for [`Teller::finish`].
    fn line(&mut self, line: &[u8]) {
        let screen = &mut self.screen;
        let result = match &self.bar {
            Some(bar) => bar.suspend(|| screen.out(line)),
            None => screen.out(line),
        };
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }
}

impl Observer for Teller {
    fn item(&mut self, item: &Item) {
        if self.telling.json || (self.telling.quiet && self.telling.itemize == 0) {
            return;
        }
        if self.telling.itemize > 0 {
            self.line(&item_line(item, &self.screen));
        } else if self.telling.verbose > 0 && !item.code.starts_with('.') {
            let mut line =
                item.code.strip_prefix('*').map(|word| format!("{word} ").into_bytes()).unwrap_or_default();
            line.extend(shown_path(item, &self.screen));
            line.push(b'\n');
            self.line(&line);
        }
    }

    fn progress(&mut self, progress: Progress, path: Option<&RelPath>) {
        let Some(bar) = &self.bar else { return };
        bar.set_length(progress.bytes_planned);
        bar.set_position(progress.bytes_done);
        bar.set_prefix(format!("{} entries", progress.scanned));
        bar.set_message(path.map(RelPath::to_string).unwrap_or_default());
    }

    fn warning(&mut self, text: &str) {
        let line = format!("warning: {text}");
        let screen = &mut self.screen;
        match &self.bar {
            Some(bar) => bar.suspend(|| screen.message(&line)),
            None => screen.message(&line),
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
    let template = "{prefix}  {bar:20}  {bytes}/{total_bytes}  {bytes_per_sec}  eta {eta}  {wide_msg}";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_template_is_wrong) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(code: &str, path: &[u8], dir: bool, suffix: &[u8]) -> Item {
        Item { code: code.to_owned(), path: RelPath::new(path).unwrap(), dir, suffix: suffix.to_vec() }
    }

    #[test]
    fn item_lines_have_the_width_of_rsyncs() {
        for (item, line) in [
            (item(">f+++++++++", b"a", false, b""), ">f+++++++++ a\n"),
            (item("cd+++++++++", b"d", true, b""), "cd+++++++++ d/\n"),
            (item("cL+++++++++", b"l", false, b" -> t"), "cL+++++++++ l -> t\n"),
            (item("*deleting", b"d", true, b""), "*deleting   d/\n"),
            (item("*conflict", b"x\ny", false, b""), "*conflict   x\\#012y\n"),
            (item(".d..t......", b"", true, b""), ".d..t...... ./\n"),
        ] {
            assert_eq!(String::from_utf8(item_line(&item, &Screen::new(false))).unwrap(), line);
        }
    }

    #[test]
    fn raw_names_are_shown_as_they_are() {
        let line = item_line(&item(">f+++++++++", b"x\ny\xff", false, b""), &Screen::new(true));
        assert_eq!(line, b">f+++++++++ x\ny\xff\n");
    }
}
