//! Operations back into bytes, checked one by one.

use crate::delta::region::{BLOCK_BYTES, Region};
use crate::delta::varint::{Partial, Taken, unzigzag};

/// The next bytes of the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step<'a> {
    /// They stand in the basis.
    Copy {
        /// Where.
        basis: u64,
        /// How many.
        length: u64,
    },
    /// They are here.
    Literal(&'a [u8]),
}

/// Why operations are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// A number is longer than 64 bits.
    #[error("an operation has a number of more than 64 bits")]
    Number,
    /// An operation makes nothing.
    #[error("an operation makes no byte")]
    Nothing,
    /// A copy leaves the region.
    #[error("an operation copies {count} blocks from block {first} of a region of {blocks}")]
    Outside {
        /// The first block.
        first: i64,
        /// How many blocks.
        count: u64,
        /// Blocks of the region.
        blocks: u64,
    },
    /// The output would be longer than asked for.
    #[error("operations make at least {excess} bytes more than were asked for")]
    Longer {
        /// By how much.
        excess: u64,
    },
    /// The operations end before the output does.
    #[error("operations end {lacking} bytes before what was asked for")]
    Shorter {
        /// By how much.
        lacking: u64,
    },
}

/// A push parser of the operations of [`crate::delta::diff::diff`].
///
/// It holds a few numbers and no bytes: what is pushed in goes on as literals, what is to be copied goes on as ranges
/// of the basis. Every bound is checked before a step is made, so that the steps together make at most the bytes
/// asked for.
#[derive(Debug)]
pub struct Patch<'a> {
    region: &'a Region,
    /// Bytes of the output that no operation was begun for.
    lacking: u64,
    /// The block after the previous copy.
    next: i64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// In the number that starts an operation.
    Head(Partial),
    /// In the distance of a copy of so many blocks.
    Copy(u64, Partial),
    /// In a literal with so many bytes to come.
    Literal(u64),
}

impl<'a> Patch<'a> {
    /// Returns a parser of operations that make `length` bytes with the help of `region`.
    #[must_use]
    pub fn new(region: &'a Region, length: u64) -> Self {
        Self { region, lacking: length, next: 0, state: State::Head(Partial::default()) }
    }

