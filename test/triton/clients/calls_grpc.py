"""Every call of tritonclient.grpc that means something here, and what those say that do not."""

import queue

import numpy as np
import tritonclient.grpc as client
from tritonclient.grpc import service_pb2

from reference import GRPC, check, close, done, models, refused

full, second, lite, mini = models()
c = client.InferenceServerClient(GRPC)


def tensor(rows, name="input", datatype="FP32"):
    t = client.InferInput(name, list(rows.shape), datatype)
    t.set_data_from_numpy(rows)
    return [t]


def output(name="output", **how):
    return [client.InferRequestedOutput(name, **how)]


INVALID, ABSENT, UNKNOWN = "StatusCode.INVALID_ARGUMENT", "StatusCode.NOT_FOUND", "StatusCode.UNIMPLEMENTED"

# What there is.
check(c.is_server_live() and c.is_server_ready(), "live and ready")
check(c.is_model_ready("loan-default") and c.is_model_ready("loan-default", "2"), "models ready")
check(not c.is_model_ready("nobody") and not c.is_model_ready("loan-default", "9"), "what is not there is not ready")
m = c.get_server_metadata()
check(m.name == "dougong" and m.version and "binary_tensor_data" in m.extensions, m)
for version, want in (("", ["1", "2"]), ("2", ["2"])):
    m = c.get_model_metadata("loan-default", version)
    check(m.name == "loan-default" and sorted(m.versions) == want and m.platform == "dougong_tree", m)
    check([(t.name, t.datatype, list(t.shape)) for t in m.inputs] == [("input", "FP32", [-1, 72])], m)
    check([(t.name, t.datatype, list(t.shape)) for t in m.outputs] == [("output", "FP32", [-1, 1])], m)
m = c.get_model_metadata("loan-mini", as_json=True)
check(m["inputs"][0]["shape"] == ["-1", "2"], m)
config = c.get_model_config("loan-mini", "1").config
check(config.name == "loan-mini" and config.max_batch_size > 0 and config.platform == "dougong_tree", config)
check([(t.name, t.data_type, list(t.dims)) for t in config.input] == [("input", client.model_config_pb2.TYPE_FP32, [2])], config)
check([(t.name, t.data_type, list(t.dims)) for t in config.output] == [("output", client.model_config_pb2.TYPE_FP32, [1])], config)
index = c.get_model_repository_index()
check({(i.name, i.version, i.state) for i in index.models} == {(x.name, x.version, "READY") for x in (full, second, lite, mini)}, index)

# Asking a model.
rows, want = mini.rows[:16], mini.expected[:16]
before = c.get_inference_statistics("loan-mini").model_stats[0]
results = queue.Queue()


def asynchronously(**how):
    c.async_infer("loan-mini", tensor(rows), lambda result, error: results.put(error or result), **how)
    result = results.get(timeout=30)
    if isinstance(result, Exception):
        raise result
    return result


for name, call in {
    "plain": lambda: c.infer("loan-mini", tensor(rows)),
    "version": lambda: c.infer("loan-mini", tensor(rows), model_version="1"),
    "an output by name": lambda: c.infer("loan-mini", tensor(rows), outputs=output()),
    "FP64": lambda: c.infer("loan-mini", tensor(rows.astype(np.float64), datatype="FP64")),
    "gzip": lambda: c.infer("loan-mini", tensor(rows), compression_algorithm="gzip"),
    "deflate": lambda: c.infer("loan-mini", tensor(rows), compression_algorithm="deflate"),
    "what Triton alone has": lambda: c.infer("loan-mini", tensor(rows), priority=1, timeout=1_000_000, sequence_id=7, sequence_start=True, sequence_end=True, parameters={"mine": "x", "n": 3, "b": True}),
    "headers": lambda: c.infer("loan-mini", tensor(rows), headers={"x-mine": "1"}),
    "time to spare": lambda: c.infer("loan-mini", tensor(rows), client_timeout=30),
    "asynchronous": asynchronously,
}.items():
    try:
        close(call().as_numpy("output"), want, name)
    except client.InferenceServerException as e:
        raise AssertionError(f"{name}: {e}") from None
after = c.get_inference_statistics("loan-mini", "1").model_stats[0]
count = after.inference_stats.success.count - before.inference_stats.success.count
check(count == 10 and after.inference_count - before.inference_count == 160, "statistics", count, before, after)
check(after.last_inference > 0 and after.inference_stats.success.ns > before.inference_stats.success.ns, after)
check(len(c.get_inference_statistics().model_stats) == 4, "statistics of all")

result = c.infer("loan-mini", tensor(rows), request_id="id-7")
answer = result.get_response()
check((answer.id, answer.model_name, answer.model_version) == ("id-7", "loan-mini", "1"), answer)
check(len(answer.raw_output_contents) == 1 and result.as_numpy("other") is None, answer)
close(c.infer("loan-default", tensor(full.rows), compression_algorithm="gzip").as_numpy("output"), full.expected, "all rows in gzip")

# Each datatype that numpy and the client know, as integers that all of them have.
whole = np.array([[1, 0], [0, 1]])
answers = {}
for datatype in ("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64"):
    values = whole.astype(client.triton_to_np_dtype(datatype))
    answers[datatype] = c.infer("loan-mini", tensor(values, datatype=datatype)).as_numpy("output").tolist()
