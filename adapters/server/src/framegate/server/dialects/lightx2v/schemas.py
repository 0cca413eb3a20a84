"""The bodies of lightx2v's requests and answers.

The fields of the document and of the real server are one type for each medium. Fields that no served model
can honour are accepted with the default that clients send, and refused otherwise (`requests.refused`).
"""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from framegate.server.errors.detail import DetailItem

Prompt: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=100_000, pattern=r"\S", description="What to show")
]
Side: TypeAlias = Annotated[int, Meta(ge=32, le=4096)]
Steps: TypeAlias = Annotated[
    int, Meta(ge=1, le=100, description="Denoising steps; by default the model's own")
]
Seed: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1, description="Random if omitted")]
Fragments: TypeAlias = Annotated[
    int, Meta(ge=1, le=64, description="Fragments, each continuing from the previous one's last frame")
]
Frames: TypeAlias = Annotated[
    int, Meta(ge=1, le=7200, description="Length in frames; overrides video_duration")
]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=600, description="Length in seconds; about 5 by default")]
Rate: TypeAlias = Annotated[int, Meta(ge=1, le=120, description="Frames per second of the file")]
Ratio: TypeAlias = Annotated[str, Meta(pattern=r"^[1-9]\d{0,3}:[1-9]\d{0,3}$", description="Such as 16:9")]
Strength: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
TaskId: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$")]
Image: TypeAlias = Annotated[
    str, Meta(description="http(s) URL, base64, data URI, or a file below the server's input folder")
]


class CommonFields(Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields that videos and images share."""

    prompt: Prompt
    task_id: TaskId | UnsetType = UNSET
    negative_prompt: Annotated[str, Meta(max_length=100_000)] | None = ""
    image_path: Image | None = ""
    infer_steps: Steps | UnsetType = UNSET
    seed: Seed | None = None
    height: Side | None = None
    width: Side | None = None
    target_shape: Annotated[list[Side], Meta(max_length=2, description="[height, width]")] | None = []
    save_result_path: (
        Annotated[
            str, Meta(max_length=512, description="The result's file name, relative to the output folder")
        ]
        | None
    ) = ""

    use_prompt_enhancer: bool = False
    last_frame_path: Annotated[str, Meta(description="The image to end with, given as image_path")] | None = (
        ""
    )
    image_mask_path: str | None = ""
    presigned_url: str | None = ""
    reuse: bool = False
    lora_name: str | None = None
    lora_strength: float = 1.0
    data_bootstrap_room: int | None = None
    disagg_phase1_receiver_engine_rank: int | None = None
    disagg_bootstrap_room: int | None = None
    disagg_decoder_bootstrap_room: int | None = None


class VideoFields(CommonFields, forbid_unknown_fields=True, kw_only=True):
    """The JSON body of a video."""

    num_fragments: Fragments = 1
    video_duration: Seconds | UnsetType = UNSET
    target_video_length: Frames | UnsetType = UNSET
    target_fps: Rate | UnsetType | None = UNSET
    aspect_ratio: Ratio = "16:9"
    video_path: Annotated[str, Meta(description="A source video, given as image_path")] | None = ""

    sr_ratio: float = 2.0
    audio_path: str | None = ""
    talk_objects: list[Any] | None = None
    resize_mode: str | None = "adaptive"


class ImageFields(CommonFields, forbid_unknown_fields=True, kw_only=True):
    """The JSON body of an image."""

    aspect_ratio: Ratio = "16:9"
    i2i_denoise_strength: Strength | None = None


class FormFields(Struct, forbid_unknown_fields=True, kw_only=True):
    """The text fields that both forms share."""

    prompt: Prompt
    task_id: TaskId | UnsetType = UNSET
    negative_prompt: Annotated[str, Meta(max_length=100_000)] = ""
    infer_steps: Steps | UnsetType = UNSET
    seed: Seed | None = None
    height: Side | None = None
    width: Side | None = None
    save_result_path: Annotated[str, Meta(max_length=512)] = ""
    use_prompt_enhancer: bool = False


class VideoForm(FormFields, forbid_unknown_fields=True, kw_only=True):
    """The text fields of ``/video/form``."""

    num_fragments: Fragments = 1
    video_duration: Seconds | UnsetType = UNSET
    target_video_length: Frames | UnsetType = UNSET
    target_fps: Rate | UnsetType = UNSET


class ImageForm(FormFields, forbid_unknown_fields=True, kw_only=True):
    """The text fields of ``/image/form``."""

    aspect_ratio: Ratio = "16:9"


class Submitted(Struct, kw_only=True):
    """The answer to a submission.

    ``status`` and ``message`` are the document's, ``task_status`` and ``save_result_path`` the real server's.
    """

    task_id: str
    status: str
    task_status: str
    message: str
    save_result_path: str
    file_path: str | None = None


class TaskState(Struct, kw_only=True):
    """The state of a task, with the keys of both vocabularies.

    ``progress`` is 0.0–1.0, times are ISO 8601 in UTC; ``file_path`` is set once there is a file, ``error``
    once the task has failed or was cancelled.
    """

    task_id: str
    status: str
    task_status: str
    progress: float
    message: str
    file_path: str | None
    save_result_path: str
    start_time: str
    end_time: str | None
    error: str | None
    error_type: str


class Stopped(Struct):
    """The answer to stopping tasks."""

    stop_status: Literal["success", "do_nothing", "error"]
    reason: str


class QueueState(Struct, kw_only=True):
    """The state of the queue: task ids are the caller's own, counts the whole server's."""

    is_processing: bool
    current_task: str | None
    pending_count: int
    active_count: int
    queue_size: int
    queue_available: int


class ServiceState(Struct, kw_only=True):
    """The state of the service: task ids are the caller's own, counts the whole server's."""

    service_status: Literal["idle", "busy"]
    current_task: str | None
    active_tasks: list[str]
    pending_tasks: int
    queue_size: int
    total_tasks: int
    completed_tasks: int
    failed_tasks: int


class Metadata(Struct):
    """The served model, and the number of its workers."""

    nproc_per_node: int
    model_cls: str
    model_path: str


class ErrorBody(Struct):
    """The body of every error: a message, or the fields that are wrong."""

    detail: str | list[DetailItem]
