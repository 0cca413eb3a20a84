"""What diffusers and torch read from the environment when they are imported. Neither is imported here."""

import os


def set_library_defaults() -> None:
    """Set what suits a worker and the operator has not set; call it before diffusers and torch are imported.

    Shards of a model are read in parallel (transformers does so by itself). CUDA's allocator grows its
    segments, so that jobs of different sizes don't leave memory in pieces that fit nothing.
    """
    os.environ.setdefault("HF_ENABLE_PARALLEL_LOADING", "YES")
    if "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:  # the older name
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
