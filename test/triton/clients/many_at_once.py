"""Many requests at once, each checked: 1, 4, 16 and 64 of them on tritonclient.http and on tritonclient.grpc."""

import sys
import threading
import time

import tritonclient.grpc
import tritonclient.http

from reference import GRPC, HTTP, close, done, models

SECONDS = float(sys.argv[1])
BATCH = 8

full, second, lite, mini = models()


def requests(kind):
    """What the callers send in turn: the rows of two models, some of them each time."""
    found = []
    for model in (mini, lite):
        for i in range(0, 256, BATCH):
            rows = model.rows[i : i + BATCH]
            tensor = kind.InferInput("input", list(rows.shape), "FP32")
            tensor.set_data_from_numpy(rows)
            found.append((model.name, [tensor], model.expected[i : i + BATCH]))
    return found


def over_http(concurrency):
    sent = requests(tritonclient.http)
    answered = 0
    with tritonclient.http.InferenceServerClient(HTTP, concurrency=concurrency) as c:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            turn = [sent[(answered + i) % len(sent)] for i in range(concurrency)]
            pending = [c.async_infer(name, inputs) for name, inputs, _ in turn]
            for request, (name, _, want) in zip(pending, turn):
                close(request.get_result().as_numpy("output"), want, name)
            answered += concurrency
    return answered


def over_grpc(concurrency):
    sent = requests(tritonclient.grpc)
    answered, failed = [0] * concurrency, []
    with tritonclient.grpc.InferenceServerClient(GRPC) as c:
        end = time.monotonic() + SECONDS

        def caller(number):
            try:
                while time.monotonic() < end or not answered[number]:
                    name, inputs, want = sent[(number + answered[number]) % len(sent)]
                    close(c.infer(name, inputs).as_numpy("output"), want, name)
                    answered[number] += 1
            except BaseException as e:
                failed.append(e)

        threads = [threading.Thread(target=caller, args=(i,)) for i in range(concurrency)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failed:
        raise failed[0]
    return sum(answered)


for form in (over_http, over_grpc):
    for concurrency in (1, 4, 16, 64):
        print(f"{form.__name__}: {concurrency} at once: {form(concurrency)} answered", flush=True)
done()
