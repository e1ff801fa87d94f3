"""Every call of tritonclient.http that means something here, and what those say that do not."""

import gzip
import http.client
import json

import numpy as np
import tritonclient.http as client

from reference import HTTP, check, close, done, models, refused

full, second, lite, mini = models()
c = client.InferenceServerClient(HTTP, concurrency=4)


def tensor(model, rows, name="input", datatype="FP32", **how):
    t = client.InferInput(name, list(rows.shape), datatype)
    t.set_data_from_numpy(rows, **how)
    return [t]


def output(binary=True, name="output", **how):
    return [client.InferRequestedOutput(name, binary_data=binary, **how)]


# What there is.
check(c.is_server_live() and c.is_server_ready(), "live and ready")
check(c.is_model_ready("loan-default") and c.is_model_ready("loan-default", "2"), "models ready")
check(not c.is_model_ready("nobody") and not c.is_model_ready("loan-default", "9"), "what is not there is not ready")
m = c.get_server_metadata()
check(m["name"] == "dougong" and m["version"] and "binary_tensor_data" in m["extensions"], m)
for version, want in (("", ["1", "2"]), ("2", ["2"])):
    m = c.get_model_metadata("loan-default", version)
    check(m["name"] == "loan-default" and sorted(m["versions"]) == want and m["platform"] == "dougong_tree", m)
    check(m["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 72]}], m)
    check(m["outputs"] == [{"name": "output", "datatype": "FP32", "shape": [-1, 1]}], m)
config = c.get_model_config("loan-mini", "1")
check(config["name"] == "loan-mini" and config["max_batch_size"] > 0, config)
check(config["input"] == [{"name": "input", "data_type": "TYPE_FP32", "dims": [2]}], config)
index = c.get_model_repository_index()
check({(i["name"], i["version"], i["state"]) for i in index} == {(x.name, x.version, "READY") for x in (full, second, lite, mini)}, index)

# Asking a model.
rows, want = mini.rows[:16], mini.expected[:16]
before = c.get_inference_statistics("loan-mini")["model_stats"][0]
for name, call in {
    "plain": lambda: c.infer("loan-mini", tensor(mini, rows)),
    "version": lambda: c.infer("loan-mini", tensor(mini, rows), model_version="1"),
    "an output by name": lambda: c.infer("loan-mini", tensor(mini, rows), outputs=output()),
    "an output as JSON": lambda: c.infer("loan-mini", tensor(mini, rows), outputs=output(False)),
    "FP64": lambda: c.infer("loan-mini", tensor(mini, rows.astype(np.float64), datatype="FP64")),
    "gzip": lambda: c.infer("loan-mini", tensor(mini, rows), request_compression_algorithm="gzip"),
    "deflate": lambda: c.infer("loan-mini", tensor(mini, rows), request_compression_algorithm="deflate"),
    "gzip and JSON": lambda: c.infer("loan-mini", tensor(mini, rows, binary_data=False), request_compression_algorithm="gzip"),
    "answered in gzip": lambda: c.infer("loan-mini", tensor(mini, rows), response_compression_algorithm="gzip"),
    "answered in deflate": lambda: c.infer("loan-mini", tensor(mini, rows), response_compression_algorithm="deflate"),
    "what Triton alone has": lambda: c.infer("loan-mini", tensor(mini, rows), priority=1, timeout=1_000_000, sequence_id=7, sequence_start=True, sequence_end=True, parameters={"mine": "x", "n": 3}),
    "headers and a query": lambda: c.infer("loan-mini", tensor(mini, rows), headers={"X-Mine": "1"}, query_params={"a": "b"}),
    "asynchronous": lambda: c.async_infer("loan-mini", tensor(mini, rows)).get_result(),
}.items():
    close(call().as_numpy("output"), want, name)
after = c.get_inference_statistics("loan-mini", "1")["model_stats"][0]
count = after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"]
check(count == 13 and after["inference_count"] - before["inference_count"] == 13 * 16, "statistics", count, before, after)
check(len(c.get_inference_statistics()["model_stats"]) == 4, "statistics of all")

result = c.infer("loan-mini", tensor(mini, rows), request_id="id-7")
check(result.get_response()["id"] == "id-7", result.get_response())
check((result.get_response()["model_name"], result.get_response()["model_version"]) == ("loan-mini", "1"), result.get_response())
check(result.as_numpy("other") is None and result.get_output("other") is None, "an output that there is not")

# A long answer is compressed for who takes gzip; http.client inflates nothing by itself, and shows it.
many, expected = np.tile(mini.rows, (30, 1)), np.tile(mini.expected, 30)
body, header = c.generate_request_body(tensor(mini, many), outputs=output(False))
plain = http.client.HTTPConnection(HTTP)
for accepted, want_coding in (("gzip", "gzip"), ("deflate", None), ("", None)):
    plain.request("POST", "/v2/models/loan-mini/infer", body, {"Inference-Header-Content-Length": str(header), "Accept-Encoding": accepted})
    answer = plain.getresponse()
    data = answer.read()
    check(answer.getheader("Content-Encoding") == want_coding, accepted, "answered as", answer.getheader("Content-Encoding"))
    got = json.loads(gzip.decompress(data) if want_coding else data)["outputs"][0]
    close(np.array(got["data"]).reshape(got["shape"]), expected, "answered to who takes " + accepted)
for coding in ("gzip", "deflate"):
    for binary in (True, False):
        result = c.infer("loan-mini", tensor(mini, many), outputs=output(binary), request_compression_algorithm=coding, response_compression_algorithm=coding)
        close(result.as_numpy("output"), expected, coding)

# A body that a caller sends by other means.
body, header = c.generate_request_body(tensor(mini, rows), request_id="8")
plain.request("POST", "/v2/models/loan-mini/infer", body, {"Inference-Header-Content-Length": str(header)})
answer = plain.getresponse()
close(c.parse_response_body(answer.read(), header_length=int(answer.getheader("Inference-Header-Content-Length"))).as_numpy("output"), want, "parse_response_body")

# What is refused, in our words.
refused(lambda: c.infer("nobody", tensor(mini, rows)), "404", "nobody")
refused(lambda: c.infer("loan-mini", tensor(mini, rows), model_version="9"), "404", "9", "loan-mini")
refused(lambda: c.get_model_metadata("nobody"), "404", "nobody")
refused(lambda: c.get_model_config("loan-mini", "9"), "404", "9")
refused(lambda: c.get_inference_statistics("nobody"), "404", "nobody")
refused(lambda: c.infer("loan-mini", tensor(mini, np.zeros((2, 3), np.float32))), "400", "shape", "input")
refused(lambda: c.infer("loan-mini", tensor(mini, np.zeros((0, 2), np.float32))), "400", "shape")
refused(lambda: c.infer("loan-mini", tensor(mini, rows, name="x")), "400", '"x"')
refused(lambda: c.infer("loan-mini", tensor(mini, rows) + tensor(mini, rows)), "400", "input")
refused(lambda: c.infer("loan-mini", tensor(mini, rows[:, 0], name="int_rate")), "400", "revol_util")
refused(lambda: c.infer("loan-mini", tensor(mini, np.array([["a", "b"]], object), datatype="BYTES")), "400", "BYTES")
refused(lambda: c.infer("loan-mini", tensor(mini, rows), outputs=output(name="x")), "400", '"x"')
refused(lambda: c.infer("loan-mini", tensor(mini, rows), outputs=output() + output()), "400", "output")
refused(lambda: c.infer("loan-mini", tensor(mini, rows), outputs=output(class_count=2)), "400", "classification")
shared = [client.InferInput("input", [1, 2], "FP32").set_shared_memory("region", 8)]
refused(lambda: c.infer("loan-mini", shared), "400", "shared_memory")
refused(lambda: c.infer("loan-mini", tensor(mini, np.zeros((20_000, 2), np.float32))), "413", "rows")
refused(lambda: c.infer("loan-mini", tensor(mini, rows), headers={"X-Request-Timeout": "1us"}), "504", "deadline")
refused(lambda: c.load_model("loan-mini"), "501", "restart")
refused(lambda: c.load_model("loan-mini", config="{}", files={"file:1/model.json": b"{}"}), "501", "restart")
refused(lambda: c.unload_model("loan-mini"), "501", "restart")
refused(lambda: c.unload_model("loan-mini", unload_dependents=True), "501", "restart")
refused(lambda: c.load_model("nobody"), "501", "policy.yaml")
for call in (c.get_trace_settings, c.get_log_settings, c.get_system_shared_memory_status, c.get_cuda_shared_memory_status):
    refused(call, "404")
refused(lambda: c.update_log_settings({"log_info": True}), "404")
refused(lambda: c.register_system_shared_memory("r", "/k", 8), "404")
refused(lambda: c.async_infer("nobody", tensor(mini, rows)).get_result(), "404", "nobody")

# A client that waits for less than the answer takes. loan-lite is held up by the test.
hasty = client.InferenceServerClient(HTTP, network_timeout=0.2)
try:
    hasty.infer("loan-lite", tensor(lite, lite.rows[:1]))
    raise AssertionError("no time-out")
except TimeoutError as e:
    check(True, e)
hasty.close()
close(c.infer("loan-mini", tensor(mini, rows)).as_numpy("output"), want, "after the time-out")

c.close()
done()
