#!/usr/bin/env python3
"""A worker in Python: serves a perceptron (relu, softmax) saved by numpy.savez as w1, b1, w2, b2; format "npz".
docs/worker-protocol.md is what it follows. Each lane is a thread; numpy lets others run while it multiplies."""
import io, json, math, os, signal, socket, struct, sys, threading, time
import numpy as np

HEADER, CALL, ANSWER, TENSOR = struct.Struct("<4sB3sQI4s"), struct.Struct("<Q16s8sBBH4s"), struct.Struct("<IHxx"), struct.Struct("<BBH4sQ")
HELLO, LOAD, LOADED, PING, PONG, CANCEL, DRAIN, CALLED, ANSWERED, FAILURE = 1, 2, 3, 4, 5, 6, 7, 16, 17, 18
INVALID, EXPIRED, FAILED, UNSUPPORTED, REFUSED = 1, 2, 4, 5, 6
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 2, 8: 4, 9: 8, 10: 2, 11: 4, 12: 8, 13: 0, 14: 2}  # of datatypes; 13 is BYTES
MAGIC, CONTROL_BYTES, FP32, BYTES, ENGINE = b"DGW\x01", 1 << 20, 11, 13, f"numpy {np.__version__}"

class Failure(Exception):
    """Is told to the service: a code and a message."""
def need(condition, what):
    if not condition:  # the service breaks the protocol: ends the process
        raise ValueError(what)
def expect(condition, code, message):
    if not condition:
        raise Failure(code, message)

def read(sock, n, first=False):
    data, done = bytearray(n), 0
    while done < n:
        got = sock.recv_into(memoryview(data)[done:])
        if got == 0 and first and done == 0:
            return None  # the end, between two frames
        need(got, "a socket ends within a frame")
        done += got
    return data

def frame(sock, limit):
    """The next frame as (type, id, body); None at the end."""
    if (head := read(sock, HEADER.size, first=True)) is None:
        return None
    magic, kind, zeros, ident, length, more = HEADER.unpack(head)
    need(magic == MAGIC and not any(zeros + more) and length <= limit, f"{bytes(head)!r} is no frame, or one of more than {limit} bytes")
    return kind, ident, read(sock, length)

def send(sock, ident, kind, body):
    body = json.dumps(body).encode() if isinstance(body, dict) else body
    sock.sendall(HEADER.pack(MAGIC, kind, bytes(3), ident, len(body), bytes(4)) + body)

def failure(code, message):
    return FAILURE, struct.pack("<H6x", code) + message.encode()[:4096].decode(errors="ignore").encode()

def parse(body):
    """A CALL's time left in seconds (0: any) and its tensors, name → (datatype, shape, data)."""
    left, _trace, _span, _flags, zero, count, zeros = CALL.unpack_from(body)
    need(zero == 0 and not any(zeros) and count <= 1024, "the head of a CALL is wrong")
    at, tensors = CALL.size, {}
    for _ in range(count):
        datatype, rank, name_bytes, zeros, size = TENSOR.unpack_from(body, at)
        named = at + TENSOR.size + 8 * rank
        name_end, data = named + name_bytes, named + name_bytes + -name_bytes % 8
        end, after = data + size, data + size + -size % 8
        need(datatype in SIZES and rank <= 8 and 1 <= name_bytes <= 256 and after <= len(body), "the head of a tensor is wrong")
        need(not any(zeros + body[name_end:data] + body[end:after]), "padding is not zero")
        shape = struct.unpack_from(f"<{rank}q", body, at + TENSOR.size)
        need(all(d >= 0 for d in shape) and math.prod(d for d in shape if d) < 1 << 59, f"dimensions {shape}")
        need(datatype == BYTES or math.prod(shape) * SIZES[datatype] == size, f"{size} bytes of data for {shape}")
        name = body[named:name_end].decode()
        need(name not in tensors, f"two tensors are called {name}")
        tensors[name], at = (datatype, shape, memoryview(body)[data:end]), after
    need(at == len(body), "bytes follow the last tensor")
    return left / 1e6, tensors

def compute(model, tensors):
    expect(set(tensors) == {"image"}, INVALID, f"inputs {sorted(tensors)}; image was expected")
    (datatype, shape, data), width = tensors["image"], len(model["w1"])
    expect(datatype == FP32 and len(shape) == 2 and shape[1] == width, INVALID, f"image is {datatype} {list(shape)}; FP32 (11) [-1, {width}] was expected")
    logits = np.maximum(np.frombuffer(data, "<f4").reshape(shape) @ model["w1"] + model["b1"], 0) @ model["w2"] + model["b2"]
    e = np.exp(logits - logits.max(axis=1, keepdims=True)) if len(logits) else logits
    return (e / e.sum(axis=1, keepdims=True)).astype("<f4")

