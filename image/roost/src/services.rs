//! The services that the checkout has.

use crate::error::Failure;
use crate::store::disk_failure;
use crate::workspace::Workspace;
use roost_service::spec::ServiceSpec;

/// The specs as the box reads them.
pub fn json(specs: &[ServiceSpec]) -> String {
    serde_json::to_string_pretty(specs).expect("specs are plain data")
}

/// The specs of all services of the checkout, by name.
pub fn specs(workspace: &Workspace) -> Result<Vec<ServiceSpec>, Failure> {
    let dir = workspace.source.join("services");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&dir).map_err(|e| disk_failure("read", &dir, e))? {
        let path = entry
            .map_err(|e| disk_failure("read", &dir, e))?
            .path()
            .join("service.toml");
        if !path.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(|e| disk_failure("read", &path, e))?;
        let spec: ServiceSpec = toml::from_str(&text).map_err(|e| {
            Failure::new(format!("{} is not a valid service spec", path.display())).because(e)
        })?;
        found.push(spec);
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}