    /// Takes the next bytes of the operations and hands on, in order, what they make. Operations may be cut anywhere.
    ///
    /// # Errors
    /// The operations are refused, or `step` failed; nothing may be pushed after that.
    pub fn push<E: From<PatchError>>(
        &mut self,
        mut bytes: &[u8],
        step: &mut impl FnMut(Step<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some((&byte, rest)) = bytes.split_first() {
            match &mut self.state {
                State::Literal(length) => {
                    let here = usize::try_from(*length).unwrap_or(usize::MAX).min(bytes.len());
                    let (literal, after) = bytes.split_at(here);
                    *length -= here as u64;
                    if *length == 0 {
                        self.state = State::Head(Partial::default());
                    }
                    step(Step::Literal(literal))?;
                    bytes = after;
                }
                State::Head(partial) => {
                    if let Some(head) = whole(partial.take(byte))? {
                        self.start(head)?;
                    }
                    bytes = rest;
                }
                State::Copy(count, partial) => {
                    let count = *count;
                    if let Some(distance) = whole(partial.take(byte))? {
                        self.copy(count, unzigzag(distance), step)?;
                        self.state = State::Head(Partial::default());
                    }
                    bytes = rest;
                }
            }
        }
        Ok(())
    }

    /// Ends the operations.
    ///
    /// # Errors
    /// They made less than was asked for, or end inside an operation.
    pub fn finish(self) -> Result<(), PatchError> {
        let at_rest = matches!(self.state, State::Head(partial) if partial.is_empty());
        if self.lacking == 0 && at_rest { Ok(()) } else { Err(PatchError::Shorter { lacking: self.lacking }) }
    }

    fn start(&mut self, head: u64) -> Result<(), PatchError> {
        let count = head / 2;
        if count == 0 {
            return Err(PatchError::Nothing);
        }
        if head.is_multiple_of(2) {
            self.state = State::Copy(count, Partial::default());
        } else {
            self.spend(count)?;
            self.state = State::Literal(count);
        }
        Ok(())
    }

    fn copy<E: From<PatchError>>(
        &mut self,
        count: u64,
        distance: i64,
        step: &mut impl FnMut(Step<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let block = BLOCK_BYTES as u64;
        let blocks = self.region.length().div_ceil(block);
        let first = self.next.saturating_add(distance);
        let outside = PatchError::Outside { first, count, blocks };
        let start = u64::try_from(first).ok().filter(|start| *start < blocks).ok_or(outside)?;
        let end = start.checked_add(count).filter(|end| *end <= blocks).ok_or(outside)?;
        self.next = i64::try_from(end).ok().ok_or(outside)?;
        // No block lies past the end of the region, so the last one is as long as the region says.
        let range = start * block..(end * block).min(self.region.length());
        self.spend(range.end - range.start)?;
        for part in self.region.locate(range) {
            step(Step::Copy { basis: part.start, length: part.end - part.start })?;
        }
        Ok(())
    }

    fn spend(&mut self, length: u64) -> Result<(), PatchError> {
        let excess = length.saturating_sub(self.lacking);
        self.lacking = self.lacking.checked_sub(length).ok_or(PatchError::Longer { excess })?;
        Ok(())
    }
}

fn whole(taken: Taken) -> Result<Option<u64>, PatchError> {
    match taken {
        Taken::Whole(value) => Ok(Some(value)),
        Taken::More => Ok(None),
        Taken::TooLong => Err(PatchError::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::region::Gap;

    /// A region of 10 blocks and 100 bytes that starts at 1,000 of the basis.
    fn region() -> Region {
        let run = 0..5_220;
        Region::of(&Gap { piece: run.clone(), run, left: 1_000, right: 6_220 }, 9_000).unwrap()
    }

    /// What `operations` make of `length` bytes: copied ranges as `C`, literals as `L`.
    fn made(operations: &[u8], length: u64, cut: usize) -> Result<String, PatchError> {
        let region = region();
        let mut patch = Patch::new(&region, length);
        let mut shown = String::new();
        for part in operations.chunks(cut) {
            patch.push(part, &mut |step| {
                match step {
                    Step::Copy { basis, length } => shown += &format!("C{basis}+{length} "),
                    Step::Literal(bytes) => bytes.iter().for_each(|byte| shown += &format!("L{byte} ")),
                }
                Ok::<_, PatchError>(())
            })?;
        }
        patch.finish()?;
        Ok(shown)
    }

    #[test]
    fn operations_are_taken_however_they_are_cut() {
        // A literal of two bytes, blocks 3 and 4, then block 4 again, then the short last one.
        let operations = [5, 8, 9, 4, 6, 2, 1, 2, 10];
        for cut in [1, 2, 3, 9] {
            let shown = made(&operations, 2 + 3 * 512 + 100, cut);
            let expected = "L8 L9 C2536+1024 C3048+512 C6120+100 ";
            assert_eq!(shown, Ok(expected.to_owned()), "cut {cut}");
        }
    }

    #[test]
    fn hostile_operations_are_refused() {
        let outside = |first, count| PatchError::Outside { first, count, blocks: 11 };
        let endless = [0xff; 12];
        for (case, operations, length, error) in [
            ("a copy of nothing", &[0, 0][..], 5, PatchError::Nothing),
            ("a literal of nothing", &[1], 5, PatchError::Nothing),
            ("before the region", &[2, 1], 512, outside(-1, 1)),
            ("after the region", &[2, 22], 512, outside(11, 1)),
            ("across its end", &[4, 20], 1_024, outside(10, 2)),
            ("a number without end", &endless, 5, PatchError::Number),
            ("a literal that is too long", &[7, 1, 2, 3], 2, PatchError::Longer { excess: 1 }),
            ("a copy that is too long", &[2, 0], 511, PatchError::Longer { excess: 1 }),
            ("an operation more", &[3, 1, 3, 1], 1, PatchError::Longer { excess: 1 }),
            ("half an operation more", &[3, 1, 0x80], 1, PatchError::Shorter { lacking: 0 }),
            ("no operation", &[], 1, PatchError::Shorter { lacking: 1 }),
            ("a literal cut short", &[7, 1, 2], 3, PatchError::Shorter { lacking: 0 }),
            ("a copy cut short", &[2], 512, PatchError::Shorter { lacking: 512 }),
        ] {
            assert_eq!(made(operations, length, 1), Err(error), "{case}");
        }
        let mut huge = Vec::new();
        crate::delta::varint::write(u64::MAX - 1, &mut huge);
        huge.push(2);
        assert_eq!(made(&huge, u64::MAX, 1), Err(outside(1, u64::MAX / 2)));
        huge[0] = 0xff;
        assert_eq!(made(&huge, 9, 1), Err(PatchError::Longer { excess: u64::MAX / 2 - 9 }));
    }
}
