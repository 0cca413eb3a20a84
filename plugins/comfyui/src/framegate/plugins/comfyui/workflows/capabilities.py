"""What a workflow can make, derived from its graph."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from framegate.core.models import Defaults, FrameRule, ModelSpec, Range, SizeRule
from framegate.core.types import Task
from framegate.plugins.comfyui.json_access import is_number
from framegate.plugins.comfyui.workflows.errors import WorkflowError
from framegate.plugins.comfyui.workflows.graph import Graph, Node, is_link, upstream
from framegate.plugins.comfyui.workflows.vocabulary import ParameterKey
from framegate.plugins.comfyui.workflows.workflow import Workflow

BACKEND = "framegate.plugins.comfyui.backend:ComfyBackend"
QUEUE_GROUP = "comfyui"

_MAX_SIDE = 4096
_LENGTH_INPUTS = ("length", "num_frames", "frames_number", "video_frames", "frame_count")
_RATE_INPUTS = ("fps", "frame_rate")


def build_model_spec(workflow: Workflow) -> ModelSpec:
    """Derive the model that a workflow offers.

    Raises:
        WorkflowError: The graph has a fixed size or length that its own nodes don't take.
    """
    nodes = list(upstream(workflow.graph, workflow.output))
    family = _detect_family(nodes)
    sizes, size = _sizes(workflow, nodes, family)
    frames, num_frames = _frames(workflow, nodes, family)
    fps, default_fps = _fps(workflow, nodes)
    steps = _default(workflow, ParameterKey.STEPS)
    negative = _default(workflow, ParameterKey.NEGATIVE_TEXT)
    duration = _default(workflow, ParameterKey.DURATION)
    is_batch = workflow.kind == "image" and bool(workflow.parameters_of(ParameterKey.NUM_OUTPUTS))
    return ModelSpec(
        id=workflow.name,
        summary=f"The ComfyUI workflow {workflow.name}.",
        backend=BACKEND,
        tasks=frozenset({_task(workflow)}),
        source=workflow.name,
        options_type="framegate.plugins.comfyui.config:ComfyConfig",
        parameters=frozenset(
            name
            for name, key in (
                ("negative_prompt", ParameterKey.NEGATIVE_TEXT),
                ("strength", ParameterKey.STRENGTH),
                ("last_image", ParameterKey.LAST_IMAGE),
            )
            if workflow.parameters_of(key)
        ),
        sizes=sizes,
        frames=frames,
        fps=fps,
        steps=Range(1, 1000) if steps else Range(1, 100),
        guidance=Range(0.0, 100.0),
        max_outputs=8 if is_batch else 1,
        defaults=Defaults(
            width=size[0] if size else None,
            height=size[1] if size else None,
            num_frames=num_frames,
            duration=duration if num_frames is None else None,
            fps=default_fps,
            num_inference_steps=int(steps) if steps else None,
            guidance_scale=_default(workflow, ParameterKey.CFG),
            negative_prompt=negative if isinstance(negative, str) and negative else None,
        ),
        queue_group=QUEUE_GROUP,
    )


def _task(workflow: Workflow) -> Task:
    takes_image = bool(workflow.parameters_of(ParameterKey.IMAGE))
    if workflow.kind == "image":
        return Task.IMAGE_TO_IMAGE if takes_image else Task.TEXT_TO_IMAGE
    if workflow.parameters_of(ParameterKey.VIDEO):
        return Task.VIDEO_TO_VIDEO
    return Task.IMAGE_TO_VIDEO if takes_image else Task.TEXT_TO_VIDEO


class _ModelFamily(Struct, frozen=True):
    """What a family of models takes.

    Sides are multiples of ``size_multiple`` pixels; there are ``frame_step``·n + 1 frames (any number if
    ``frame_step`` is 1), at most ``max_frames``.
    """

    name: str
    size_multiple: int
    frame_step: int
    max_frames: int


def _detect_family(nodes: list[Node]) -> _ModelFamily:
    class_types = {node.class_type for node in nodes}
    if any("LTXV" in name for name in class_types):
        # The latent's cells are 32 pixels wide; one that is upsampled twofold starts at half the size.
        return _ModelFamily("LTX-2", 64 if "LTXVLatentUpsampler" in class_types else 32, 8, 257)
    if any("Wan" in name or "Hunyuan" in name for name in class_types):
        return _ModelFamily("this model", 16, 4, 241)
    is_latent = any("Sampler" in name for name in class_types)
    return _ModelFamily("this model", 8 if is_latent else 2, 1, 4096)


def _sizes(
    workflow: Workflow, nodes: list[Node], family: _ModelFamily
) -> tuple[SizeRule, tuple[int, int] | None]:
    """Return the sizes that can be requested, and the default one."""
    widths = workflow.parameters_of(ParameterKey.WIDTH)
    heights = workflow.parameters_of(ParameterKey.HEIGHT)
    multiple = family.size_multiple
    if widths and heights:
        rule = SizeRule(multiple_of=multiple, min_side=multiple, max_side=_MAX_SIDE, max_pixels=_MAX_SIDE**2)
        width, height = _whole_number(widths[0].default), _whole_number(heights[0].default)
        return rule, rule.fit(width, height) if width and height else None
    fixed = _fixed_size(workflow.graph, nodes)
    if fixed is None:
        return SizeRule(multiple_of=2, min_side=16, max_side=_MAX_SIDE, max_pixels=_MAX_SIDE**2), None
    node, width, height = fixed
    if width % multiple or height % multiple:
        fitting = f"{_nearest_multiple(width, multiple)}×{_nearest_multiple(height, multiple)}"
        raise WorkflowError(
            f"{node.label}: its size {width}×{height} does not fit: {family.name} takes multiples of "
            f"{multiple} here; write {fitting}"
        )
    return SizeRule(only=((width, height),)), (width, height)


def _fixed_size(graph: Graph, nodes: list[Node]) -> tuple[Node, int, int] | None:
    """Return the size written into the graph, at the node nearest to the result that has one."""
    for node in nodes:
        width, height = (_whole_number(_input_value(graph, node, name)) for name in ("width", "height"))
        if width and height and width >= 16 and height >= 16:
            return node, width, height
    return None


def _frames(workflow: Workflow, nodes: list[Node], family: _ModelFamily) -> tuple[FrameRule, int | None]:
    """Return the numbers of frames that can be requested, and the default one."""
    if workflow.kind == "image":
        return FrameRule(), None
    step, offset = family.frame_step, 1 if family.frame_step > 1 else 0
    least = step + 1 if step > 1 else 1
    if parameters := workflow.parameters_of(ParameterKey.NUM_FRAMES):
        rule = FrameRule(step=step, offset=offset, min=least, max=family.max_frames)
        default = _whole_number(parameters[0].default)
        return rule, rule.nearest(default) if default else None
    if workflow.parameters_of(ParameterKey.DURATION):
        return FrameRule(max=family.max_frames), None
    for node, count in _fixed_lengths(workflow.graph, nodes):
        if step > 1 and (count - offset) % step:
            raise WorkflowError(
                f"{node.label}: its {count} frames do not fit: {family.name} makes {step}n+{offset}; write "
                f"{max(least, round((count - offset) / step) * step + offset)}"
            )
        return FrameRule(step=1, min=count, max=count), count
    return FrameRule(max=family.max_frames), None


def _fixed_lengths(graph: Graph, nodes: list[Node]) -> Iterator[tuple[Node, int]]:
    for node in nodes:
        is_repeat = node.class_type == "RepeatImageBatch"
        for name in (*_LENGTH_INPUTS, "amount") if is_repeat else _LENGTH_INPUTS:
            count = _whole_number(_input_value(graph, node, name))
            if count and count > 0:
                yield node, count


def _fps(workflow: Workflow, nodes: list[Node]) -> tuple[Range, float | None]:
    """Return the frame rates that can be requested, in frames per second, and the default one."""
    if workflow.kind == "image":
        return Range(1, 60), None
    if parameters := workflow.parameters_of(ParameterKey.FPS):
        default = parameters[0].default
        return Range(1, 120), float(default) if is_number(default) else None
    for node in nodes:
        for name in _RATE_INPUTS:
            rate = _input_value(workflow.graph, node, name)
            if is_number(rate) and rate > 0:
                return Range(rate, rate), float(rate)
    return Range(1, 120), None


def _default(workflow: Workflow, key: ParameterKey) -> Any:
    """Return the graph's own value of the first parameter of this key, or None if it is not usable."""
    for parameter in workflow.parameters_of(key):
        if key == ParameterKey.NEGATIVE_TEXT or is_number(parameter.default):
            return parameter.default
    return None


def _input_value(graph: Graph, node: Node, name: str) -> Any:
    """Return the value of an input, following a link to a node that holds nothing but a value."""
    value = node.inputs.get(name)
    if is_link(value):
        source = graph[value[0]]
        return source.inputs.get("value") if set(source.inputs) == {"value"} else None
    return value


def _whole_number(value: Any) -> int | None:
    return int(value) if is_number(value) and value == int(value) else None


def _nearest_multiple(side: int, multiple: int) -> int:
    return max(multiple, round(side / multiple) * multiple)
