"""A real encoder, ZeRO-3 as a trainer leaves it behind, and a server of embeddings."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest


@pytest.fixture(scope="session")
def folder(minilm):
    """The real all-MiniLM-L6-v2."""
    return minilm


@pytest.fixture
def zero3():
    """DeepSpeed's ZeRO-3 as TrainingArguments leave it behind while they live."""
    from transformers.integrations import deepspeed

    class Zero3:
        def __init__(self):
            self.config = {"train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": 3}}

        def is_zero3(self):
            return True

    config = Zero3()
    deepspeed.set_hf_deepspeed_config(config)
    yield deepspeed
    deepspeed.unset_hf_deepspeed_config()


class Server(ThreadingHTTPServer):
    """Embeds a text as its counts of a, b and c, plus one; ``plan`` holds what to do instead."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan, self.asked, self.keys = [], [], []
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    @staticmethod
    def vector(text):
        return [text.count(letter) + 1.0 for letter in "abc"]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert (self.path, body["model"]) == ("/v1/embeddings", "letters")
        server.asked.append(body["input"])
        server.keys.append(self.headers.get("Authorization"))
        step = server.plan.pop(0) if server.plan else None
        status, headers, reply = 200, {}, None
        if isinstance(step, int):
            status, reply = step, {"error": {"message": f"planned {step}"}}
        elif isinstance(step, tuple):
            status, headers = step
            reply = {}
        rows = [{"index": i, "embedding": Server.vector(t)} for i, t in enumerate(body["input"])]
        reply = {"data": rows} if reply is None else reply
        if callable(step):
            reply = step(reply)
        sent = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """A server of embeddings on this machine; ``server.plan`` makes its next answers go wrong."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cosine():
    """Cosine similarity of two vectors."""
    return lambda a, b: float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
