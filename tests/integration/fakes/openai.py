"""openai.py: the embeddings call as OpenAI documents it: POST /v1/embeddings with a key, base64 or
numbers, its limits, its errors. A text's embedding is made of its words, so that texts with the same
words are near each other.

    with OpenAI() as openai:
        daemon = make_daemon(config=openai.config(), environment={"OPENAI_API_KEY": openai.key})
"""

import base64
import hashlib
import math
import re
import struct

from fakes.service import Service, answer

REFUSED = "UNACCEPTABLE"  # a text with this word gets 400
BYTES_MOST = 8192  # stands for tokens


def error(status, message, kind="invalid_request_error", code=None, headers=()):
    return answer(status, {"error": {"message": message, "type": kind, "param": None, "code": code}}, headers)


def embed(text, dimensions=1536, model=""):
    vector = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()) or [text]:
        digest = hashlib.sha256(f"{model} {word}".encode()).digest()
        for at in range(0, 32, 4):
            place = int.from_bytes(digest[at:at + 2], "little") % dimensions
            vector[place] += 1.0 if digest[at + 2] & 1 else -1.0
    length = math.sqrt(sum(x * x for x in vector)) or 1.0
    return [x / length for x in vector]


class OpenAI(Service):
    def __init__(self, key="sk-test-5ecret", models=("text-embedding-3-small", "text-embedding-3-large"),
                 dimensions=1536, numbers=False, **keywords):
        """numbers: it knows nothing of base64, as some servers do not. dimensions: what it gives where
        none are asked for."""
        super().__init__(**keywords)
        self.key, self.models, self.dimensions, self.numbers = key, models, dimensions, numbers
        self.inputs = []  # every text that was embedded, which is what is paid for
        self.batches = []
        self.headers = {}  # of each answer: rate limits
        self.spoil = None  # changes the data of an answer

    def config(self, more=""):
        return f"[embedding]\nprovider = openai\nbase_url = {self.url}/v1\n{more}\n"

    def handle(self, request):
        if request.path != "/v1/embeddings":
            return error(404, f"Unknown request URL: {request.method} {request.path}")
        if request.method != "POST":
            return error(405, "Not allowed")
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            return error(401, f"Incorrect API key provided: {given}. You can find your API key at ...",
                         code="invalid_api_key")
        body = request.json
        if body["model"] not in self.models:
            return error(404, f"The model `{body['model']}` does not exist", code="model_not_found")
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        if not texts or len(texts) > 2048 or "" in texts:
            return error(400, "'$.input' is invalid.")
        if sum(len(text.encode()) for text in texts) > 300000:
            return error(400, "Requested more than max 300000 tokens per request", code="max_tokens_per_request")
        for text in texts:
            if len(text.encode()) > BYTES_MOST or REFUSED in text:
                return error(400, "This model's maximum context length is 8192 tokens, however you requested more")
        with self.lock:
            self.inputs += texts
            self.batches.append(len(texts))
        dimensions = body.get("dimensions", self.dimensions)
        data = []
        for index, text in enumerate(texts):
            vector = embed(text, dimensions, body["model"])
            if body.get("encoding_format") == "base64" and not self.numbers:
                vector = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
            data.append({"object": "embedding", "index": index, "embedding": vector})
        if self.spoil:
            self.spoil(data)
        tokens = sum(len(text) // 4 + 1 for text in texts)
        return answer(200, {"object": "list", "data": data, "model": body["model"],
                            "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}, self.headers)
