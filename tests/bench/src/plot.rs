//! Bars as SVG: one per contender, the median as the bar, the range of the rounds as a line.

use std::fmt::Write as _;

use crate::numbers::short;

const WIDTH: f64 = 640.0;
const LABELS: f64 = 150.0;
const ROW: f64 = 30.0;
const TOP: f64 = 40.0;
const COLOURS: [&str; 5] = ["#2b6cb0", "#718096", "#3182ce", "#a0aec0", "#63b3ed"];

/// One bar.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// A picture of `bars`; the same bars give the same text.
pub(crate) fn bars(title: &str, bars: &[Bar]) -> String {
    let longest = bars.iter().map(|bar| bar.most).fold(0.0, f64::max);
    let scale = (WIDTH - LABELS - 90.0) / if longest > 0.0 { longest } else { 1.0 };
    let height = TOP + crate::numbers::of(u64::try_from(bars.len()).unwrap_or(0)) * ROW + 10.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"15\">{title}</text>\n"
    );
    let mut top = TOP;
    for (bar, colour) in bars.iter().zip(COLOURS.iter().cycle()) {
        let middle = top + ROW / 2.0;
        let (length, least, most) = (bar.median * scale, bar.least * scale, bar.most * scale);
        let row = [
            format!(
                "<text x=\"10\" y=\"{:.1}\">{}</text>",
                middle + 4.0,
                bar.name
            ),
            format!(
                "<rect x=\"{LABELS}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"18\" \
                 fill=\"{colour}\"/>",
                top + 6.0
            ),
            format!(
                "<line x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\" \
                 stroke=\"black\"/>",
                LABELS + least,
                LABELS + most
            ),
            format!(
                "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LABELS + most + 8.0,
                middle + 4.0,
                short(bar.median)
            ),
        ];
        let _ = writeln!(text, "{}", row.join("\n"));
        top += ROW;
    }
    text + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fits_and_every_name_is_there() {
        let bar = |name: &str, median| Bar {
            name: name.to_owned(),
            median,
            least: median * 0.9,
            most: median * 1.1,
        };

        let svg = bars("throughput", &[bar("esker", 100.0), bar("kafka", 50.0)]);

        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(svg.contains(">esker<") && svg.contains(">kafka<"));
        assert!(bars("nothing", &[bar("zero", 0.0)]).contains("width=\"0.0\""));
    }
}
