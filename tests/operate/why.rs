use crate::place::Place;

fn gate(why: &serde_json::Value, name: &str) -> serde_json::Value {
    let gates = why["gates"].as_array().unwrap();
    gates.iter().find(|report| report["gate"] == name).unwrap_or_else(|| panic!("{name} is not in {why}")).clone()
}

#[test]
fn why_says_the_same_with_a_running_node_and_without_one() {
    let place = Place::new();
    place.publish(&["1.4.0", "2.0.0-rc.1"]);
    // Nothing is tried meanwhile: paused.
    place.run(&["pause"]).exits(0);
    let alone = place.run(&["why", "--json"]).exits(0).json();
    assert_eq!(alone["version"], "1.4.0");
    assert_eq!(gate(&alone, "pause")["open"], false);
    assert_eq!(gate(&alone, "pin")["open"], true);
    let running = place.start();
    let asked = place.run(&["why", "--json"]).exits(0).json();
    assert_eq!(asked["version"], alone["version"]);
    for name in ["channel", "pin", "veto", "pause", "delay", "window"] {
        assert_eq!(gate(&asked, name), gate(&alone, name), "{name}");
    }
    let beta = place.run(&["why", "2.0.0-rc.1", "--json"]).exits(0).json();
    assert_eq!(gate(&beta, "channel")["open"], false);
    place.run(&["why", "9.9.9"]).exits(5);
    drop(running);
}

#[test]
fn a_maintenance_window_holds_a_node_back_and_says_until_when() {
    let place = Place::new();
    place.publish(&["1.4.0"]);
    let hour = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour();
    let away = if hour < 12 { "daily 20:00-21:00" } else { "daily 01:00-02:00" };
    place.configure(&format!("rollout.windows = [\"{away}\"]"));
    let why = place.run(&["why", "--json"]).exits(0).json();
    let window = gate(&why, "window");
    assert_eq!((&window["open"], &window["inputs"]["windows"][0]), (&false.into(), &away.into()));
    let opens: jiff::Timestamp = window["changes"].as_str().unwrap().parse().unwrap();
    assert!(opens > jiff::Timestamp::now());
    // An operator who asks is not held back.
    place.run(&["upgrade", "check"]).exits(100);
}

#[test]
fn a_veto_is_lifted_while_the_node_runs_and_the_node_heeds_it() {
    let place = Place::new();
    place.publish(&["1.4.0"]);
    place.run(&["pause"]).exits(0);
    place.veto("1.4.0", "it died");
    let _running = place.start();
    assert_eq!(gate(&place.run(&["why", "--json"]).exits(0).json(), "veto")["open"], false);
    place.run(&["unveto", "1.4.0"]).exits(0);
    assert_eq!(gate(&place.run(&["why", "--json"]).exits(0).json(), "veto")["open"], true);
    place.run(&["unveto", "1.4.0"]).exits(2);
}

#[test]
fn an_installs_moment_in_a_rollout_is_kept_across_restarts_and_differs_from_anothers() {
    let delay = |place: &Place| gate(&place.run(&["why", "--json"]).exits(0).json(), "delay");
    let [one, other] = [Place::new(), Place::new()];
    for place in [&one, &other] {
        place.publish(&["1.4.0"]);
        place.configure("poll.interval = \"1h\"");
    }
    // The last word wins: a day, where the place's own configuration has no window.
    let spread = |place: &Place| {
        let text = std::fs::read_to_string(place.path("exuvia.toml")).unwrap();
        std::fs::write(place.path("exuvia.toml"), text.replace("\"0s\"", "\"24h\"")).unwrap();
    };
    spread(&one);
    spread(&other);
    let before = delay(&one);
    let running = one.start();
    assert_eq!(delay(&one), before);
    drop(running);
    let running = one.start();
    assert_eq!(delay(&one), before);
    drop(running);
    assert_eq!(delay(&one), before);
    assert_ne!(delay(&other)["inputs"]["delay"], before["inputs"]["delay"]);
}
