//! Whether one pattern of a filter rule matches one path.

use crate::model::path::RelPath;

/// A compiled pattern: what to look for, and at which places of a path to look.
///
/// Matching takes time proportional to the length of the pattern times that of the path, whatever the pattern.
///
/// # Source
/// rsync(1), "PATTERN MATCHING RULES". We depart in one point: a class that is never closed is an error here, where
/// rsync accepts a rule that can match nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
    place: Place,
    /// The pattern ended with `/`.
    directories_only: bool,
    /// The pattern starts with `**`: a `/` before the path lets `**/x` match `x` at the top.
    slash_before: bool,
    /// The pattern ends with `***`: a `/` after a directory lets `dir/***` match `dir` itself.
    slash_after: bool,
}

/// Where in a path a match may begin; it always ends at the end of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the last component.
    Name,
    /// At the start of the path, because the pattern began with `/`.
    Anchor,
    /// At the start of the path, because the pattern begins with `**` and so may skip anything.
    Start,
    /// So that exactly this many components are left.
    Tail(usize),
    /// At the start of any component.
    AnyComponent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(Vec<u8>),
    /// `?`: one byte other than `/`.
    One,
    /// `*`: any number of bytes other than `/`.
    Star,
    /// `**`: any number of bytes.
    DoubleStar,
    /// `[...]`: one byte of a class, never `/`.
    Class(Class),
}

/// The bytes that a `[...]` accepts, one bit each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Class([u64; 4]);

/// Why some bytes are no pattern. Positions count bytes of the pattern, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is a `[` without its `]`.
    #[error("the `[` at byte {at} of the pattern is never closed")]
    OpenClass {
        /// Position of the `[`.
        at: usize,
    },
    /// `[:name:]` with a name that is no POSIX class.
    #[error("the class `[:...:]` at byte {at} of the pattern is unknown")]
    UnknownClass {
        /// Position of the inner `[`.
        at: usize,
    },
}

impl Pattern {
    /// Returns the meaning of `text`, the part of a rule after its prefix.
    ///
    /// # Errors
    /// A character class is not closed or not known.
    pub fn new(text: &[u8]) -> Result<Self, PatternError> {
        let (body, directories_only) = match text {
            [body @ .., b'/'] if !body.is_empty() => (body, true),
            _ => (text, false),
        };
        let wild = body.iter().any(|b| matches!(b, b'*' | b'?' | b'['));
        let double_star = body.windows(2).any(|pair| pair == b"**");
        let slash_before = body.starts_with(b"**");
        let slashes = body.iter().filter(|b| **b == b'/').count();
        let place = match (body.first(), slashes) {
            (_, 0) if !double_star => Place::Name,
            (Some(b'/'), _) => Place::Anchor,
            _ if slash_before => Place::Start,
            _ if double_star => Place::AnyComponent,
            _ => Place::Tail(slashes + 1),
        };
        let skipped = usize::from(place == Place::Anchor);
        let tokens =
            if wild { tokens(body, skipped)? } else { vec![Token::Literal(body[skipped..].to_vec())] };
        Ok(Self { tokens, place, directories_only, slash_before, slash_after: body.ends_with(b"***") })
    }

    /// Returns the pattern that is about `path` and nothing else, whatever bytes its names have.
    #[must_use]
    pub fn exactly(path: &RelPath) -> Self {
        Self {
            tokens: vec![Token::Literal(path.as_bytes().to_vec())],
            place: Place::Anchor,
            directories_only: false,
            slash_before: false,
            slash_after: false,
        }
    }

    /// Whether the pattern began with `/`.
    #[must_use]
    pub fn is_anchored(&self) -> bool {
        self.place == Place::Anchor
    }

    /// Whether the pattern looks at the last component alone.
    #[must_use]
    pub fn is_name_only(&self) -> bool {
        self.place == Place::Name
    }

    /// Whether the pattern matches every path, file or directory.
    #[must_use]
    pub fn matches_everything(&self) -> bool {
        !self.directories_only
            && !self.tokens.is_empty()
            && self.tokens.iter().all(|token| matches!(token, Token::Star | Token::DoubleStar))
    }

