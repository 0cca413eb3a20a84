"""Options that only Wan has."""

from framegate.plugins.diffusers.options import Options


class WanOptions(Options, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``guidance_scale_2``: guidance of the low-noise transformer, where there is one; None is that of the
    request."""

    guidance_scale_2: float | None = None
