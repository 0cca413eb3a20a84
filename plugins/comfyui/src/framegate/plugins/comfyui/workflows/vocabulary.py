"""What parameters are called: in requests, in titles, and as inputs of nodes."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import StrEnum


class Key(StrEnum):
    """What a request can set in a graph."""

    TEXT = "text"
    NEGATIVE_TEXT = "negative_text"
    IMAGE = "image"
    LAST_IMAGE = "last_image"
    VIDEO = "video"
    WIDTH = "width"
    HEIGHT = "height"
    NUM_FRAMES = "num_frames"
    DURATION = "duration"
    FPS = "fps"
    STEPS = "steps"
    CFG = "cfg"
    STRENGTH = "strength"
    SEED = "seed"
    NUM_OUTPUTS = "num_outputs"


MEDIA = frozenset({Key.IMAGE, Key.LAST_IMAGE, Key.VIDEO})

_SYNONYMS: Mapping[Key, str] = {
    Key.TEXT: "prompt positive positive_prompt positive_text",
    Key.NEGATIVE_TEXT: "negative negative_prompt",
    Key.IMAGE: "input_image init_image start_image first_image source_image first_frame start_frame img",
    Key.LAST_IMAGE: "end_image last_frame end_frame",
    Key.VIDEO: "input_video source_video",
    Key.NUM_FRAMES: "frames length frame_count video_length video_frames",
    Key.FPS: "frame_rate framerate",
    Key.STEPS: "num_inference_steps",
    Key.CFG: "guidance_scale cfg_scale guidance",
    Key.STRENGTH: "denoise",
    Key.SEED: "noise_seed seed_value",
    Key.NUM_OUTPUTS: "batch_size num_images",
}

_KEYS = {name: key for key in Key for name in (key.value, *_SYNONYMS.get(key, "").split())}

_INPUTS: Mapping[Key, str] = {
    Key.TEXT: "text prompt value string",
    Key.NEGATIVE_TEXT: "text prompt value string",
    Key.WIDTH: "width value",
    Key.HEIGHT: "height value",
    Key.IMAGE: "image file",
    Key.LAST_IMAGE: "image file",
    Key.VIDEO: "video file",
    Key.NUM_FRAMES: "num_frames length frames frames_number frame_count video_frames amount value",
    Key.DURATION: "duration seconds value",
    Key.FPS: "fps frame_rate value",
    Key.STEPS: "steps value",
    Key.CFG: "cfg guidance value",
    Key.STRENGTH: "strength denoise value",
    Key.SEED: "seed noise_seed seed_value value",
    Key.NUM_OUTPUTS: "batch_size amount value",
}


def key_of(name: str, class_type: str) -> Key | None:
    """What a parameter of this name means at such a node, if a request can set it."""
    if name == "amount" and class_type == "RepeatImageBatch":
        return Key.NUM_FRAMES
    return _KEYS.get(name.lower())


def closest_key(name: str) -> str:
    """The name of a key that ``name`` may have been meant to be; empty if none is near."""
    return closest(name, Key) or closest(name, _KEYS)


def closest(name: str, names: Iterable[str]) -> str:
    return next(iter(get_close_matches(name.lower(), list(names), 1, 0.75)), "")


def inputs_for(name: str, key: Key | None) -> list[str]:
    """The inputs of a node that a parameter may mean, likeliest first."""
    others = _INPUTS[key].split() if key else ["value"]
    return [name, *(other for other in others if other != name)]
