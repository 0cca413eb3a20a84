"""Random numbers that depend on nothing but what they are for."""

import hashlib

import numpy as np


def random_for(*purpose: object) -> np.random.Generator:
    """The generator for a purpose, such as ``("clouds", prompt, seed)``: the same one on every machine."""
    text = "\x1f".join(str(part) for part in purpose)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
