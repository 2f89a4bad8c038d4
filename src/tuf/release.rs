//! What a release's publisher says about its archive, in the custom data of its target.
//!
//! Withstands: a description that does not belong to the file that it stands at, a format that is newer
//! than this build, and whatever does not parse. None of that spoils the description of another release.

use url::Url;

use super::fields::{self, Fields, FormatError, Problem};
use super::json::{Json, Object};
use super::metadata::{Expires, TargetFile};
use crate::types::{ArchiveFormat, Channel, Product, ReleaseId, RolloutPolicy, Target, Version, Wave};

/// A release, as targets metadata describes it: the member `exuvia` of its archive's custom data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseDescription {
    /// What the archive is signed as.
    pub id: ReleaseId,
    /// The channel that it belongs to; [`Channel::Beta`] makes it a pre-release.
    pub channel: Channel,
    /// A node below it does not go to this release directly.
    pub minimum: Option<Version>,
    /// A node below one of these does not go above it without having run it. In ascending order, each once.
    pub barriers: Vec<Version>,
    /// Which state it reads and writes.
    pub state: Option<StateEpochs>,
    /// How it reaches its installs; `None`: as each of them is set up.
    pub rollout: Option<RolloutPolicy>,
    /// The release notes, an https address.
    pub notes: Option<Url>,
    /// Members that nobody here knows.
    pub unrecognized: Object,
}

/// Which editions of the job's state a release knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateEpochs {
    /// The oldest that it reads.
    pub reads_from: u32,
    /// The one that it writes.
    pub writes: u32,
}

/// Why a target is no release that a node could go to.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Written for later builds.
    #[error("its description has format {0}, and this build reads format {FORMAT}")]
    Format(u64),
    /// Not a description.
    #[error("its description cannot be read: custom.{MEMBER}: {0}")]
    Description(#[from] FormatError),
    /// The description of another file.
    #[error("it is described as {id}, whose archive is {expected}.tar.zst or .tar.gz")]
    Path {
        /// What it is described as.
        id: Box<ReleaseId>,
        /// The path that goes with that, without its ending.
        expected: String,
    },
}

const FORMAT: u64 = 1;
const MEMBER: &str = "exuvia";

impl ReleaseDescription {
    /// Of this release, in this channel, and nothing else said.
    #[must_use]
    pub fn new(id: ReleaseId, channel: Channel) -> Self {
        Self {
            id,
            channel,
            minimum: None,
            barriers: Vec::new(),
            state: None,
            rollout: None,
            notes: None,
            unrecognized: Object::new(),
        }
    }

    /// The path of an archive among the targets: `<product>/<version>/<product>-<target>.tar.zst`. Its
    /// detached signature's is the same with `.sig` behind it.
    #[must_use]
    pub fn path(id: &ReleaseId, format: ArchiveFormat) -> String {
        format!("{}{}", stem(id), format.suffix())
    }

    /// The release whose archive this target is, and how that is packed. `None`: it describes none, as a
    /// signature's target does not, nor another product's file.
    pub fn of(target: &TargetFile) -> Result<Option<(Self, ArchiveFormat)>, ReleaseError> {
        let Some(Json::Object(custom)) = target.custom() else { return Ok(None) };
        let Some(member) = custom.get(MEMBER) else { return Ok(None) };
        let description = Self::read(member.clone())?;
        let format = ArchiveFormat::of_name(target.path());
        match format.filter(|format| Self::path(&description.id, *format) == target.path()) {
            Some(format) => Ok(Some((description, format))),
            None => Err(ReleaseError::Path { expected: stem(&description.id), id: description.id.into() }),
        }
    }

    /// Puts the description into the custom data of its archive's target, in place of an earlier one.
    pub fn attach(&self, target: &mut TargetFile) {
        let custom = target.unrecognized.entry("custom".to_owned()).or_insert(Json::Null);
        if !matches!(custom, Json::Object(_)) {
            *custom = Json::Object(Object::new());
        }
        if let Json::Object(custom) = custom {
            custom.insert(MEMBER.to_owned(), self.write());
        }
    }

