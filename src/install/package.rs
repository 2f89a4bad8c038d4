use std::path::Path;

/// Places that somebody else looks after, decided by the path alone: asking a package database would
/// mean running its tools, and a path says the same where the usual layout is kept. `/usr/local`,
/// `/opt` and homes are the operator's own.
const PLACES: [(&str, &str); 13] = [
    ("/nix/store", "Nix"),
    ("/gnu/store", "Guix"),
    ("/snap", "snapd"),
    ("/var/lib/snapd", "snapd"),
    ("/var/lib/flatpak", "Flatpak"),
    ("/app", "Flatpak"),
    ("/usr/bin", PACKAGES),
    ("/usr/sbin", PACKAGES),
    ("/usr/lib", PACKAGES),
    ("/usr/libexec", PACKAGES),
    ("/bin", PACKAGES),
    ("/sbin", PACKAGES),
    ("/lib", PACKAGES),
];
const PACKAGES: &str = "the system's package manager";

/// Who looks after a folder, where that is not the operator.
#[must_use]
pub fn package_manager(folder: &Path) -> Option<&'static str> {
    let (_, manager) = PLACES.into_iter().find(|(place, _)| folder.starts_with(place))?;
    // Many images keep their own program in /app; only inside Flatpak's sandbox is it Flatpak's.
    if manager == "Flatpak" && folder.starts_with("/app") && !Path::new("/.flatpak-info").exists() {
        return None;
    }
    Some(manager)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_a_package_manager_looks_after_is_known_by_its_path() {
        for (folder, manager) in [
            ("/usr/bin", Some(PACKAGES)),
            ("/usr/lib/exuvia", Some(PACKAGES)),
            ("/bin", Some(PACKAGES)),
            ("/nix/store/abc-exuvia-1.0/bin", Some("Nix")),
            ("/snap/exuvia/7/bin", Some("snapd")),
            ("/usr/local/bin", None),
            ("/usr/binary", None),
            ("/opt/exuvia/bin", None),
            ("/home/a/.local/bin", None),
            ("/app/bin", None),
        ] {
            assert_eq!(package_manager(Path::new(folder)), manager, "{folder}");
        }
    }
}
