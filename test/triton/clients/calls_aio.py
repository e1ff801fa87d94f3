"""The clients for asyncio, over HTTP and gRPC."""

import asyncio

import tritonclient.grpc.aio as over_grpc
import tritonclient.http.aio as over_http
from tritonclient.utils import InferenceServerException

from reference import GRPC, HTTP, check, close, done, models

full, second, lite, mini = models()


def tensor(client, rows):
    t = client.InferInput("input", list(rows.shape), "FP32")
    t.set_data_from_numpy(rows)
    return [t]


async def refused(call, status, word):
    try:
        await call
    except InferenceServerException as e:
        check(e.status() == status and word in e.message(), "refused with", e)
        return
    raise AssertionError(f"not refused; {status} {word} expected")


async def calls(client, address, not_found, unimplemented):
    field = (lambda m, name: m[name]) if client is over_http else getattr
    async with client.InferenceServerClient(address) as c:
        check(await c.is_server_live() and await c.is_server_ready() and await c.is_model_ready("loan-mini", "1"), "ready")
        check(field(await c.get_server_metadata(), "name") == "dougong", "server metadata")
        check(field(await c.get_model_metadata("loan-mini"), "platform") == "dougong_tree", "model metadata")
        config = await c.get_model_config("loan-mini")
        check((config if client is over_http else config.config), "config")
        check(field((await c.get_inference_statistics("loan-mini")), "model_stats"), "statistics")
        index = await c.get_model_repository_index()
        check(len(index if client is over_http else index.models) == 4, "index")
        answers = await asyncio.gather(*(c.infer(m.name, tensor(client, m.rows), model_version=m.version, request_id=str(i)) for i, m in enumerate([full, second, mini] * 4)))
        for answer, m in zip(answers, [full, second, mini] * 4):
            close(answer.as_numpy("output"), m.expected, f"{m.name}/{m.version}")
        await refused(c.infer("nobody", tensor(client, mini.rows)), not_found, "nobody")
        await refused(c.load_model("loan-mini"), *unimplemented)


async def main():
    await calls(over_http, HTTP, "404", ("501", "restart"))
    await calls(over_grpc, GRPC, "StatusCode.NOT_FOUND", ("StatusCode.UNIMPLEMENTED", "restart"))


asyncio.run(main())
done()
