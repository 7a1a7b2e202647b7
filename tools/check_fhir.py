#!/usr/bin/env python3
"""Checks `report.fhir.json` of `neurotriage diagnose` against FHIR R4B.

A development tool; nothing at run time needs it. It needs Python 3.10 or newer and

    pip install "fhir.resources>=8.0"

(BSD licence), whose models hold the fields, types and cardinalities of each resource. How it is run:

    neurotriage diagnose --out out
    python tools/check_fhir.py out/report.fhir.json

For each file it checks the report and every contained resource by its own model, that each reference
leads to a contained resource, that the narrative is well-formed XHTML, and that SNOMED CT codes have
a valid check digit. It does not ask a terminology server. The exit code is 1 if anything is wrong.
"""

import argparse
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


def check(path: Path) -> list[str]:
    resource = json.loads(path.read_text(encoding="utf-8"))
    wrong = []
    for part in [resource, *resource.get("contained", [])]:
        name = f"{part['resourceType']} {part.get('id', '')}".strip()
        try:
            get_fhir_model_class(part["resourceType"]).model_validate(part)
        except ValueError as error:
            wrong.append(f"{name}: {error}")
    known = {f"#{part['id']}" for part in resource.get("contained", [])}
    for part in walk(resource):
        reference = part.get("reference")
        if isinstance(reference, str) and reference not in known:
            wrong.append(f"reference {reference} leads nowhere")
        if part.get("system") == SNOMED and not has_valid_check_digit(part["code"]):
            wrong.append(f"SNOMED CT code {part['code']} has a wrong check digit")
    try:
        ElementTree.fromstring(resource["text"]["div"])
    except ElementTree.ParseError as error:
        wrong.append(f"narrative is not well-formed: {error}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, help="files to check")
    failed = False
    for path in parser.parse_args().files:
        wrong = check(path)
        failed = failed or bool(wrong)
        print(f"{path}: {'; '.join(wrong) if wrong else 'valid'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
