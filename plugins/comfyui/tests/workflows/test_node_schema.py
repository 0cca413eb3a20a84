"""What a server declares about its node classes."""

from framegate.plugins.comfyui.workflows.node_schema import parse_object_info
from tests.support.comfyui.recordings import read_recording


def test_what_nodes_say_of_their_inputs() -> None:
    loader = parse_object_info(read_recording("object_info_LoadImage")["body"])["LoadImage"].inputs["image"]
    assert (loader.type, loader.upload, loader.required) == ("COMBO", "image", True)
    assert "probe.png" in (loader.options or ())
    saver = parse_object_info(read_recording("object_info_SaveVideo")["body"])["SaveVideo"]
    assert (saver.inputs["format"].type, saver.inputs["format"].options) == ("COMBO", ("auto", "mp4"))
    seed = parse_object_info(read_recording("object_info_RandomNoise")["body"])["RandomNoise"].inputs[
        "noise_seed"
    ]
    assert (seed.type, seed.min, seed.max) == ("INT", 0, 2**64 - 1)
    assert parse_object_info({}) == parse_object_info([]) == {}
