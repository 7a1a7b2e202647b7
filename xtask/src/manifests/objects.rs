//! Mistakes between Kubernetes objects, which no schema sees: a name that nothing bears, a selector
//! that selects nothing, a setting that no program reads.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};
use serde_yaml_ng::Value;

/// Image whose containers run our programs, without its tag.
const IMAGE: &str = "neurotriage";
/// Variables that containers set for something other than a program's settings.
const FOREIGN_SETTINGS: [&str; 1] = ["HOME"];

/// Returns every variable that a program of the workspace reads by `env = "NAME"`.
pub(super) fn settings_known(root: &Path) -> Result<BTreeSet<String>> {
    let mut known = BTreeSet::new();
    let mut folders = ["services", "libs/access", "libs/service-kit", "migrations"]
        .map(|folder| root.join(folder))
        .to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("read {}", path.display()))?;
                let names =
                    text.split("env = \"").skip(1).filter_map(|rest| rest.split('"').next());
                known.extend(names.map(ToOwned::to_owned));
            }
        }
    }
    Ok(known)
}

/// Returns a sentence for each mistake; `settings` are the variables that our programs read.
pub(super) fn problems(objects: &[Value], settings: &BTreeSet<String>) -> Vec<String> {
    let mut problems = Vec::new();
    for object in objects {
        let found = match text(object, "/kind") {
            "Deployment" | "StatefulSet" | "Job" => workload(object, objects, settings),
            "Service" => service(object, objects),
            "NetworkPolicy" => network_policy(object, objects),
            _ => Vec::new(),
        };
        let name = format!("{} {}", text(object, "/kind"), text(object, "/metadata/name"));
        problems.extend(found.into_iter().map(|problem| format!("{name}: {problem}")));
    }
    problems
}

fn workload(object: &Value, objects: &[Value], settings: &BTreeSet<String>) -> Vec<String> {
    let mut problems = Vec::new();
    let labels = at(object, "/spec/template/metadata/labels");
    let selector = at(object, "/spec/selector/matchLabels");
    if text(object, "/kind") != "Job" && !selects(selector, labels) {
        problems.push("its selector does not match the labels of its pods".to_owned());
    }
    let pod = at(object, "/spec/template/spec");
    let templates = items(object, "/spec/volumeClaimTemplates");
    let volumes: Vec<&str> = items(pod, "/volumes")
        .iter()
        .map(|volume| text(volume, "/name"))
        .chain(templates.iter().map(|claim| text(claim, "/metadata/name")))
        .collect();
    for volume in items(pod, "/volumes") {
        if at(volume, "/configMap/optional").as_bool() == Some(true) {
            continue;
        }
        for (path, kind) in [
            ("/configMap/name", "ConfigMap"),
            ("/secret/secretName", "Secret"),
            ("/persistentVolumeClaim/claimName", "PersistentVolumeClaim"),
        ] {
            problems.extend(absent(objects, kind, text(volume, path), None));
        }
    }
    let containers = items(pod, "/initContainers").iter().chain(items(pod, "/containers"));
    for container in containers {
        let name = text(container, "/name");
        let mut found = container_problems(container, objects, settings);
        for mount in items(container, "/volumeMounts") {
            if !volumes.contains(&text(mount, "/name")) {
                found.push(format!("mounts the unknown volume {}", text(mount, "/name")));
            }
        }
        if is_ours(container) {
            found.extend(hardening(pod, container));
            found.extend(grace(pod, container, objects));
        }
        problems.extend(found.into_iter().map(|problem| format!("container {name} {problem}")));
    }
    problems
}

