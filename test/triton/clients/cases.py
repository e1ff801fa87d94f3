"""Scores all rows of the reference data in each form that the protocol has, in batches and alone."""

import http.client
import json
import sys

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.grpc import service_pb2

from reference import GRPC, HTTP, close, done, models

BATCH, ALONE = 128, 200

plain = http.client.HTTPConnection(HTTP)
rest = tritonclient.http.InferenceServerClient(HTTP)
rpc = tritonclient.grpc.InferenceServerClient(GRPC)


def values(rows):
    """JSON has no NaN: a missing value is null."""
    return [None if np.isnan(v) else float(v) for v in rows.flatten()]


def post(model, inputs):
    path = f"/v2/models/{model.name}/versions/{model.version}/infer"
    plain.request("POST", path, json.dumps({"inputs": inputs}, allow_nan=False), {"Content-Type": "application/json"})
    answer = plain.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise AssertionError(f"{answer.status} {body[:300]}")
    out = json.loads(body)["outputs"][0]
    return np.array(out["data"], dtype=out["datatype"].replace("FP", "float")).reshape(out["shape"])


def json_flat(model, rows):
    return post(model, [{"name": "input", "datatype": "FP32", "shape": rows.shape, "data": values(rows)}])


def json_nested(model, rows):
    data = [values(r) for r in rows]
    return post(model, [{"name": "input", "datatype": "FP64", "shape": rows.shape, "data": data}])


def json_columns(model, rows):
    # In another order than that of the model, and in both shapes that a column may have.
    inputs = []
    for i in reversed(range(len(model.features))):
        shape = [len(rows), 1] if i % 2 else [len(rows)]
        inputs.append({"name": model.features[i], "datatype": "FP32", "shape": shape, "data": values(rows[:, i])})
    return post(model, inputs)


def tensors(kind, model, rows, **how):
    tensor = kind.InferInput("input", rows.shape, "FP32")
    tensor.set_data_from_numpy(rows, **how)
    return [tensor]


def columns(kind, model, rows, **how):
    inputs = []
    for i, name in enumerate(model.features):
        column = rows[:, i].astype(np.float64)
        tensor = kind.InferInput(name, column.shape, "FP64")
        tensor.set_data_from_numpy(column, **how)
        inputs.append(tensor)
    return inputs


def over_http(model, inputs, binary):
    output = tritonclient.http.InferRequestedOutput("output", binary_data=binary)
    result = rest.infer(model.name, inputs, model_version=model.version, outputs=[output])
    if ("data" in result.get_output("output")) == binary:
        raise AssertionError("the answer is not in the form that was asked for")
    return result.as_numpy("output")


def http_json(model, rows):
    return over_http(model, tensors(tritonclient.http, model, rows, binary_data=False), False)


def http_binary(model, rows):
    return over_http(model, tensors(tritonclient.http, model, rows, binary_data=True), True)


def http_binary_columns(model, rows):
    return over_http(model, columns(tritonclient.http, model, rows, binary_data=True), False)


def grpc_raw(model, rows):
    return rpc.infer(model.name, tensors(tritonclient.grpc, model, rows), model_version=model.version).as_numpy("output")


def grpc_raw_columns(model, rows):
    return rpc.infer(model.name, columns(tritonclient.grpc, model, rows), model_version=model.version).as_numpy("output")


def grpc_typed(model, rows):
    request = service_pb2.ModelInferRequest(model_name=model.name, model_version=model.version)
    tensor = request.inputs.add(name="input", datatype="FP32", shape=rows.shape)
    tensor.contents.fp32_contents.extend(rows.flatten().tolist())
    return typed_answer(request)


def grpc_typed_columns(model, rows):
    request = service_pb2.ModelInferRequest(model_name=model.name, model_version=model.version)
    for i, name in enumerate(model.features):
        tensor = request.inputs.add(name=name, datatype="FP64", shape=[len(rows)])
        tensor.contents.fp64_contents.extend(rows[:, i].tolist())
    return typed_answer(request)


def typed_answer(request):
    answer = rpc._client_stub.ModelInfer(request)
    if answer.raw_output_contents:
        raise AssertionError("a typed request had a raw answer")
    output = answer.outputs[0]
    return np.array(output.contents.fp32_contents, dtype=np.float32).reshape(output.shape)


forms = [
    json_flat, json_nested, json_columns,
    http_json, http_binary, http_binary_columns,
    grpc_typed, grpc_typed_columns, grpc_raw, grpc_raw_columns,
]

asked = sys.argv[1:]  # names of forms; without any: all
all_models = models()
for form in forms:
    if asked and form.__name__ not in asked:
        continue
    batched = alone = 0
    for model in all_models:
        what = f"{form.__name__} {model.name}/{model.version}"
        for i in range(0, len(model.rows), BATCH):
            close(form(model, model.rows[i : i + BATCH]), model.expected[i : i + BATCH], f"{what} from row {i}")
            batched += len(model.rows[i : i + BATCH])
        for i in range(0, len(model.rows), max(1, len(model.rows) // ALONE)):
            close(form(model, model.rows[i : i + 1]), model.expected[i : i + 1], f"{what} row {i}")
            alone += 1
    print(f"{form.__name__}: {batched} rows in batches, {alone} alone", flush=True)
done()
