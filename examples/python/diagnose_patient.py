"""Registers a patient, reports symptoms, uploads a study, waits for the report and prints it.

Research use only: decision support, no diagnosis. The patient is made up.
"""

import argparse
import importlib
import pathlib
import random
import sys
import tempfile
import time
import uuid

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHUNK_BYTES = 1024 * 1024
CALL_SECONDS = 30
UPLOAD_SECONDS = 600
DIAGNOSIS_SECONDS = 3600
ATTEMPTS = 5
# Sequence by the end of the file's name, without `.nii` or `.nii.gz`.
SEQUENCES = {"flair": "MODALITY_FLAIR", "t1ce": "MODALITY_T1CE", "t1": "MODALITY_T1", "t2": "MODALITY_T2"}


def contracts(folder):
    """Makes the modules of the contracts in `folder` and returns those that are used here."""
    files = [str(path) for path in sorted((ROOT / "proto").rglob("*.proto"))]
    include = importlib.resources.files("grpc_tools") / "_proto"
    arguments = ["protoc", f"-I{ROOT / 'proto'}", f"-I{include}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main(arguments + files) != 0:
        raise SystemExit("could not make clients from proto/")
    sys.path.insert(0, folder)
    modules = {}
    for package, name in [
        ("common", "common"),
        ("records", "records"),
        ("ingestion", "ingestion"),
        ("referral", "diagnosis"),
        ("referral", "referral"),
    ]:
        base = f"neurotriage.{package}.v1.{name}"
        modules[name] = importlib.import_module(f"{base}_pb2")
        modules[f"{name}_rpc"] = importlib.import_module(f"{base}_pb2_grpc")
    return modules


def refusal(error):
    """Returns why a service refused, in its stable terms."""
    reason, fields = "", []
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        for detail in status_pb2.Status.FromString(value).details:
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            if detail.Unpack(info):
                reason = info.reason
            elif detail.Unpack(bad):
                fields = [f"{wrong.field}: {wrong.description}" for wrong in bad.field_violations]
    return "; ".join([f"{error.code().name} {reason}".strip(), error.details(), *fields])


def repeated(step, call):
    """Calls until it is answered: the request ids make a repetition harmless."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except grpc.RpcError as error:
            away = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
            if not away or attempt == ATTEMPTS:
                raise SystemExit(f"could not {step}: {refusal(error)}") from None
            time.sleep(random.uniform(0.5, 1) * 2**attempt)


class Hospital:
    """The hospital's end of the four services."""

    def __init__(self, arguments, modules):
        self.modules = modules
        self.token = arguments.token_file.read_text().strip() if arguments.token_file else None
        records, ingestion, referral = (
            grpc.insecure_channel(address) for address in (arguments.records, arguments.ingestion, arguments.referral)
        )
        self.records = modules["records_rpc"].RecordsServiceStub(records)
        self.ingestion = modules["ingestion_rpc"].IngestionServiceStub(ingestion)
        self.diagnoses = modules["diagnosis_rpc"].DiagnosisServiceStub(referral)

    def options(self, seconds):
        metadata = [("authorization", f"Bearer {self.token}")] if self.token else []
        return {"timeout": seconds, "metadata": metadata}

    def register(self):
        records = self.modules["records"]
        request = records.CreatePatientRequest(
            request_id=str(uuid.uuid4()),
            patient=records.Patient(
                medical_record_numbers=[
                    records.MedicalRecordNumber(issuer="Sample Hospital", number=f"sample-{uuid.uuid4().hex[:8]}")
                ],
                name="Sample Patient",
                birth_date="1970-01-01",
                sex=records.SEX_FEMALE,
                handedness=records.HANDEDNESS_RIGHT,
                address=records.Address(
                    city="Sampletown",
                    coordinates=records.Coordinates(latitude_degrees=37.57, longitude_degrees=126.98),
                ),
            ),
        )
        answer = repeated(
            "register the patient", lambda: self.records.CreatePatient(request, **self.options(CALL_SECONDS))
        )
        return answer.patient.patient_id

    def report(self, patient_id, text):
        records = self.modules["records"]
        request = records.CreateSymptomReportRequest(
            request_id=str(uuid.uuid4()), patient_id=patient_id, text=text, reporter=records.REPORTER_PATIENT
        )
        answer = repeated(
            "report the symptoms", lambda: self.records.CreateSymptomReport(request, **self.options(CALL_SECONDS))
        )
        return answer.report

    def upload(self, patient_id, case):
        ingestion, common = self.modules["ingestion"], self.modules["common"]
        request_id = str(uuid.uuid4())
        files = sequences(case)

        def messages():
            header = ingestion.UploadHeader(request_id=request_id, patient_id=patient_id, accession=case.name[:128])
            yield ingestion.UploadStudyRequest(header=header)
            for modality, path in files.items():
                with path.open("rb") as file:
                    while data := file.read(CHUNK_BYTES):
                        chunk = ingestion.UploadChunk(
                            modality=common.Modality.Value(modality), file_name=path.name, data=data
                        )
                        yield ingestion.UploadStudyRequest(chunk=chunk)

        answer = repeated(
            "upload the study", lambda: self.ingestion.UploadStudy(messages(), **self.options(UPLOAD_SECONDS))
        )
        return answer.study.study_id

    def link(self, patient_id, study_id):
        request = self.modules["records"].LinkStudyRequest(
            request_id=str(uuid.uuid4()), patient_id=patient_id, study_id=study_id, description="MRI of the head"
        )
        repeated("link the study", lambda: self.records.LinkStudy(request, **self.options(CALL_SECONDS)))

    def diagnose(self, study_id, symptom_report_id):
        diagnosis = self.modules["diagnosis"]
        request = diagnosis.DiagnoseRequest(
            request_id=str(uuid.uuid4()), study_id=study_id, symptom_report_id=symptom_report_id, hospitals_max=3
        )

        def follow():
            step = None
            for answer in self.diagnoses.Diagnose(request, **self.options(DIAGNOSIS_SECONDS)):
                if answer.HasField("diagnosis"):
                    return answer.diagnosis
                if answer.progress.step != step:
                    step = answer.progress.step
                    name = diagnosis.DiagnosisStep.Name(step).removeprefix("DIAGNOSIS_STEP_").lower()
                    print(f"  {name} ...", file=sys.stderr)
            raise SystemExit("the diagnosis ended without a report; run again with the same request id")

        return repeated("diagnose", follow)


def sequences(case):
    """Returns the file of each sequence in the folder `case`."""
    found = {}
    for path in sorted(case.iterdir()):
        stem = path.name.lower().removesuffix(".gz").removesuffix(".nii")
        if stem == path.name.lower():
            continue
        for ending, modality in SEQUENCES.items():
            if stem.endswith(ending):
                found[modality] = path
                break
    missing = [ending for ending, modality in SEQUENCES.items() if modality not in found]
    if missing:
        raise SystemExit(f"{case} lacks files whose names end in {', '.join(missing)} and .nii or .nii.gz")
    return found


def words(name, prefix):
    return name.removeprefix(prefix).lower().replace("_", " ")


def show(modules, diagnosis):
    """Prints the report as a clinician would read it."""
    assessment, sizes = diagnosis.assessment, diagnosis.measurements
    referral, common = modules["referral"], modules["common"]
    print("Decision support for research use. Not a medical device, not a diagnosis.\n")
    print(f"Tumour           {sizes.whole_ml:.1f} ml, core {sizes.core_ml:.1f} ml, enhancing {sizes.enhancing_ml:.1f} ml")
    for lesion in sizes.lesions:
        region = lesion.main_region.replace("_", " ") or "site unknown"
        print(f"  lesion         {lesion.whole_ml:.1f} ml, {region}")
    verdict = words(referral.Verdict.Name(assessment.verdict), "VERDICT_")
    agreement = f" (agreement {assessment.concordance:.2f})" if assessment.HasField("concordance") else ""
    print(f"Symptoms, image  {verdict}{agreement}")
    print(f"Site             {assessment.confirmed_site.replace('_', ' ') or 'not confirmed'}")
    print("Findings")
    for fit in assessment.findings:
        side = words(common.Side.Name(fit.finding.side), "SIDE_")
        side = "" if side == "unspecified" else f", {side}"
        said = words(referral.Fit.Name(fit.fit), "FIT_") if fit.finding.present else "denied"
        print(f"  {fit.finding.display_name}{side}: {said}")
    for piece in assessment.not_understood:
        print(f"  not understood: {piece}")
    for sign in assessment.urgent_signs:
        print(f"URGENT           {sign}")
    print("Why")
    for reason in assessment.reasons:
        print(f"  {reason}")
    print("Hospitals (invented, unless a directory was imported)")
    for place, ranked in enumerate(assessment.hospitals, start=1):
        distance = f", {ranked.distance_km:.0f} km" if ranked.HasField("distance_km") else ""
        print(f"  {place}. {ranked.hospital.name}, {ranked.hospital.city}{distance}, score {ranked.score:.2f}")
    if assessment.hospitals_reason:
        print(f"  {assessment.hospitals_reason}")
    print(
        f"Made with        model {diagnosis.provenance.model_id}, evidence {assessment.evidence_version}, "
        f"diagnosis {diagnosis.diagnosis_id}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", type=pathlib.Path, required=True, help="folder with FLAIR, T1, T1ce and T2 as NIfTI")
    parser.add_argument("--symptoms", required=True, help="what the patient wrote, in English or Korean")
    parser.add_argument("--records", default="127.0.0.1:50053", help="address of the records service")
    parser.add_argument("--ingestion", default="127.0.0.1:50051", help="address of the ingestion service")
    parser.add_argument("--referral", default="127.0.0.1:50054", help="address of the referral service")
    parser.add_argument("--token-file", type=pathlib.Path, help="file with a bearer token")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        modules = contracts(folder)
        hospital = Hospital(arguments, modules)
        patient_id = hospital.register()
        print(f"registered patient {patient_id}", file=sys.stderr)
        report = hospital.report(patient_id, arguments.symptoms)
        study_id = hospital.upload(patient_id, arguments.case)
        hospital.link(patient_id, study_id)
        print(f"uploaded study {study_id}", file=sys.stderr)
        diagnosis = hospital.diagnose(study_id, report.symptom_report_id)
        show(modules, diagnosis)


if __name__ == "__main__":
    main()