fn container_problems(
    container: &Value,
    objects: &[Value],
    settings: &BTreeSet<String>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for source in items(container, "/envFrom") {
        problems.extend(absent(objects, "ConfigMap", text(source, "/configMapRef/name"), None));
        if at(source, "/secretRef/optional").as_bool() != Some(true) {
            problems.extend(absent(objects, "Secret", text(source, "/secretRef/name"), None));
        }
    }
    for variable in items(container, "/env") {
        for (path, kind) in
            [("/valueFrom/configMapKeyRef", "ConfigMap"), ("/valueFrom/secretKeyRef", "Secret")]
        {
            let reference = at(variable, path);
            let key = text(reference, "/key");
            problems.extend(absent(objects, kind, text(reference, "/name"), Some(key)));
        }
    }
    if is_ours(container) {
        for name in variables(container, objects) {
            if !settings.contains(&name) && !FOREIGN_SETTINGS.contains(&name.as_str()) {
                problems.push(format!("sets {name}, which no program reads"));
            }
        }
    }
    let numbers: Vec<i64> = items(container, "/ports")
        .iter()
        .filter_map(|port| at(port, "/containerPort").as_i64())
        .collect();
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let port = at(container, &format!("/{probe}/grpc/port"));
        if let Some(number) = port.as_i64().filter(|number| !numbers.contains(number)) {
            problems.push(format!("has a {probe} on port {number}, which it does not open"));
        }
    }
    for resource in ["cpu", "memory"] {
        let request = quantity(text(container, &format!("/resources/requests/{resource}")));
        let limit = quantity(text(container, &format!("/resources/limits/{resource}")));
        if let (Some(request), Some(limit)) = (request, limit)
            && request > limit
        {
            problems.push(format!("requests more {resource} than its limit"));
        }
    }
    problems.extend(endpoints(container, objects));
    if is_ours(container) {
        problems.extend(access(container, objects));
    }
    problems
}

/// A server that other machines reach does not start unless it knows whose tokens to take.
fn access(container: &Value, objects: &[Value]) -> Vec<String> {
    let names = variables(container, objects);
    let sets = |name: &str| names.iter().any(|set| set == name);
    if !names.iter().any(|name| name.ends_with("_LISTEN")) {
        return Vec::new();
    }
    // A set without any Secret leaves issuer and keys to whoever deploys it, too.
    let is_complete = objects.iter().any(|object| text(object, "/kind") == "Secret");
    let mut problems = Vec::new();
    for name in ["ACCESS_AUDIENCE", "ACCESS_ISSUER"] {
        if !sets(name) && (is_complete || name == "ACCESS_AUDIENCE") {
            problems.push(format!("serves without {name}"));
        }
    }
    let sources = ["ACCESS_JWKS_FILE", "ACCESS_JWKS_URL"].into_iter().filter(|name| sets(name));
    let count = sources.count();
    if count > 1 || (count == 0 && is_complete) {
        problems.push("serves without one of ACCESS_JWKS_FILE and ACCESS_JWKS_URL".to_owned());
    }
    problems
}

/// Every variable named `…_ENDPOINT` must lead to a Service and one of its ports.
fn endpoints(container: &Value, objects: &[Value]) -> Vec<String> {
    let mut problems = Vec::new();
    for source in items(container, "/envFrom") {
        let Some(map) = object(objects, "ConfigMap", text(source, "/configMapRef/name")) else {
            continue;
        };
        let Value::Mapping(data) = at(map, "/data") else { continue };
        for (name, value) in data {
            let (Some(name), Some(value)) = (name.as_str(), value.as_str()) else { continue };
            if !name.ends_with("_ENDPOINT") || name == "OTLP_ENDPOINT" {
                continue;
            }
            let host_port = value.strip_prefix("http://").and_then(|rest| rest.split_once(':'));
            let served = host_port.is_some_and(|(host, port)| {
                object(objects, "Service", host).is_some_and(|service| {
                    let mut ports = items(service, "/spec/ports").iter();
                    ports.any(|open| at(open, "/port").as_i64() == port.parse().ok())
                })
            });
            if !served {
                problems.push(format!("reads {name}={value}, which no Service serves"));
            }
        }
    }
    problems
}

/// Our containers run as nobody in particular, on a file system they cannot write.
fn hardening(pod: &Value, container: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, wanted) in [
        ("/securityContext/readOnlyRootFilesystem", true),
        ("/securityContext/allowPrivilegeEscalation", false),
    ] {
        if at(container, path).as_bool() != Some(wanted) {
            problems.push(format!("needs {path}: {wanted}"));
        }
    }
    if at(pod, "/securityContext/runAsNonRoot").as_bool() != Some(true) {
        problems.push("needs runAsNonRoot: true in its pod".to_owned());
    }
    problems
}

