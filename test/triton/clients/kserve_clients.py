"""The clients of KServe's own SDK. It brings the messages of the protocol under the names that tritonclient's have, so the
two cannot be in one process."""

import asyncio

import grpc
import httpx
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

from reference import GRPC, HTTP, check, close, done, models

full, second, lite, mini = models()
BASE = "http://" + HTTP


def request(model, binary):
    tensor = InferInput(name="input", shape=list(model.rows.shape), datatype="FP32")
    tensor.set_data_from_numpy(model.rows, binary_data=binary)
    return InferRequest(model_name=model.name, infer_inputs=[tensor], request_id="id-7", parameters={"binary_data_output": binary})


async def over_rest():
    c = InferenceRESTClient(RESTConfig(protocol="v2"))
    check(await c.is_server_live(BASE) and await c.is_server_ready(BASE) and await c.is_model_ready(BASE, "loan-mini"), "ready")
    check(not await c.is_model_ready(BASE, "nobody"), "what is not there is not ready")
    for binary in (False, True):
        answer = await c.infer(BASE, request(mini, binary), model_name="loan-mini")
        check((answer.id, answer.model_name) == ("id-7", "loan-mini"), answer)  # the client itself drops the version
        close(answer.outputs[0].as_numpy(), mini.expected, f"REST, binary: {binary}")
    try:
        await c.infer(BASE, request(mini, True), model_name="nobody")
        raise AssertionError("an unknown model answers")
    except httpx.HTTPStatusError as e:
        check(e.response.status_code == 404 and "nobody" in str(e), e)
    await c.close()


async def over_grpc():
    async with InferenceGRPCClient(GRPC) as c:
        check(await c.is_server_live() and await c.is_server_ready() and await c.is_model_ready("loan-mini"), "ready")
        for binary in (False, True):  # typed contents, and raw
            answer = await c.infer(request(mini, binary))
            check((answer.id, answer.model_name, answer.model_version) == ("id-7", "loan-mini", "1"), answer)
            close(answer.outputs[0].as_numpy(), mini.expected, f"gRPC, binary: {binary}")
        try:
            await c.infer(InferRequest(model_name="nobody", infer_inputs=request(mini, True).inputs))
            raise AssertionError("an unknown model answers")
        except grpc.RpcError as e:
            check(e.code() == grpc.StatusCode.NOT_FOUND and "nobody" in e.details(), e)


asyncio.run(over_rest())
asyncio.run(over_grpc())
done()
