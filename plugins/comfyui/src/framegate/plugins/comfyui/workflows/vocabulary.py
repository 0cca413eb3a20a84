"""The names of parameters in requests, in titles, and as inputs of nodes."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import StrEnum


class ParameterKey(StrEnum):
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


MEDIA_KEYS = frozenset({ParameterKey.IMAGE, ParameterKey.LAST_IMAGE, ParameterKey.VIDEO})

_SYNONYMS: Mapping[ParameterKey, str] = {
    ParameterKey.TEXT: "prompt positive positive_prompt positive_text",
    ParameterKey.NEGATIVE_TEXT: "negative negative_prompt",
    ParameterKey.IMAGE: (
        "input_image init_image start_image first_image source_image first_frame start_frame img"
    ),
    ParameterKey.LAST_IMAGE: "end_image last_frame end_frame",
    ParameterKey.VIDEO: "input_video source_video",
    ParameterKey.NUM_FRAMES: "frames length frame_count video_length video_frames",
    ParameterKey.FPS: "frame_rate framerate",
    ParameterKey.STEPS: "num_inference_steps",
    ParameterKey.CFG: "guidance_scale cfg_scale guidance",
    ParameterKey.STRENGTH: "denoise",
    ParameterKey.SEED: "noise_seed seed_value",
    ParameterKey.NUM_OUTPUTS: "batch_size num_images",
}

_KEYS = {name: key for key in ParameterKey for name in (key.value, *_SYNONYMS.get(key, "").split())}

_INPUTS: Mapping[ParameterKey, str] = {
    ParameterKey.TEXT: "text prompt value string",
    ParameterKey.NEGATIVE_TEXT: "text prompt value string",
    ParameterKey.WIDTH: "width value",
    ParameterKey.HEIGHT: "height value",
    ParameterKey.IMAGE: "image file",
    ParameterKey.LAST_IMAGE: "image file",
    ParameterKey.VIDEO: "video file",
    ParameterKey.NUM_FRAMES: "num_frames length frames frames_number frame_count video_frames amount value",
    ParameterKey.DURATION: "duration seconds value",
    ParameterKey.FPS: "fps frame_rate value",
    ParameterKey.STEPS: "steps value",
    ParameterKey.CFG: "cfg guidance value",
    ParameterKey.STRENGTH: "strength denoise value",
    ParameterKey.SEED: "seed noise_seed seed_value value",
    ParameterKey.NUM_OUTPUTS: "batch_size amount value",
}


def match_key(name: str, class_type: str) -> ParameterKey | None:
    """Return what a parameter of this name means at such a node, or None if no request can set it."""
    if name == "amount" and class_type == "RepeatImageBatch":
        return ParameterKey.NUM_FRAMES
    return _KEYS.get(name.lower())


def suggest_key(name: str) -> str:
    """Return the key that a misspelt ``name`` may stand for, or an empty string if none is close."""
    return closest_match(name, ParameterKey) or closest_match(name, _KEYS)


def closest_match(name: str, candidates: Iterable[str]) -> str:
    """Return the candidate that is spelt most like ``name``, or an empty string if none is close."""
    return next(iter(get_close_matches(name.lower(), list(candidates), 1, 0.75)), "")


def candidate_inputs(name: str, key: ParameterKey | None) -> list[str]:
    """Return the node inputs that a parameter may mean, likeliest first."""
    usual = _INPUTS[key].split() if key else ["value"]
    return [name, *(each for each in usual if each != name)]
