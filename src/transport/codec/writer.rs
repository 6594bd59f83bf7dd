//! Writing CBOR into memory, which cannot fail.

use minicbor::Encoder;

/// Bytes in the making.
pub(crate) struct Writer(Encoder<Vec<u8>>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(Encoder::new(Vec::new()))
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.into_writer()
    }

    /// Begins an array of `length` items; a message, a part of one, or a list.
    pub(crate) fn array(&mut self, length: usize) -> &mut Self {
        self.0.array(u64::try_from(length).unwrap_or(u64::MAX)).ok();
        self
    }

    pub(crate) fn uint(&mut self, value: impl Into<u64>) -> &mut Self {
        self.0.u64(value.into()).ok();
        self
    }

    pub(crate) fn size(&mut self, value: usize) -> &mut Self {
        self.uint(u64::try_from(value).unwrap_or(u64::MAX))
    }

    /// Appends one whole item that was written elsewhere.
    pub(crate) fn raw(&mut self, item: &[u8]) -> &mut Self {
        self.0.writer_mut().extend_from_slice(item);
        self
    }

    pub(crate) fn int(&mut self, value: i64) -> &mut Self {
        self.0.i64(value).ok();
        self
    }

    pub(crate) fn bool(&mut self, value: bool) -> &mut Self {
        self.0.bool(value).ok();
        self
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        self.0.str(value).ok();
        self
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.0.bytes(value).ok();
        self
    }

    pub(crate) fn null(&mut self) -> &mut Self {
        self.0.null().ok();
        self
    }

    /// Writes each of `items`, counted.
    pub(crate) fn list<T>(&mut self, items: &[T], one: impl Fn(&mut Self, &T)) -> &mut Self {
        self.array(items.len());
        items.iter().for_each(|item| one(self, item));
        self
    }

    /// Writes `item`, or that there is none.
    pub(crate) fn option<T>(&mut self, item: Option<&T>, one: impl Fn(&mut Self, &T)) -> &mut Self {
        match item {
            Some(item) => one(self, item),
            None => {
                self.null();
            }
        }
        self
    }
}