    /// Whether the pattern matches `path`, components separated by `/`, without one at either end.
    #[must_use]
    pub fn matches(&self, path: &[u8], is_dir: bool) -> bool {
        if path.is_empty() || (self.directories_only && !is_dir) {
            return false;
        }
        let slash_after = self.slash_after && is_dir;
        if self.place == Place::Name || !(self.slash_before || slash_after) {
            return self.matches_text(path);
        }
        let mut text = Vec::with_capacity(path.len() + 2);
        if self.slash_before {
            text.push(b'/');
        }
        text.extend_from_slice(path);
        if slash_after {
            text.push(b'/');
        }
        self.matches_text(&text)
    }

    fn matches_text(&self, text: &[u8]) -> bool {
        let from = match self.place {
            Place::Name => tail(text, 1),
            Place::Tail(components) => tail(text, components),
            Place::Anchor | Place::Start | Place::AnyComponent => Some(text),
        };
        let Some(text) = from else { return false };
        match &self.tokens[..] {
            [Token::Literal(literal)] => literal == text,
            [.., Token::Literal(literal)] if !text.ends_with(literal) => false,
            tokens => reaches_end(tokens, text, self.place == Place::AnyComponent),
        }
    }
}

/// Returns the last `components` components of `text`; `None` where it has fewer.
fn tail(text: &[u8], components: usize) -> Option<&[u8]> {
    let mut slashes = text.iter().enumerate().rev().filter(|(_, b)| **b == b'/').map(|(at, _)| at + 1);
    match slashes.nth(components - 1) {
        Some(start) => Some(&text[start..]),
        None => {
            let found = text.iter().filter(|b| **b == b'/').count() + 1;
            (found == components).then_some(text)
        }
    }
}

/// Whether `tokens` can consume `text` to its end, beginning at its start or, if `any_component`, behind any `/` too.
///
/// `reached[at]` tells whether the tokens so far can end before byte `at`. Each token is one sweep over it, so no
/// pattern can make this slower than tokens times bytes; backtracking would be exponential for `*a*a*a*b`.
fn reaches_end(tokens: &[Token], text: &[u8], any_component: bool) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    if any_component {
        for (at, byte) in text.iter().enumerate() {
            reached[at + 1] |= *byte == b'/';
        }
    }
    for token in tokens {
        match token {
            Token::Literal(literal) => {
                step(&mut reached, literal.len(), |at| text[at..].starts_with(literal));
            }
            Token::One => step(&mut reached, 1, |at| text[at] != b'/'),
            Token::Class(class) => step(&mut reached, 1, |at| text[at] != b'/' && class.has(text[at])),
            Token::Star => spread(&mut reached, |at| text[at] != b'/'),
            Token::DoubleStar => spread(&mut reached, |_| true),
        }
    }
    reached[text.len()]
}

/// Moves every reached position on by `len` where `fits`, and drops the others.
fn step(reached: &mut [bool], len: usize, fits: impl Fn(usize) -> bool) {
    for at in (0..reached.len()).rev() {
        reached[at] = at >= len && reached[at - len] && fits(at - len);
    }
}

/// Adds every position that is reached from a reached one over bytes that `may_skip`.
fn spread(reached: &mut [bool], may_skip: impl Fn(usize) -> bool) {
    for at in 1..reached.len() {
        reached[at] |= reached[at - 1] && may_skip(at - 1);
    }
}

/// Returns the tokens of `body` from byte `start` on.
fn tokens(body: &[u8], start: usize) -> Result<Vec<Token>, PatternError> {
    let mut tokens = Vec::new();
    let mut at = start;
    while let Some(byte) = body.get(at) {
        at += 1;
        match byte {
            b'*' => {
                let stars = 1 + body[at..].iter().take_while(|b| **b == b'*').count();
                at += stars - 1;
                tokens.push(if stars > 1 { Token::DoubleStar } else { Token::Star });
            }
            b'?' => tokens.push(Token::One),
            b'[' => {
                let (class, end) = Class::parse(body, at)?;
                tokens.push(Token::Class(class));
                at = end;
            }
            b'\\' => {
                // A backslash at the very end escapes nothing and matches nothing: no name has a NUL.
                push_literal(&mut tokens, body.get(at).copied().unwrap_or(0));
                at += 1;
            }
            other => push_literal(&mut tokens, *other),
        }
    }
    Ok(tokens)
}

