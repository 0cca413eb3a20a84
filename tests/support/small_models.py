"""Configs of servers whose jobs take no time."""

FETCHING = """
[fetch]
allow = ["127.0.0.1"]
"""

SMALL_MODELS = (
    FETCHING
    + """
[aliases.small]
model = "sora2-landscape-10s"
defaults = { width = 128, height = 96, duration = 1.0 }

[aliases.small-25s]
model = "sora2-landscape-25s"
defaults = { width = 128, height = 96 }

[aliases.sora2-portrait-25s]
model = "preview"
defaults = { width = 96, height = 128, duration = 1.0, fps = 30.0 }

[aliases.small-chat]
model = "ltx2_landscape"
defaults = { width = 128, height = 96, num_frames = 17 }

[aliases.sora-2]
model = "sora-2"
defaults = { width = 128, height = 96, duration = 1.0 }

[aliases.endless]
model = "sora2-landscape-25s"
defaults = { num_inference_steps = 1000 }
"""
)
"""Small ones for sora2api ("small", "small-25s"), openai-chat ("small-chat") and openai-videos ("sora-2").

"sora2-portrait-25s", a name of sora2api's catalogue, is given to a model of no catalogue.

"endless" goes on until it is cancelled.
"""

PRINTED_NAMES = FETCHING + "".join(
    f'[aliases."{name}"]\nmodel = "{name}"\ndefaults = {{ width = 128, height = 96 }}\n'
    for name in ("sora2-landscape-10s", "ltx2_landscape", "sora-2")
)
"""Names that documents print, for small videos of the length that each name says."""

KEYS = {"alice": "alice-s3cret", "bob": "bob-s3cret"}
"""Names of API keys, each with the key."""
