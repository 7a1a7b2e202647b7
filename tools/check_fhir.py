#!/usr/bin/env python3
"""Checks FHIR resources and bundles that NeuroTriage wrote.

A development tool; nothing at run time needs it. It needs Python 3.10 or newer and what stands in
`xtask/tools.txt` (`fhir.resources`, BSD licence; `jsonschema-rs`, MIT licence). `cargo xtask test` runs it
on the bundles that the tests leave. By hand:

    neurotriage diagnose --out out
    python tools/check_fhir.py out/report.fhir.json
    neurotriage fhir export PATIENT_ID -o story.json
    python tools/check_fhir.py --schema fhir.schema.json story.json

For each file it checks the resource, every entry of a bundle and every contained resource:

- by its model in `fhir.resources`, R4B: fields, types, cardinalities;
- with `--schema`, by the JSON schema that HL7 publishes with R4 (4.0.1), which knows code lists too;
- that each reference leads to an entry or a contained resource, and that no full URL stands twice;
- that narratives are well-formed XHTML, and that SNOMED CT codes have a valid check digit.

It does not ask a terminology server. The exit code is 1 if anything is wrong.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

from fhir.resources.R4B import get_fhir_model_class

SNOMED = "http://snomed.info/sct"

# Verhoeff's scheme: the dihedral group of order ten, and its permutation by place.
MULTIPLY = [
    [(a + b) % 5 if b < 5 else (a + b - 5) % 5 + 5 for b in range(10)] if a < 5
    else [(a - 5 - b) % 5 + 5 if b < 5 else (a - b) % 5 for b in range(10)]
    for a in range(10)
]
PERMUTE = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]
for _ in range(7):
    PERMUTE.append([[1, 5, 7, 6, 2, 8, 3, 0, 9, 4][digit] for digit in PERMUTE[-1]])


def has_valid_check_digit(code: str) -> bool:
    check = 0
    for place, digit in enumerate(reversed(code)):
        check = MULTIPLY[check][PERMUTE[place % 8][int(digit)]]
    return check == 0


def walk(value):
    """Yields every object below a value."""
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from walk(child)
    elif isinstance(value, list):
        for child in value:
            yield from walk(child)


class Schema:
    """The JSON schema of R4, one validator for each kind of resource."""

    def __init__(self, path: Path, sha256: str | None):
        content = path.read_bytes()
        if sha256 and hashlib.sha256(content).hexdigest() != sha256:
            sys.exit(f"{path} is not the schema it should be: remove it, so that it is fetched again")
        self.whole = json.loads(content)
        self.validators = {}

    def problems(self, resource: dict) -> list[str]:
        from jsonschema_rs import Draft6Validator

        kind = resource["resourceType"]
        if kind not in self.whole["discriminator"]["mapping"]:
            return [f"{kind} is no resource of R4"]
        if kind not in self.validators:
            schema = {
                "$schema": self.whole["$schema"],
                "definitions": self.whole["definitions"],
                "$ref": f"#/definitions/{kind}",
            }
            self.validators[kind] = Draft6Validator(schema)
        errors = self.validators[kind].iter_errors(resource)
        return [f"{'/'.join(map(str, error.instance_path))}: {error.message[:300]}" for error in errors]


def parts(resource: dict):
    """Yields a resource, the entries of a bundle, and what they contain."""
    yield resource
    for entry in resource.get("entry", []):
        yield from parts(entry["resource"])
    yield from resource.get("contained", [])


def alone(resource: dict) -> dict:
    """Returns a resource without those in it, which are checked by themselves: the messages are shorter."""
    copy = {name: value for name, value in resource.items() if name != "contained"}
    if "entry" in copy:
        copy["entry"] = [
            {name: value for name, value in entry.items() if name != "resource"}
            for entry in copy["entry"]
        ]
    return copy


def check(path: Path, schema: Schema | None) -> list[str]:
    resource = json.loads(path.read_text(encoding="utf-8"))
    wrong = []
    known = set()
    for entry in resource.get("entry", []):
        if entry.get("fullUrl") in known:
            wrong.append(f"full URL {entry['fullUrl']} stands twice")
        known.add(entry.get("fullUrl"))
        known.add(f"{entry['resource']['resourceType']}/{entry['resource'].get('id')}")
    for part in parts(resource):
        name = f"{part['resourceType']} {part.get('id', '')}".strip()
        try:
            get_fhir_model_class(part["resourceType"]).model_validate(part)
        except ValueError as error:
            wrong.append(f"{name}: {error}")
        if schema:
            wrong.extend(f"{name}: {problem}" for problem in schema.problems(alone(part)))
        known.update(f"#{contained['id']}" for contained in part.get("contained", []))
        if "text" in part:
            try:
                ElementTree.fromstring(part["text"]["div"])
            except ElementTree.ParseError as error:
                wrong.append(f"{name}: narrative is not well-formed: {error}")
    for part in walk(resource):
        reference = part.get("reference")
        if isinstance(reference, str) and reference not in known:
            wrong.append(f"reference {reference} leads nowhere")
        if part.get("system") == SNOMED and not has_valid_check_digit(part["code"]):
            wrong.append(f"SNOMED CT code {part['code']} has a wrong check digit")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, help="files to check")
    parser.add_argument("--schema", type=Path, help="fhir.schema.json of R4 (4.0.1)")
    parser.add_argument("--schema-sha256", help="what the SHA-256 of the schema must be")
    arguments = parser.parse_args()
    schema = Schema(arguments.schema, arguments.schema_sha256) if arguments.schema else None
    failed = False
    for path in arguments.files:
        wrong = check(path, schema)
        failed = failed or bool(wrong)
        print(f"{path}: {'; '.join(wrong) if wrong else 'valid'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
