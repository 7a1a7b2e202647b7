use super::*;

const SOUND: &str = "
kind: Deployment
metadata: {name: records}
spec:
  selector: {matchLabels: {app: records}}
  template:
    metadata: {labels: {app: records}}
    spec:
      terminationGracePeriodSeconds: 30
      securityContext: {runAsNonRoot: true}
      volumes:
        - {name: scratch, emptyDir: {}}
        - {name: keys, configMap: {name: given, optional: true}}
      containers:
        - name: records
          image: registry.example/neurotriage:1
          ports: [{name: grpc, containerPort: 50053}]
          envFrom:
            - configMapRef: {name: records}
            - configMapRef: {name: access}
            - secretRef: {name: events, optional: true}
          env: [{name: RECORDS_DATABASE_URL, valueFrom: {secretKeyRef: {name: db, key: records}}}]
          volumeMounts: [{name: scratch, mountPath: /tmp}]
          readinessProbe: {grpc: {port: 50053}}
          resources: {requests: {cpu: 500m, memory: 1Gi}, limits: {cpu: '1', memory: 1024Mi}}
          securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false}
---
kind: ConfigMap
metadata: {name: records}
data: {RECORDS_LISTEN: '0.0.0.0:50053', RECORDS_DRAIN_SECONDS: '20', RECORDS_ENDPOINT: 'http://records:50053'}
---
kind: ConfigMap
metadata: {name: access}
data: {ACCESS_ISSUER: 'https://a.example', ACCESS_AUDIENCE: a, ACCESS_JWKS_URL: 'https://a.example/k'}
---
kind: Secret
metadata: {name: db}
stringData: {records: x}
---
kind: Service
metadata: {name: records}
spec:
  selector: {app: records}
  ports: [{name: grpc, port: 50053, targetPort: grpc}]
";

fn problems_in(text: &str) -> Vec<String> {
    let objects = super::super::parse(text).expect("YAML");
    let settings = [
        "ACCESS_AUDIENCE",
        "ACCESS_ISSUER",
        "ACCESS_JWKS_FILE",
        "ACCESS_JWKS_URL",
        "RECORDS_DATABASE_URL",
        "RECORDS_DRAIN_SECONDS",
        "RECORDS_ENDPOINT",
        "RECORDS_LISTEN",
    ];
    problems(&objects, &settings.map(str::to_owned).into())
}

#[test]
fn a_sound_set_has_no_problems() {
    assert_eq!(problems_in(SOUND), Vec::<String>::new());
}

#[test]
fn each_mistake_is_found() {
    // (what is replaced, by what, words of the complaint)
    let table = [
        ("labels: {app: records}", "labels: {app: other}", "does not match the labels"),
        ("selector: {app: records}", "selector: {app: other}", "matches no pod"),
        ("targetPort: grpc", "targetPort: http", "leads to none"),
        ("configMapRef: {name: records}", "configMapRef: {name: absent}", "ConfigMap absent"),
        ("key: records}", "key: absent}", "key absent"),
        ("events, optional: true", "events, optional: false", "Secret events"),
        ("given, optional: true", "given, optional: false", "ConfigMap given"),
        ("ACCESS_ISSUER: 'https://a.example', ", "", "without ACCESS_ISSUER"),
        ("ACCESS_AUDIENCE: a, ", "", "without ACCESS_AUDIENCE"),
        (", ACCESS_JWKS_URL: 'https://a.example/k'", "", "without one of ACCESS_JWKS_FILE"),
        ("ACCESS_AUDIENCE: a", "ACCESS_AUDIENCE: a, ACCESS_JWKS_FILE: b", "without one of"),
        ("name: scratch, mountPath", "name: absent, mountPath", "unknown volume absent"),
        ("grpc: {port: 50053}", "grpc: {port: 1}", "does not open"),
        ("cpu: 500m", "cpu: 1500m", "more cpu"),
        ("memory: 1Gi", "memory: 2Gi", "more memory"),
        ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "readOnlyRoot"),
        ("runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot"),
        ("PeriodSeconds: 30", "PeriodSeconds: 20", "drains for 20 s"),
        ("http://records:50053", "http://records:1", "no Service serves"),
        ("{RECORDS_LISTEN", "{OTHER: x, RECORDS_LISTEN", "no program reads"),
    ];
    for (found, replacement, complaint) in table {
        assert!(SOUND.contains(found), "row: {found}");
        let problems = problems_in(&SOUND.replacen(found, replacement, 1));
        let said = problems.iter().any(|problem| problem.contains(complaint));
        assert!(said, "row: {found}, said: {problems:?}");
    }
}

#[test]
fn quantities_compare_across_units() {
    let table = [("1", 1.0), ("500m", 0.5), ("1Ki", 1024.0), ("1M", 1e6), ("2Gi", 2_147_483_648.0)];
    for (text, expected) in table {
        let amount = quantity(text).expect(text);
        assert!((amount - expected).abs() < 1e-9, "case: {text}");
    }
    assert_eq!(quantity("1 apple"), None);
}
