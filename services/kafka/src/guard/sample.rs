//! Random valid requests, written from the guard's table by a second, independent hand.
//!
//! For tests only. The codec must read each one and write the same bytes again, so an error in the
//! table cannot hide. Notes where each length stands, so that tests can corrupt it.

use esker_env::Rng;

use super::shape::{Field, Format, Kind, Shape};
use super::table;
use crate::versions::Api;

/// A length or count in a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    pub(super) position: usize,
    /// Bytes of the length itself.
    pub(super) width: usize,
    pub(super) compact: bool,
    pub(super) nullable: bool,
}

pub(super) struct Sample {
    pub(super) frame: Vec<u8>,
    pub(super) lengths: Vec<Length>,
    rng: Rng,
    format: Format,
}

pub(super) fn random(api: Api, version: i16, rng: &Rng) -> Sample {
    let layout = table::layout(api);
    let flexible = version >= layout.flexible_from;
    let mut sample = Sample {
        frame: Vec::new(),
        lengths: Vec::new(),
        rng: rng.clone(),
        format: Format {
            version,
            flexible: false,
        },
    };
    sample.frame.extend(api.key().to_be_bytes());
    sample.frame.extend(version.to_be_bytes());
    sample.fixed(4);
    let client_id = Field::new("client_id", Kind::Text, 0, 99).nullable(0, 99);
    sample.value(&client_id, Kind::Text);
    sample.format.flexible = flexible;
    if flexible {
        sample.tags(&Shape {
            memory_bytes: 0,
            fields: &[],
        });
    }
    sample.structure(layout.root);
    sample
}

impl Sample {
    fn fixed(&mut self, bytes: usize) {
        // A one-byte field may be a flag, which the codec writes back as 0 or 1.
        let bound = if bytes == 1 { 2 } else { 256 };
        for _ in 0..bytes {
            let byte = u8::try_from(self.rng.below(bound)).unwrap();
            self.frame.push(byte);
        }
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.frame.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        self.frame.push(u8::try_from(value).unwrap());
    }

    fn length(&mut self, field: &Field, wide: bool, length: Option<usize>) {
        let position = self.frame.len();
        let signed = length.map_or(-1, |length| i32::try_from(length).unwrap());
        if self.format.flexible {
            self.varint(u32::try_from(signed + 1).unwrap());
        } else if wide {
            self.frame.extend(signed.to_be_bytes());
        } else {
            self.frame
                .extend(i16::try_from(signed).unwrap().to_be_bytes());
        }
        self.lengths.push(Length {
            position,
            width: self.frame.len() - position,
            compact: self.format.flexible,
            nullable: field.nullable.contain(self.format.version),
        });
    }

    /// A length below `bound`, or null now and then where that may be.
    fn choose(&mut self, field: &Field, bound: u64) -> Option<usize> {
        let nullable = field.nullable.contain(self.format.version);
        if nullable && self.rng.below(4) == 0 {
            return None;
        }
        Some(usize::try_from(self.rng.below(bound)).unwrap())
    }

    fn value(&mut self, field: &Field, kind: Kind) {
        match kind {
            Kind::Fixed(bytes) => self.fixed(bytes),
            Kind::Text => {
                let length = self.choose(field, 20);
                self.length(field, false, length);
                for _ in 0..length.unwrap_or(0) {
                    let letter = b'a' + u8::try_from(self.rng.below(26)).unwrap();
                    self.frame.push(letter);
                }
            }
            Kind::Blob => {
                let length = self.choose(field, 150);
                self.length(field, true, length);
                (0..length.unwrap_or(0)).for_each(|_| self.fixed(1));
            }
            Kind::Struct(shape) => self.structure(shape),
            Kind::List(element) => {
                let length = self.choose(field, 4);
                self.length(field, true, length);
                let one = Field::new(field.name, *element, 0, 99);
                (0..length.unwrap_or(0)).for_each(|_| self.value(&one, *element));
            }
        }
    }

    fn structure(&mut self, shape: &Shape) {
        for field in shape.fields {
            if !field.is_fixed_in(self.format.version) {
                continue;
            }
            let nullable = field.nullable.contain(self.format.version);
            if let (Kind::Struct(_), true) = (field.kind, nullable) {
                let present = self.rng.below(2) == 1;
                self.frame.push(if present { 1 } else { 0xff });
                if !present {
                    continue;
                }
            }
            self.value(field, field.kind);
        }
        if self.format.flexible {
            self.tags(shape);
        }
    }

    /// Known tags of the version now and then, then some unknown ones, by rising tag.
    fn tags(&mut self, shape: &Shape) {
        let version = self.format.version;
        let known: Vec<&Field> = shape
            .fields
            .iter()
            .filter(|field| field.tag.is_some() && field.versions.contain(version))
            .filter(|_| self.rng.below(2) == 1)
            .collect();
        let unknown = u32::try_from(self.rng.below(10).saturating_sub(6)).unwrap();
        self.varint(u32::try_from(known.len()).unwrap() + unknown);
        for field in known {
            self.varint(field.tag.unwrap());
            let outer = std::mem::take(&mut self.frame);
            let marks = self.lengths.len();
            match field.kind {
                // The codec leaves out a tagged field that has its default.
                Kind::Text => self.frame.extend([3, b'x', b'y']),
                kind => self.value(field, kind),
            }
            self.lengths.truncate(marks);
            let content = std::mem::replace(&mut self.frame, outer);
            self.varint(u32::try_from(content.len()).unwrap());
            self.frame.extend(content);
        }
        for n in 0..unknown {
            self.varint(1000 + n * 100_000);
            let bytes = usize::try_from(self.rng.below(9)).unwrap();
            self.varint(u32::try_from(bytes).unwrap());
            self.fixed(bytes);
        }
    }
}
