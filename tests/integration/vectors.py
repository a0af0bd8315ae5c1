"""vectors.py: embeddings to send, in the two forms that the interface takes."""

import base64
import math
import random
import struct

DIMENSIONS = 1536


def random_vector(seed):
    rng = random.Random(seed)
    return as_float32([rng.gauss(0, 1) for _ in range(DIMENSIONS)])


def unit(position, value=1.0):
    vector = [0.0] * DIMENSIONS
    vector[position] = value
    return vector


def octets(vector):
    """Little-endian float32, as in an application/octet-stream body."""
    return struct.pack(f"<{len(vector)}f", *vector)


def as_float32(vector):
    """The same numbers, as exact as a float32 holds them."""
    return list(struct.unpack(f"<{len(vector)}f", octets(vector)))


def base64_of(vector):
    return base64.b64encode(octets(vector)).decode()


def cosine(a, b):
    dot = math.fsum(x * y for x, y in zip(a, b))
    return dot / math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))
