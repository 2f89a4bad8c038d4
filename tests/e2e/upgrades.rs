//! Upgrades that go well, by themselves and at an operator's word.

use crate::support::Host;

#[test]
fn an_idle_node_upgrades_itself_and_keeps_its_process() {
    let host = Host::new();
    let node = host.start("one");
    let launcher = node.launcher_pid();
    node.wait_until_it_runs("1.0.0");

    host.releases().publish("1.1.0");
    let status = node.wait_until_it_runs("1.1.0");
    assert_eq!(status["previous"]["version"], "1.0.0");
    assert_eq!(node.launcher_pid(), launcher);
    assert!(node.serves());
    let attempt = node.wait_for_outcome("1.1.0");
    assert_eq!((&attempt["outcome"], &attempt["from"]), (&"upgraded".into(), &"1.0.0".into()));
    host.assert_committed("1.1.0");
    host.assert_clean(&["1.0.0", "1.1.0"], &[&node]);
}
