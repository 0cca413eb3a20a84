"""The options that only Wan has."""

from framegate.plugins.diffusers.options import Options


class WanOptions(Options, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Wan's options.

    ``guidance_scale_2``: guidance of the low-noise transformer, in models that have one; None is the
    request's.
    """

    guidance_scale_2: float | None = None
