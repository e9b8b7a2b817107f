//! Words of the guard's table: what a request of an API looks like, version by version.
//!
//! Only data; `table.rs` holds the rows and `guard.rs` walks them.

use kafka_protocol::protocol::StrBytes;

/// One API's requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct ApiShape {
    /// First version with compact lengths and tagged fields.
    pub(super) flexible_from: i16,
    /// Elements of all lists of one request together.
    pub(super) elements_max: usize,
    /// The body.
    pub(super) root: &'static Shape,
}

/// A struct: its fields in wire order and what the codec's form of it takes in memory.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) memory_bytes: usize,
    pub(super) fields: &'static [Field],
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A number, a flag or an id: so many bytes.
    Fixed(usize),
    /// A string.
    Text,
    /// Bytes or records.
    Blob,
    /// A struct of its own.
    Struct(&'static Shape),
    /// A counted list.
    List(&'static Kind),
}

/// Versions `from..=to`; never any when `to < from`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Versions {
    from: i16,
    to: i16,
}

/// One field of a struct.
#[derive(Debug)]
pub(super) struct Field {
    /// Kafka's name, for errors.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Versions that carry it.
    pub(super) versions: Versions,
    /// Versions in which it may be null.
    pub(super) nullable: Versions,
    /// Its tag when it travels behind the fixed fields.
    pub(super) tag: Option<u32>,
}

impl Versions {
    const NONE: Self = Self { from: 0, to: -1 };

    pub(super) const fn contain(self, version: i16) -> bool {
        self.from <= version && version <= self.to
    }
}

impl ApiShape {
    pub(super) const fn new(flexible_from: i16, elements_max: usize, root: &'static Shape) -> Self {
        Self {
            flexible_from,
            elements_max,
            root,
        }
    }
}

impl Field {
    pub(super) const fn new(name: &'static str, kind: Kind, from: i16, to: i16) -> Self {
        Self {
            name,
            kind,
            versions: Versions { from, to },
            nullable: Versions::NONE,
            tag: None,
        }
    }

    pub(super) const fn nullable(mut self, from: i16, to: i16) -> Self {
        self.nullable = Versions { from, to };
        self
    }

    pub(super) const fn tagged(mut self, tag: u32) -> Self {
        self.tag = Some(tag);
        self
    }

    /// Whether it stands among the fixed fields in `version`.
    pub(super) const fn is_fixed_in(&self, version: i16) -> bool {
        self.tag.is_none() && self.versions.contain(version)
    }
}

/// How lengths are written: the version and whether it is flexible.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    pub(super) version: i16,
    pub(super) flexible: bool,
}

impl Kind {
    /// Fewest bytes on the wire.
    pub(super) fn smallest_bytes(self, format: Format) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Text if format.flexible => 1,
            Self::Text => 2,
            Self::Blob | Self::List(_) if format.flexible => 1,
            Self::Blob | Self::List(_) => 4,
            Self::Struct(shape) => shape.smallest_bytes(format),
        }
    }

    /// Bytes of one decoded value inside its list, without what it points to.
    pub(super) const fn memory_bytes(self) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Text | Self::Blob => size_of::<StrBytes>(),
            Self::Struct(shape) => shape.memory_bytes,
            Self::List(_) => size_of::<Vec<u8>>(),
        }
    }
}

impl Shape {
    fn smallest_bytes(&self, format: Format) -> usize {
        let tags = usize::from(format.flexible);
        let fields = self.fields.iter();
        let fixed = fields.filter(|field| field.is_fixed_in(format.version));
        tags + fixed
            .map(|field| field.smallest_bytes(format))
            .sum::<usize>()
    }
}

impl Field {
    fn smallest_bytes(&self, format: Format) -> usize {
        match self.kind {
            Kind::Struct(_) if self.nullable.contain(format.version) => 1,
            kind => kind.smallest_bytes(format),
        }
    }
}