/// The pod must be given longer to end than the program takes to drain.
fn grace(pod: &Value, container: &Value, objects: &[Value]) -> Option<String> {
    let grace = at(pod, "/terminationGracePeriodSeconds").as_i64().unwrap_or(30);
    let drain = items(container, "/envFrom").iter().find_map(|source| {
        let map = object(objects, "ConfigMap", text(source, "/configMapRef/name"))?;
        let Value::Mapping(data) = at(map, "/data") else { return None };
        data.iter().find_map(|(name, value)| {
            let is_drain = name.as_str()?.ends_with("_DRAIN_SECONDS");
            is_drain.then(|| value.as_str()?.parse::<i64>().ok())?
        })
    })?;
    (grace <= drain).then(|| format!("drains for {drain} s in a pod that ends after {grace} s"))
}

fn service(object: &Value, objects: &[Value]) -> Vec<String> {
    let selector = at(object, "/spec/selector");
    let pods: Vec<&Value> = objects
        .iter()
        .map(|other| at(other, "/spec/template"))
        .filter(|pod| selects(selector, at(pod, "/metadata/labels")))
        .collect();
    if pods.is_empty() {
        return vec!["its selector matches no pod".to_owned()];
    }
    let mut problems = Vec::new();
    for port in items(object, "/spec/ports") {
        let target = at(port, "/targetPort");
        let open = pods
            .iter()
            .flat_map(|pod| items(pod, "/spec/containers"))
            .flat_map(|container| items(container, "/ports"))
            .any(|open| at(open, "/name") == target || at(open, "/containerPort") == target);
        if !open {
            problems.push(format!("port {} leads to none of the pods' ports", text(port, "/name")));
        }
    }
    problems
}

fn network_policy(object: &Value, objects: &[Value]) -> Vec<String> {
    let selector = at(object, "/spec/podSelector/matchLabels");
    let matches = |other: &Value| selects(selector, at(other, "/spec/template/metadata/labels"));
    if selector.is_null() || objects.iter().any(matches) {
        return Vec::new();
    }
    vec!["its selector matches no pod".to_owned()]
}

/// Returns the names of the variables that a container is given.
fn variables(container: &Value, objects: &[Value]) -> Vec<String> {
    let mut names: Vec<String> =
        items(container, "/env").iter().map(|one| text(one, "/name").to_owned()).collect();
    for source in items(container, "/envFrom") {
        let map = object(objects, "ConfigMap", text(source, "/configMapRef/name"));
        if let Some(Value::Mapping(data)) = map.map(|map| at(map, "/data")) {
            names.extend(data.keys().filter_map(|key| key.as_str().map(ToOwned::to_owned)));
        }
    }
    names
}

/// Returns a problem if no object of that kind bears the name, or it lacks the key.
fn absent(objects: &[Value], kind: &str, name: &str, key: Option<&str>) -> Option<String> {
    if name.is_empty() {
        return None;
    }
    // A set without any Secret leaves them to whoever deploys it.
    if kind == "Secret" && !objects.iter().any(|object| text(object, "/kind") == "Secret") {
        return None;
    }
    let Some(object) = object(objects, kind, name) else {
        return Some(format!("refers to the {kind} {name}, which does not exist"));
    };
    let key = key?;
    let held = ["/data", "/stringData"].iter().any(|part| !at(object, part)[key].is_null());
    (!held).then(|| format!("refers to the key {key}, which the {kind} {name} lacks"))
}

fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> Option<&'a Value> {
    objects
        .iter()
        .find(|object| text(object, "/kind") == kind && text(object, "/metadata/name") == name)
}

fn is_ours(container: &Value) -> bool {
    let image = text(container, "/image").split(':').next().unwrap_or_default();
    image.rsplit('/').next() == Some(IMAGE)
}

/// True if `labels` hold everything that `selector` asks for, and it asks for something.
fn selects(selector: &Value, labels: &Value) -> bool {
    let Value::Mapping(selector) = selector else { return false };
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Returns the amount that a quantity such as `500m` or `2Gi` stands for.
fn quantity(text: &str) -> Option<f64> {
    let digits = text.find(|letter: char| letter.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "Ki" => 1024.0,
        "Mi" => 1024.0_f64.powi(2),
        "Gi" => 1024.0_f64.powi(3),
        "Ti" => 1024.0_f64.powi(4),
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// Returns the value at a path such as `/spec/template`; null if there is none.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('/').filter(|part| !part.is_empty()).fold(value, |value, part| &value[part])
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or_default()
}

fn items<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).as_sequence().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