def answer(model, left, tensors, began):
    try:
        out = compute(model, tensors)
        expect(not left or time.monotonic() - began < left, EXPIRED, "the call's time was up")
    except Exception as e:
        return failure(*e.args) if isinstance(e, Failure) else failure(FAILED, repr(e))
    name, data = b"probabilities", out.tobytes()
    body = ANSWER.pack(int((time.monotonic() - began) * 1e6), 1) + TENSOR.pack(FP32, 2, len(name), bytes(4), len(data)) + struct.pack("<2q", *out.shape)
    return ANSWERED, body + name + bytes(-len(name) % 8) + data + bytes(-len(data) % 8)

def serve(lane, model, limit, state):  # one call after another, until the lane ends
    try:
        while (message := frame(lane, limit)) is not None:
            began, (kind, ident, body) = time.monotonic(), message
            need(kind == CALLED, f"type {kind} on a lane")
            state["in_flight"] = 1
            said = answer(model, *parse(body), began)
            state.update(in_flight=0, calls=state["calls"] + 1)
            send(lane, ident, *said)
    except Exception as e:
        end(2, repr(e))

def load(request):
    fd, size, options = request["fd"], request["bytes"], request.get("options")
    expect(not options, REFUSED, f"unknown options: {options}; there are none")
    expect(request["format"] == "npz", REFUSED, f"format {request['format']!r} is not npz")
    expect(os.fstat(fd).st_size == size, REFUSED, f"the model has {os.fstat(fd).st_size} bytes, not {size}")
    arrays = np.load(io.BytesIO(os.pread(fd, size, 0)), allow_pickle=False)  # not read(): others share the descriptor's position
    model = {name: arrays[name].astype("f4") for name in ("w1", "b1", "w2", "b2")}
    compute(model, {"image": (FP32, (1, len(model["w1"])), bytes(4 * len(model["w1"])))})  # shapes that do not fit fail here
    os.close(fd)
    return model

def main():
    [signal.signal(s, signal.SIG_IGN) for s in (signal.SIGTERM, signal.SIGINT)]
    control, limit, threads = socket.socket(fileno=3), 0, []
    lanes = [socket.socket(fileno=4 + i) for i in range(int(os.environ["DOUGONG_WORKER_LANES"]))]
    states = [{"calls": 0, "in_flight": 0} for _ in lanes]
    while (message := frame(control, CONTROL_BYTES)) is not None:
        (kind, ident, body), request = message, json.loads(message[2] or b"{}")
        try:
            if kind == HELLO and not limit:
                expect(1 in request["versions"], UNSUPPORTED, f"this worker speaks version 1, not {request['versions']}")
                limit = request["max_frame_bytes"]
                send(control, ident, HELLO, {"version": 1, "name": "numpy-worker", "build": "1", "engine": ENGINE})
            elif kind == LOAD and limit and not threads:
                try:
                    model = load(request)
                except Exception as e:
                    raise e if isinstance(e, Failure) else Failure(REFUSED, repr(e))
                threads = [threading.Thread(target=serve, args=(lane, model, limit, state), daemon=True) for lane, state in zip(lanes, states)]
                [t.start() for t in threads]
                tensor = lambda name, side: [{"name": name, "datatype": "FP32", "shape": [-1, len(side)]}]
                send(control, ident, LOADED, {"inputs": tensor("image", model["w1"]), "outputs": tensor("probabilities", model["b2"]), "engine": ENGINE, "parallel": True})
            elif kind == PING:
                rss = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
                send(control, ident, PONG, {"rss_bytes": rss, "threads": threading.active_count()} | {k: sum(s[k] for s in states) for k in states[0]})
            elif kind == DRAIN:
                threading.Thread(target=lambda: ([t.join() for t in threads], end(0, "drained")), daemon=True).start()
            else:
                need(kind == CANCEL, f"type {kind} on the control socket")  # a call of this model is over before a CANCEL helps
        except Failure as f:
            send(control, ident, *failure(*f.args))
            end(1, f.args[1])
    end(3, "the service is gone")

def end(code, why):
    print(why, file=sys.stderr, flush=True)
    os._exit(code)  # now, whatever other threads compute

if __name__ == "__main__":
    try:
        main()
    except Exception as e:  # most are the service's breach of the protocol
        end(2, repr(e))
