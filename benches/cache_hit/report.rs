use std::fmt::Write as _;
use std::path::Path;

/// What a figure must meet.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    None,
}

/// The figures of a run.
#[derive(Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    goal: Goal,
}

impl Figure {
    fn holds(&self) -> Option<bool> {
        match self.goal {
            Goal::AtMost(limit) => Some(self.value <= limit),
            Goal::AtLeast(limit) => Some(self.value >= limit),
            Goal::None => None,
        }
    }

    fn goal(&self) -> Option<String> {
        match self.goal {
            Goal::AtMost(limit) => Some(format!("<= {limit:.2}")),
            Goal::AtLeast(limit) => Some(format!(">= {limit:.2}")),
            Goal::None => None,
        }
    }
}

impl Report {
    pub(crate) fn add(&mut self, name: String, value: f64, unit: &'static str, goal: Goal) {
        self.figures.push(Figure { name, value, unit, goal });
    }

    pub(crate) fn holds(&self) -> bool {
        self.figures.iter().all(|figure| figure.holds() != Some(false))
    }

    pub(crate) fn table(&self) -> String {
        let width = self.figures.iter().map(|figure| figure.name.len()).max().unwrap_or(0);
        let mut table = format!("{:width$}  {:>9}  unit  goal      holds\n", "figure", "value");
        for figure in &self.figures {
            let holds = figure.holds().map_or("", |holds| if holds { "yes" } else { "NO" });
            let (goal, Figure { name, value, unit, .. }) = (figure.goal().unwrap_or_default(), figure);
            writeln!(table, "{name:width$}  {value:>9.3}  {unit:4}  {goal:8}  {holds}").expect("a String takes all");
        }
        table
    }

    /// One object per figure; a figure without a goal has null for `goal` and `holds`.
    pub(crate) fn write(&self, path: &Path) {
        let figures: Vec<_> = self
            .figures
            .iter()
            .map(|figure| {
                serde_json::json!({
                    "name": figure.name,
                    "value": figure.value,
                    "unit": figure.unit,
                    "goal": figure.goal(),
                    "holds": figure.holds(),
                })
            })
            .collect();
        let text = serde_json::to_string_pretty(&figures).expect("text and numbers have a JSON form");
        std::fs::write(path, text + "\n").expect("the target folder can be written");
    }
}