    /// Reads the member `exuvia`.
    pub fn read(member: Json) -> Result<Self, ReleaseError> {
        let mut fields = Fields::of(member)?;
        let format = fields.read("format", fields::length)?;
        if format != FORMAT {
            return Err(ReleaseError::Format(format));
        }
        let product: Product = fields.read("product", fields::text)?;
        let version: Version = fields.read("version", fields::text)?;
        let target: Target = fields.read("target", fields::text)?;
        Ok(Self {
            id: ReleaseId { product, version, target },
            channel: fields.read("channel", fields::text)?,
            minimum: fields.read_optional("minimum", fields::text)?,
            barriers: fields.read_optional("barriers", versions)?.unwrap_or_default(),
            state: fields.read_optional("state", epochs)?,
            rollout: fields.read_optional("rollout", rollout)?,
            notes: fields.read_optional("notes", address)?,
            unrecognized: fields.rest(),
        })
    }

    /// Writes the member `exuvia`.
    #[must_use]
    pub fn write(&self) -> Json {
        let mut object = self.unrecognized.clone();
        let mut put = |name: &str, value: Json| object.insert(name.to_owned(), value);
        let text = |text: &dyn std::fmt::Display| Json::String(text.to_string());
        put("format", Json::from(FORMAT));
        put("product", text(&self.id.product));
        put("version", text(&self.id.version));
        put("target", text(&self.id.target));
        put("channel", text(&self.channel));
        if let Some(minimum) = &self.minimum {
            put("minimum", text(minimum));
        }
        if !self.barriers.is_empty() {
            put("barriers", Json::Array(self.barriers.iter().map(|barrier| text(barrier)).collect()));
        }
        if let Some(StateEpochs { reads_from, writes }) = self.state {
            put(
                "state",
                members([("reads_from", Json::from(u64::from(reads_from))), ("writes", Json::from(u64::from(writes)))]),
            );
        }
        if let Some(rollout) = &self.rollout {
            put("rollout", written(rollout));
        }
        if let Some(notes) = &self.notes {
            put("notes", text(notes));
        }
        Json::Object(object)
    }
}

fn stem(id: &ReleaseId) -> String {
    format!("{}/{}/{}", id.product, id.version, id.asset_stem())
}

