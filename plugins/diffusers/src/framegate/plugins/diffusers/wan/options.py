"""The options that only Wan has."""

from typing import Literal

from framegate.plugins.diffusers.options import Options


class WanOptions(Options, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Wan's options.

    ``schedule``: "distilled" is for weights or LoRAs that were distilled to four steps: Euler's method over
    the noise levels that they have learnt (``flow_shift`` 5 unless it is given).
    ``guidance_scale_2``: guidance of the low-noise transformer, in models that have one; None is its
    authors', at most the request's.
    """

    schedule: Literal["full", "distilled"] = "full"
    guidance_scale_2: float | None = None