fn push_literal(tokens: &mut Vec<Token>, byte: u8) {
    if let Some(Token::Literal(literal)) = tokens.last_mut() {
        literal.push(byte);
    } else {
        tokens.push(Token::Literal(vec![byte]));
    }
}

impl Class {
    fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }

    fn add(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    /// Returns the class whose `[` stands just before `start`, and where the pattern goes on.
    ///
    /// A `]` in first place is a member, as is a `-` that does not stand between two members.
    fn parse(body: &[u8], start: usize) -> Result<(Self, usize), PatternError> {
        let open = PatternError::OpenClass { at: start };
        let mut class = Self::default();
        let negated = matches!(body.get(start), Some(b'!' | b'^'));
        let first = start + usize::from(negated);
        let mut at = first;
        // The byte before a `-` begins a range, unless that byte ended one or was a named class.
        let mut low = None;
        loop {
            let byte = *body.get(at).ok_or(open)?;
            if byte == b']' && at > first {
                break;
            }
            if body[at..].starts_with(b"[:")
                && let Some(len) = named_len(&body[at + 2..]).ok_or(open)?
            {
                let name = &body[at + 2..at + 2 + len];
                class.add_named(name).ok_or(PatternError::UnknownClass { at: at + 1 })?;
                low = None;
                at += len + 4;
                continue;
            }
            match (low, byte, body.get(at + 1)) {
                (Some(low_byte), b'-', Some(next)) if *next != b']' => {
                    let (high, after) = member(body, at + 1).ok_or(open)?;
                    (low_byte..=high).for_each(|b| class.add(b));
                    low = None;
                    at = after;
                }
                _ => {
                    let (one, after) = member(body, at).ok_or(open)?;
                    class.add(one);
                    low = Some(one);
                    at = after;
                }
            }
        }
        if negated {
            class.0.iter_mut().for_each(|bits| *bits = !*bits);
        }
        Ok((class, at + 1))
    }

    fn add_named(&mut self, name: &[u8]) -> Option<()> {
        let test: fn(&u8) -> bool = match name {
            b"alnum" => u8::is_ascii_alphanumeric,
            b"alpha" => u8::is_ascii_alphabetic,
            b"blank" => |b| matches!(b, b' ' | b'\t'),
            b"cntrl" => u8::is_ascii_control,
            b"digit" => u8::is_ascii_digit,
            b"graph" => u8::is_ascii_graphic,
            b"lower" => u8::is_ascii_lowercase,
            b"print" => |b| matches!(b, b' '..=b'~'),
            b"punct" => u8::is_ascii_punctuation,
            // Unlike the standard library, POSIX counts the vertical tab.
            b"space" => |b| matches!(b, b' ' | b'\t'..=b'\r'),
            b"upper" => u8::is_ascii_uppercase,
            b"xdigit" => u8::is_ascii_hexdigit,
            _ => return None,
        };
        (0..=u8::MAX).filter(test).for_each(|b| self.add(b));
        Some(())
    }
}

/// Returns one member of a class and what follows it; a backslash makes the next byte a member.
fn member(body: &[u8], at: usize) -> Option<(u8, usize)> {
    match body.get(at)? {
        b'\\' => Some((*body.get(at + 1)?, at + 2)),
        byte => Some((*byte, at + 1)),
    }
}

/// Returns the length of the name in `name:]...`, `Some(None)` if these bytes are no named class after all, and
/// `None` where no `]` follows.
fn named_len(rest: &[u8]) -> Option<Option<usize>> {
    let close = rest.iter().position(|b| *b == b']')?;
    Some(close.checked_sub(1).filter(|colon| rest[*colon] == b':'))
}

#[cfg(test)]
mod tests;
