use std::str::FromStr;
use std::time::Duration;

use jiff::SpanRelativeTo;
use jiff::fmt::friendly::SpanParser;

use crate::types::Wave;

/// The waves of a rollout as they are typed: `1%@0h,10%@6h,100%@24h`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waves(pub Vec<Wave>);

/// A length of time as it is typed: `3d`, `12h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A text that is no list of waves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a list of waves such as 1%@0h,10%@6h,100%@24h")]
pub struct WavesError;

/// A text that is no length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a length of time such as 12h or 3d")]
pub struct SpanError;

impl FromStr for Waves {
    type Err = WavesError;

    fn from_str(text: &str) -> Result<Self, WavesError> {
        let waves = text.split(',').map(|wave| {
            let (share, after) = wave.trim().split_once('@')?;
            let Span(after) = after.parse().ok()?;
            Some(Wave { after: u32::try_from(after.as_secs()).ok()?, permille: permille(share.strip_suffix('%')?)? })
        });
        waves.collect::<Option<_>>().map(Self).ok_or(WavesError)
    }
}

/// Whole percents, or tenths of one.
fn permille(percent: &str) -> Option<u16> {
    let (whole, tenth) = percent.split_once('.').unwrap_or((percent, "0"));
    if tenth.len() != 1 || !whole.bytes().chain(tenth.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: u16 = whole.parse().ok().filter(|whole| *whole <= 100)?;
    Some(whole * 10 + tenth.parse::<u16>().ok()?)
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let span = SpanParser::new().parse_span(text.trim()).map_err(|_| SpanError)?;
        let span = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| SpanError)?;
        Duration::try_from(span).map(Self).map_err(|_| SpanError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_are_shares_at_times() {
        let wave = |after, permille| Wave { after, permille };
        let waves: Waves = "1%@0h, 10%@6h,99.5%@1d,100%@2d".parse().unwrap();
        assert_eq!(waves.0, [wave(0, 10), wave(21_600, 100), wave(86_400, 995), wave(172_800, 1000)]);
        for text in ["", "1", "1%", "@1h", "1@1h", "x%@1h", "1%@x", "1%@-1h", "101%@0h", "0.55%@0h", "1.%@0h", "1%@0h,"]
        {
            assert_eq!(text.parse::<Waves>(), Err(WavesError), "{text:?}");
        }
    }
}