check(all(a == answers["FP32"] for a in answers.values()) and len(answers) == 12, answers)
try:
    import ml_dtypes

    values = whole.astype(ml_dtypes.bfloat16)
    check(c.infer("loan-mini", tensor(values, datatype="BF16")).as_numpy("output").tolist() == answers["FP32"], "BF16")
except ImportError as e:
    raise AssertionError("ml_dtypes comes with the client") from e

# Contents instead of raw bytes: every field that there is.
for datatype, field in {
    "BOOL": "bool", "UINT8": "uint", "UINT32": "uint", "UINT64": "uint64", "INT8": "int", "INT32": "int",
    "INT64": "int64", "FP32": "fp32", "FP64": "fp64",
}.items():
    request = service_pb2.ModelInferRequest(model_name="loan-mini")
    t = request.inputs.add(name="input", datatype=datatype, shape=[2, 2])
    getattr(t.contents, field + "_contents").extend(whole.flatten().tolist())
    answer = c._client_stub.ModelInfer(request)
    got = [[v] for v in answer.outputs[0].contents.fp32_contents]
    check(got == answers["FP32"], datatype, "in contents:", got)

# What is refused, in our words.
refused(lambda: c.infer("nobody", tensor(rows)), ABSENT, "nobody")
refused(lambda: c.infer("loan-mini", tensor(rows), model_version="9"), ABSENT, "9", "loan-mini")
refused(lambda: c.get_model_metadata("nobody"), ABSENT, "nobody")
refused(lambda: c.get_model_config("loan-mini", "9"), ABSENT, "9")
refused(lambda: c.get_inference_statistics("nobody"), ABSENT, "nobody")
refused(lambda: c.infer("loan-mini", tensor(np.zeros((2, 3), np.float32))), INVALID, "shape", "input")
refused(lambda: c.infer("loan-mini", tensor(np.zeros((0, 2), np.float32))), INVALID, "shape")
refused(lambda: c.infer("loan-mini", tensor(rows, name="x")), INVALID, '"x"')
refused(lambda: c.infer("loan-mini", tensor(rows) + tensor(rows)), INVALID, "input")
refused(lambda: c.infer("loan-mini", tensor(rows[:, 0], name="int_rate")), INVALID, "revol_util")
refused(lambda: c.infer("loan-mini", tensor(np.array([["a", "b"]], object), datatype="BYTES")), INVALID, "BYTES")
refused(lambda: c.infer("loan-mini", tensor(rows), outputs=output("x")), INVALID, '"x"')
refused(lambda: c.infer("loan-mini", tensor(rows), outputs=output() + output()), INVALID, "output")
refused(lambda: c.infer("loan-mini", tensor(rows), outputs=output(class_count=2)), INVALID, "classification")
shared = client.InferInput("input", [1, 2], "FP32")
shared.set_shared_memory("region", 8)
refused(lambda: c.infer("loan-mini", [shared]), INVALID, "shared_memory")
refused(lambda: c.infer("loan-mini", tensor(np.zeros((20_000, 2), np.float32))), "StatusCode.RESOURCE_EXHAUSTED", "rows")
refused(lambda: c.infer("loan-mini", tensor(np.zeros((1_200_000, 2), np.float32))), "StatusCode.RESOURCE_EXHAUSTED")  # over the message limit
refused(lambda: c.load_model("loan-mini"), UNKNOWN, "restart")
refused(lambda: c.load_model("loan-mini", config="{}", files={"file:1/model.json": b"{}"}), UNKNOWN, "restart")
refused(lambda: c.unload_model("loan-mini"), UNKNOWN, "restart")
refused(lambda: c.load_model("nobody"), UNKNOWN, "policy.yaml")
for call in (c.get_trace_settings, c.get_log_settings, c.get_system_shared_memory_status, c.get_cuda_shared_memory_status):
    refused(call, UNKNOWN)
refused(lambda: c.update_log_settings({"log_info": True}), UNKNOWN)
refused(lambda: c.register_system_shared_memory("r", "/k", 8), UNKNOWN)

c.start_stream(lambda result, error: results.put(error or result))
try:
    c.async_stream_infer("loan-mini", tensor(rows))
except client.InferenceServerException:
    pass  # the stream has ended already; the callback has the reason
error = results.get(timeout=30)
check(isinstance(error, client.InferenceServerException) and error.status() == UNKNOWN, "a stream:", error)
c.stop_stream()

# A client that waits for less than the answer takes. loan-lite is held up by the test.
one = tensor(lite.rows[:1])
refused(lambda: c.infer("loan-lite", one, client_timeout=0.2), "StatusCode.DEADLINE_EXCEEDED", "eadline")  # whoever sees it first, the client or the server
c.async_infer("loan-lite", one, lambda result, error: results.put(error or result), client_timeout=0.2)
error = results.get(timeout=30)
check(isinstance(error, client.InferenceServerException) and "DEADLINE_EXCEEDED" in error.status(), "asynchronous:", error)
call = c.async_infer("loan-lite", one, lambda result, error: results.put(error or result))
call.cancel()
error = results.get(timeout=30)
check(isinstance(error, client.InferenceServerException) and "CANCELLED" in error.status(), "cancelled:", error)
close(c.infer("loan-mini", tensor(rows)).as_numpy("output"), want, "after the time-outs")

c.close()
done()
