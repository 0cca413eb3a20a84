"""What a workflow can make, read off its graph."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from framegate.core.models import Defaults, FrameRule, ModelSpec, Range, SizeRule
from framegate.core.types import Task
from framegate.plugins.comfyui.json_access import is_number
from framegate.plugins.comfyui.workflows.errors import WorkflowFault
from framegate.plugins.comfyui.workflows.graph import Graph, Node, is_link, upstream
from framegate.plugins.comfyui.workflows.vocabulary import Key
from framegate.plugins.comfyui.workflows.workflow import Workflow

BACKEND = "framegate.plugins.comfyui.backend:ComfyBackend"
QUEUE_GROUP = "comfyui"

_MAX_SIDE = 4096
_LENGTHS = ("length", "num_frames", "frames_number", "video_frames", "frame_count")
_RATES = ("fps", "frame_rate")


def spec_of(workflow: Workflow) -> ModelSpec:
    """Raises:
    WorkflowFault: the graph has a fixed size or length that its own nodes don't take.
    """
    nodes = list(upstream(workflow.graph, workflow.output))
    family = _family_of(nodes)
    sizes, size = _sizes(workflow, nodes, family)
    frames, num_frames = _frames(workflow, nodes, family)
    fps, rate = _fps(workflow, nodes)
    steps, cfg = _default(workflow, Key.STEPS), _default(workflow, Key.CFG)
    negative = _default(workflow, Key.NEGATIVE_TEXT)
    duration = _default(workflow, Key.DURATION)
    batch = workflow.kind == "image" and bool(workflow.bound(Key.NUM_OUTPUTS))
    return ModelSpec(
        id=workflow.name,
        summary=f"The ComfyUI workflow {workflow.name}.",
        backend=BACKEND,
        tasks=frozenset({_task(workflow)}),
        source=workflow.name,
        parameters=frozenset(
            name
            for name, key in (
                ("negative_prompt", Key.NEGATIVE_TEXT),
                ("strength", Key.STRENGTH),
                ("last_image", Key.LAST_IMAGE),
            )
            if workflow.bound(key)
        ),
        sizes=sizes,
        frames=frames,
        fps=fps,
        steps=Range(1, 1000) if steps else Range(1, 100),
        guidance=Range(0.0, 100.0),
        max_outputs=8 if batch else 1,
        defaults=Defaults(
            width=size[0] if size else None,
            height=size[1] if size else None,
            num_frames=num_frames,
            duration=duration if num_frames is None else None,
            fps=rate,
            num_inference_steps=int(steps) if steps else None,
            guidance_scale=cfg,
            negative_prompt=negative if isinstance(negative, str) and negative else None,
        ),
        queue_group=QUEUE_GROUP,
    )


def _task(workflow: Workflow) -> Task:
    if workflow.kind == "image":
        return Task.IMAGE_TO_IMAGE if workflow.bound(Key.IMAGE) else Task.TEXT_TO_IMAGE
    if workflow.bound(Key.VIDEO):
        return Task.VIDEO_TO_VIDEO
    return Task.IMAGE_TO_VIDEO if workflow.bound(Key.IMAGE) else Task.TEXT_TO_VIDEO


class _Family(Struct, frozen=True):
    """What a family of models takes: sides that are multiples of ``multiple``, ``step``·n + 1 frames where
    ``step`` is not 1, at most ``most`` at once."""

    name: str
    multiple: int
    step: int
    most: int


def _family_of(nodes: list[Node]) -> _Family:
    classes = {node.class_type for node in nodes}
    if any("LTXV" in name for name in classes):
        # The latent's cells are 32 pixels wide; one that is upsampled twofold starts at half the size.
        return _Family("LTX-2", 64 if "LTXVLatentUpsampler" in classes else 32, 8, 257)
    if any("Wan" in name or "Hunyuan" in name for name in classes):
        return _Family("this model", 16, 4, 241)
    latent = any("Sampler" in name for name in classes)
    return _Family("this model", 8 if latent else 2, 1, 4096)


def _sizes(workflow: Workflow, nodes: list[Node], family: _Family) -> tuple[SizeRule, tuple[int, int] | None]:
    """The sizes that can be asked for, and the one that is made if nothing is."""
    widths, heights = workflow.bound(Key.WIDTH), workflow.bound(Key.HEIGHT)
    if widths and heights:
        multiple = family.multiple
        rule = SizeRule(multiple_of=multiple, min_side=multiple, max_side=_MAX_SIDE, max_pixels=_MAX_SIDE**2)
        width, height = _whole(widths[0].default), _whole(heights[0].default)
        return rule, rule.fit(width, height) if width and height else None
    fixed = _fixed_size(workflow.graph, nodes)
    if fixed is None:
        return SizeRule(multiple_of=2, min_side=16, max_side=_MAX_SIDE, max_pixels=_MAX_SIDE**2), None
    node, width, height = fixed
    if width % family.multiple or height % family.multiple:
        raise WorkflowFault(
            f"{node.label}: its size {width}×{height} is wrong: {family.name} takes multiples of "
            f"{family.multiple} here; {_near(width, family.multiple)}×{_near(height, family.multiple)} "
            "would fit"
        )
    return SizeRule(only=((width, height),)), (width, height)


def _fixed_size(graph: Graph, nodes: list[Node]) -> tuple[Node, int, int] | None:
    """The size that stands in the graph, in the node nearest to the result that has one."""
    for node in nodes:
        width, height = (_whole(_value(graph, node, name)) for name in ("width", "height"))
        if width and height and width >= 16 and height >= 16:
            return node, width, height
    return None


def _frames(workflow: Workflow, nodes: list[Node], family: _Family) -> tuple[FrameRule, int | None]:
    if workflow.kind == "image":
        return FrameRule(), None
    step, offset = family.step, 1 if family.step > 1 else 0
    least = step + 1 if step > 1 else 1
    if bound := workflow.bound(Key.NUM_FRAMES):
        rule = FrameRule(step=step, offset=offset, min=least, max=family.most)
        default = _whole(bound[0].default)
        return rule, rule.nearest(default) if default else None
    if workflow.bound(Key.DURATION):
        return FrameRule(max=family.most), None
    for node, count in _fixed_lengths(workflow.graph, nodes):
        if step > 1 and (count - offset) % step:
            raise WorkflowFault(
                f"{node.label}: {count} frames are wrong: {family.name} makes {step}n+{offset}; "
                f"{max(least, round((count - offset) / step) * step + offset)} would fit"
            )
        return FrameRule(step=1, min=count, max=count), count
    return FrameRule(max=family.most), None


def _fixed_lengths(graph: Graph, nodes: list[Node]) -> Iterator[tuple[Node, int]]:
    for node in nodes:
        names = (*_LENGTHS, "amount") if node.class_type == "RepeatImageBatch" else _LENGTHS
        for name in names:
            count = _whole(_value(graph, node, name))
            if count and count > 0:
                yield node, count


def _fps(workflow: Workflow, nodes: list[Node]) -> tuple[Range, float | None]:
    if workflow.kind == "image":
        return Range(1, 60), None
    if bound := workflow.bound(Key.FPS):
        default = bound[0].default
        return Range(1, 120), float(default) if is_number(default) else None
    for node in nodes:
        for name in _RATES:
            rate = _value(workflow.graph, node, name)
            if is_number(rate) and rate > 0:
                return Range(rate, rate), float(rate)
    return Range(1, 120), None


def _default(workflow: Workflow, key: Key) -> Any:
    """What the graph says where the first parameter of this key binds; None where it is of no use."""
    for parameter in workflow.bound(key):
        if key == Key.NEGATIVE_TEXT or is_number(parameter.default):
            return parameter.default
    return None


def _value(graph: Graph, node: Node, name: str) -> Any:
    """The value of an input, also where it comes from a node that holds nothing but that value."""
    value = node.inputs.get(name)
    if is_link(value):
        source = graph[value[0]]
        return source.inputs.get("value") if set(source.inputs) == {"value"} else None
    return value


def _whole(value: Any) -> int | None:
    return int(value) if is_number(value) and value == int(value) else None


def _near(side: int, multiple: int) -> int:
    return max(multiple, round(side / multiple) * multiple)
