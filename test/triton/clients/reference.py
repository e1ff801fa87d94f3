"""What all scripts here share: the server's addresses, and the rows of examples/data with the answers that the training
library gave to them."""

import csv
import os
import pathlib

import numpy as np

HTTP = os.environ["OIP_HTTP"]  # host:port
GRPC = os.environ["OIP_GRPC"]
DATA = pathlib.Path(__file__).resolve().parents[3] / "examples" / "data"

TOLERANCE = 1e-6


class Model:
    def __init__(self, name, version, file, expected):
        self.name, self.version = name, version
        with open(DATA / file, newline="") as f:
            rows = list(csv.DictReader(f))
        answers = {"label", "full", "lite", "v2", "expected"}
        self.features = [c for c in rows[0] if c not in answers]
        cells = [[float(r[c]) if r[c] else np.nan for c in self.features] for r in rows]
        self.rows = np.array(cells, dtype=np.float32)
        self.expected = np.array([float(r[expected]) for r in rows])


def models():
    loans = "loan-default/cases.csv"
    return [
        Model("loan-default", "1", loans, "full"),
        Model("loan-default", "2", loans, "v2"),
        Model("loan-lite", "1", loans, "lite"),
        Model("loan-mini", "1", "loan-mini/cases.csv", "expected"),
    ]


checks = 0


def check(ok, *what):
    """What does not hold ends the script; the test counts what held."""
    global checks
    checks += 1
    if not ok:
        raise AssertionError(" ".join(str(w) for w in what))


def close(got, want, what):
    got = np.asarray(got, dtype=np.float64)
    check(got.shape == (len(want), 1), what, "shape", got.shape, "for", len(want), "rows")
    worst = np.abs(got[:, 0] - want).max()
    check(worst <= TOLERANCE, what, "differs by", worst)


def refused(call, status, *words):
    """The call must raise the client's own exception, with our text in it."""
    from tritonclient.utils import InferenceServerException

    try:
        call()
    except InferenceServerException as e:
        check(e.status() == status, "status", e.status(), "is not", status, "of", e.message())
        for word in words:
            check(word in e.message(), repr(word), "is not in:", e.message())
        return
    raise AssertionError(f"not refused; {status} {words} expected")


def done():
    print(f"{checks} checks")
