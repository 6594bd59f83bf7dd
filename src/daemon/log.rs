//! What the daemon has to say, before anybody decides how it looks: one line for each thing that happened.

/// How much a line matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Something does not work until somebody acts.
    Error,
    /// Something is not as it should be.
    Warning,
    /// What happens.
    Info,
    /// What happens in detail.
    Debug,
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// How much it matters.
    pub level: Level,
    /// What happened; whatever comes from elsewhere is escaped by who writes the line.
    pub text: String,
    /// To whom, where, how much.
    pub facts: Vec<(&'static str, String)>,
}

impl Line {
    /// Returns a line without facts.
    #[must_use]
    pub fn new(level: Level, text: impl Into<String>) -> Self {
        Self { level, text: text.into(), facts: Vec::new() }
    }

    /// Returns this line with a fact more.
    #[expect(clippy::needless_pass_by_value, reason = "a fact is given as it is at hand")]
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.facts.push((name, value.to_string()));
        self
    }
}

/// Where lines go.
pub trait Log: Send + Sync {
    /// Writes a line, or drops it if it does not matter enough.
    fn line(&self, line: Line);
}

/// Returns `error` with all its causes, as one text.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Transparent errors repeat what stands below them.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