fn members<const N: usize>(members: [(&str, Json); N]) -> Json {
    Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn versions(value: Json) -> Result<Vec<Version>, FormatError> {
    let mut versions: Vec<Version> = fields::array(value)?.into_iter().map(fields::text).collect::<Result<_, _>>()?;
    versions.sort();
    versions.dedup();
    Ok(versions)
}

fn epochs(value: Json) -> Result<StateEpochs, FormatError> {
    let mut fields = Fields::of(value)?;
    Ok(StateEpochs {
        reads_from: fields.read("reads_from", fields::small)?,
        writes: fields.read("writes", fields::small)?,
    })
}

fn rollout(value: Json) -> Result<RolloutPolicy, FormatError> {
    let mut fields = Fields::of(value)?;
    let start: Expires = fields.read("start", |value| fields::string(value)?.parse())?;
    let halted = fields.read_optional("halted", fields::boolean)?.unwrap_or(false);
    let wave = |value| {
        let mut fields = Fields::of(value)?;
        let permille = fields.read("permille", fields::small)?;
        Ok(Wave { after: fields.read("after", fields::small)?, permille: u16::try_from(permille).unwrap_or(u16::MAX) })
    };
    let waves = fields.read_optional("waves", |value| fields::array(value)?.into_iter().map(wave).collect())?;
    // What lies beyond the greatest moment is not in whole seconds, and refused as that.
    let policy = RolloutPolicy::new(start.moment(), waves.unwrap_or_default()).map_err(FormatError::new)?;
    Ok(policy.with_halted(halted))
}

fn written(rollout: &RolloutPolicy) -> Json {
    let wave = |wave: &Wave| {
        members([("after", Json::from(u64::from(wave.after))), ("permille", Json::from(u64::from(wave.permille)))])
    };
    let mut object = vec![
        ("start", Json::String(Expires::at(rollout.start()).to_string())),
        ("halted", Json::Bool(rollout.is_halted())),
    ];
    if !rollout.waves().is_empty() {
        object.push(("waves", Json::Array(rollout.waves().iter().map(wave).collect())));
    }
    Json::Object(object.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn address(value: Json) -> Result<Url, FormatError> {
    let url = Url::parse(&fields::string(value)?).ok().filter(|url| url.scheme() == "https" && url.has_host());
    url.ok_or_else(|| FormatError::new(Problem::Address))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::tuf::text::canonical;

    const FULL: &str = r#"{
        "format": 1, "product": "exuvia", "version": "3.0.0", "target": "x86_64-unknown-linux-gnu", "channel": "beta",
        "minimum": "1.2.0", "barriers": ["2.0.0", "1.5.0", "2.0.0"], "state": {"reads_from": 1, "writes": 2},
        "rollout": {"start": "2030-01-01T00:00:00Z", "waves": [{"after": 0, "permille": 10}, {"after": 3600, "permille": 1000}]},
        "notes": "https://example.org/notes", "later": {"than": ["this"]}
    }"#;

    fn json(text: &str) -> Json {
        Json::parse(text.as_bytes()).unwrap()
    }

    fn with(name: &str, value: &str) -> Result<ReleaseDescription, ReleaseError> {
        let Json::Object(mut object) = json(FULL) else { panic!() };
        object.insert(name.to_owned(), json(value));
        ReleaseDescription::read(Json::Object(object))
    }

    #[test]
    fn a_description_says_everything_and_keeps_what_it_does_not_know() {
        let read = ReleaseDescription::read(json(FULL)).unwrap();
        assert_eq!(read.id.to_string(), "exuvia 3.0.0 for x86_64-unknown-linux-gnu");
        assert_eq!(read.channel, Channel::Beta);
        assert_eq!(read.barriers, ["1.5.0".parse().unwrap(), "2.0.0".parse().unwrap()]);
        assert_eq!(read.state, Some(StateEpochs { reads_from: 1, writes: 2 }));
        let rollout = read.rollout.as_ref().unwrap();
        assert_eq!((rollout.start(), rollout.is_halted()), ("2030-01-01T00:00:00Z".parse().unwrap(), false));
        assert_eq!(rollout.waves()[1], Wave { after: 3600, permille: 1000 });
        assert!(read.unrecognized.contains_key("later"));
        assert_eq!(ReleaseDescription::read(read.write()).unwrap(), read);
    }

    #[test]
    fn what_need_not_be_there_need_not_be_there() {
        let text = r#"{"format":1,"product":"a","version":"1.0.0","target":"t","channel":"stable"}"#;
        let read = ReleaseDescription::read(json(text)).unwrap();
        assert_eq!(read, ReleaseDescription::new(read.id.clone(), Channel::Stable));
        assert_eq!(canonical(&read.write()), canonical(&json(text)));
    }

    #[test]
    fn another_format_is_told_from_a_broken_one() {
        assert!(matches!(with("format", "2"), Err(ReleaseError::Format(2))));
        assert!(matches!(with("format", "\"1\""), Err(ReleaseError::Description(_))));
    }

    #[test]
    fn what_does_not_parse_is_refused_with_its_place() {
        for (name, value, place) in [
            ("product", "\"A/B\"", "product"),
            ("version", "\"1.0\"", "version"),
            ("version", "\"1.0.0+build\"", "version"),
            ("target", "\"../x\"", "target"),
            ("channel", "\"nightly\"", "channel"),
            ("minimum", "1", "minimum"),
            ("barriers", "\"2.0.0\"", "barriers"),
            ("barriers", "[\"2\"]", "barriers"),
            ("state", "{\"reads_from\": 1}", "state.writes"),
            ("state", "{\"reads_from\": 1, \"writes\": 4294967296}", "state.writes"),
            ("rollout", "{\"waves\": []}", "rollout.start"),
            ("rollout", "{\"start\": \"2030-01-01\"}", "rollout.start"),
            ("rollout", "{\"start\": \"9999-12-31T23:59:59Z\"}", "rollout"),
            ("rollout", "{\"start\": \"2030-01-01T00:00:00Z\", \"halted\": \"yes\"}", "rollout.halted"),
            (
                "rollout",
                "{\"start\": \"2030-01-01T00:00:00Z\", \"waves\": [{\"after\": 0, \"permille\": 70000}]}",
                "rollout",
            ),
            ("notes", "\"http://example.org/\"", "notes"),
            ("notes", "\"javascript:alert(1)\"", "notes"),
        ] {
            let error = with(name, value).unwrap_err();
            let ReleaseError::Description(error) = &error else { panic!("{name} {value}: {error}") };
            assert_eq!(error.place().join("."), place, "{value}: {error}");
        }
    }

    fn target(path: &str) -> TargetFile {
        TargetFile::of_content(path, &mut &b"archive"[..]).unwrap()
    }

    #[test]
    fn a_description_belongs_to_the_archive_of_its_own_path_alone() {
        let described = ReleaseDescription::read(json(FULL)).unwrap();
        for format in ArchiveFormat::ALL {
            let mut own = target(&ReleaseDescription::path(&described.id, format));
            assert!(ReleaseDescription::of(&own).unwrap().is_none());
            described.attach(&mut own);
            assert_eq!(ReleaseDescription::of(&own).unwrap(), Some((described.clone(), format)));
        }
        for other in [
            "exuvia/3.0.0/exuvia-x86_64-unknown-linux-gnu.tar.zst.sig",
            "exuvia/3.0.1/exuvia-x86_64-unknown-linux-gnu.tar.zst",
            "exuvia/3.0.0/exuvia-x86_64-unknown-linux-musl.tar.zst",
            "exuvia-x86_64-unknown-linux-gnu.tar.zst",
            "other/3.0.0/exuvia-x86_64-unknown-linux-gnu.tar.zst",
        ] {
            let mut other = target(other);
            described.attach(&mut other);
            assert!(matches!(ReleaseDescription::of(&other), Err(ReleaseError::Path { .. })), "{}", other.path());
        }
    }

    #[test]
    fn other_custom_data_stays_where_it_is() {
        let described = ReleaseDescription::read(json(FULL)).unwrap();
        let mut file = target(&ReleaseDescription::path(&described.id, ArchiveFormat::TarGz));
        file.unrecognized.insert("custom".to_owned(), json(r#"{"exuvia": 1, "other": true}"#));
        described.attach(&mut file);
        let Some(Json::Object(custom)) = file.custom() else { panic!() };
        assert_eq!(custom.get("other"), Some(&Json::Bool(true)));
        assert_eq!(custom.get("exuvia"), Some(&described.write()));
    }

    fn version() -> impl Strategy<Value = Version> {
        ("[1-9]?[0-9]\\.[1-9]?[0-9]\\.[1-9]?[0-9]", prop_oneof![Just(""), Just("-rc.1")])
            .prop_map(|(numbers, pre)| format!("{numbers}{pre}").parse().unwrap())
    }

    fn policy() -> impl Strategy<Value = RolloutPolicy> {
        let waves = proptest::collection::btree_map(any::<u32>(), 1..=1000_u16, 0..6);
        (0..4_000_000_000_i64, any::<bool>(), waves).prop_map(|(start, halted, waves)| {
            let mut permilles: Vec<u16> = waves.values().copied().collect();
            permilles.sort_unstable();
            permilles.dedup();
            let waves = waves.into_keys().zip(permilles).map(|(after, permille)| Wave { after, permille }).collect();
            RolloutPolicy::new(Timestamp::from_second(start).unwrap(), waves).unwrap().with_halted(halted)
        })
    }

    fn description() -> impl Strategy<Value = ReleaseDescription> {
        let id = ("[a-z][a-z0-9]{0,9}", version(), "[a-z][a-z0-9_-]{0,20}").prop_map(|(product, version, target)| {
            ReleaseId { product: product.parse().unwrap(), version, target: target.parse().unwrap() }
        });
        let epochs = (any::<u32>(), any::<u32>()).prop_map(|(reads_from, writes)| StateEpochs { reads_from, writes });
        let barriers = proptest::collection::btree_set(version(), 0..4);
        let option = proptest::option::of::<BoxedStrategy<_>>;
        let notes = "https://[a-z]{1,9}\\.org/[a-z]{0,9}".prop_map(|text| Url::parse(&text).unwrap());
        (
            id,
            any::<bool>(),
            option(version().boxed()),
            barriers,
            proptest::option::of(epochs),
            proptest::option::of(policy()),
            proptest::option::of(notes),
        )
            .prop_map(|(id, beta, minimum, barriers, state, rollout, notes)| ReleaseDescription {
                minimum,
                barriers: barriers.into_iter().collect(),
                state,
                rollout,
                notes,
                ..ReleaseDescription::new(id, if beta { Channel::Beta } else { Channel::Stable })
            })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(description in description()) {
            let written = description.write();
            prop_assert_eq!(ReleaseDescription::read(written.clone()).unwrap(), description.clone());
            let parsed = Json::parse(&canonical(&written)).unwrap();
            prop_assert_eq!(ReleaseDescription::read(parsed).unwrap(), description);
        }

        #[test]
        fn any_member_of_any_value_is_read_or_refused(name in "format|product|version|target|channel|minimum|barriers|state|rollout|notes", value in crate::tuf::text::tests::json()) {
            let Json::Object(mut object) = json(FULL) else { panic!() };
            object.insert(name, value);
            if let Ok(read) = ReleaseDescription::read(Json::Object(object)) {
                prop_assert_eq!(ReleaseDescription::read(read.write()).unwrap(), read);
            }
        }
    }
}
