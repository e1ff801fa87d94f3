#!/usr/bin/env python3
"""Lays out the demo repository from trained models and the reference library's own predictions.

    make_repository.py DATA_FOLDER

DATA_FOLDER holds loan-default/ and loan-mini/, each with the model files that XGBoost wrote and a cases.csv:
a column a feature, and columns with XGBoost's own predictions (full, v2, lite; expected). It holds digits/ with
digits.onnx and a cases.csv: p0 to p63 from 0 to 16, and prob0 to prob9 as ONNX Runtime computed them. Golden rows
are taken from there, never from Dougong's own answers.
Standard library only.
"""
import csv
import hashlib
import json
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN_ROWS = 8

LOAN = "Probability that a LendingClub loan is not paid back."
MODELS = [
    # name, version, source folder, model file, column of cases.csv with the predictions, description
    ("loan-default", "1", "loan-default", "loan_default_full.json", "full", LOAN + " 300 trees, depth 6."),
    ("loan-default", "2", "loan-default", "loan_default_v2.json", "v2", LOAN + " 400 trees, depth 7."),
    ("loan-lite", "1", "loan-default", "loan_default_lite.json", "lite", LOAN + " 20 trees, depth 3: cheap, and nearly as good."),
    ("loan-mini", "1", "loan-mini", "loan_mini.json", "expected", "The smallest real model: " + LOAN[0].lower() + LOAN[1:]),
]
POLICIES = {
    "loan-default": ("1", ["2"]),
    "loan-lite": ("1", []),
    "loan-mini": ("1", []),
}


def pick(rows, names):
    """Rows evenly over the file, and one with a missing cell if there is any: fixed, so that a rerun changes nothing."""
    step = (len(rows) - 1) / (GOLDEN_ROWS - 1)
    picked = [rows[round(i * step)] for i in range(GOLDEN_ROWS)]
    missing = [r for r in rows if any(r[n] == "" for n in names)]
    if missing and not any(r in missing for r in picked):
        picked.insert(1, missing[0])
    return picked


def digits(data):
    """The model that workers serve."""
    out = HERE / "digits" / "1"
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(data / "digits.onnx", out / "digits.onnx")
    (out / "digits.onnx").chmod(0o644)
    with open(data / "cases.csv", newline="") as f:
        cases = list(csv.DictReader(f))
    with open(out / "model.yaml", "w") as f:
        f.write("# Made by make_repository.py; the golden outputs are ONNX Runtime's own.\n")
        f.write('description: "Which digit an image of 8 by 8 pixels shows: a probability for each of 0 to 9."\n')
        f.write("file: digits.onnx\n")
        f.write(f"sha256: {hashlib.sha256((out / 'digits.onnx').read_bytes()).hexdigest()}\n")
        f.write("# The model's own names of its tensors.\ninput: image\noutput: probabilities\n")
        f.write("# The pixels row by row, from 0 (white) to 1 (black).\ninputs:\n")
        for i in range(64):
            f.write(f"  - p{i}\n")
        f.write("golden:\n  tolerance: 1e-5\n  rows:\n")
        for row in cases[:3]:
            pixels = ", ".join(f"{int(row[f'p{i}']) / 16:g}" for i in range(64))
            f.write(f"    - input: [{pixels}]\n      output: [{', '.join(row[f'prob{i}'] for i in range(10))}]\n")
    with open(HERE / "digits" / "policy.yaml", "w") as f:
        f.write('serve: "1"\n')
        f.write("# The service is ready without it: its workers are an option of the demo.\ncore: false\n")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    data = pathlib.Path(sys.argv[1])
    for name, version, folder, model, column, description in MODELS:
        out = HERE / name / version
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data / folder / model, out / "model.json")
        (out / "model.json").chmod(0o644)
        body = (out / "model.json").read_bytes()
        learner = json.loads(body)["learner"]
        with open(data / folder / "cases.csv", newline="") as f:
            cases = list(csv.DictReader(f))
        header = list(cases[0])
        names = learner["feature_names"] or header[: int(learner["learner_model_param"]["num_feature"])]
        if column not in header:
            sys.exit(f"{folder}/cases.csv has no column {column}")
        with open(out / "model.yaml", "w") as f:
            f.write("# Made by make_repository.py; the golden outputs are XGBoost's own predictions.\n")
            f.write(f"description: {json.dumps(description)}\n")
            f.write("file: model.json\n")
            f.write(f"sha256: {hashlib.sha256(body).hexdigest()}\n")
            f.write(f"objective: {learner['objective']['name']}\n")
            f.write("inputs:\n")
            for n in names:
                f.write(f"  - {n}\n")
            f.write("golden:\n  tolerance: 1e-6\n  rows:\n")
            for row in pick(cases, names):
                cells = ", ".join(row[n] if row[n] != "" else "null" for n in names)
                f.write(f"    - input: [{cells}]\n      output: [{row[column]}]\n")
    digits(data / "digits")
    for name, (serve, also) in POLICIES.items():
        with open(HERE / name / "policy.yaml", "w") as f:
            f.write("# Which versions are loaded and which one answers. A folder that is not named here is not served.\n")
            f.write(f'serve: "{serve}"\n')
            if also:
                f.write("also: [" + ", ".join(f'"{v}"' for v in also) + "]\n")


main()
