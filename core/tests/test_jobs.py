"""Jobs as they are stored: records of 0.1 are read, and written back byte for byte."""

import msgspec
import pytest
from msgspec.structs import replace

from framegate.core.jobs import Job
from framegate.core.types import MediaKind, MediaRef, Task

RECORD = (
    b'{"id":"j1","model":"sora-2","served_by":"preview","queue":"q-preview","dialect":"openai-videos",'
    b'"request":{"model":"sora-2","task":"image-to-video","prompt":"a boat","width":64,"height":32,'
    b'"num_looks":2,"image":{"kind":"image","key":"inputs/1","width":100,"height":50},'
    b'"video":{"kind":"video","key":"inputs/2","width":100,"height":50,"num_frames":48,"fps":24.0},'
    b'"extends_video":true},'
    b'"shots":[{"task":"image-to-video","prompt":"a boat","width":64,"height":32,"num_frames":9,"fps":8.0,'
    b'"seed":7,"num_inference_steps":1,"guidance_scale":1.0,"continues":true,"drop_first":1,"keep_frames":8}],'
    b'"created_at":1.0,"owner":"alice","running_limits":{"key:alice":2},'
    b'"changes":[{"field":"width","asked":65.0,"used":64.0,"why":"the model takes multiples of 16"}],'
    b'"labels":{"result_name":"boat.mp4"},"share_id":"s_1"}'
)


@pytest.fixture
def job() -> Job:
    return msgspec.json.decode(RECORD, type=Job)


def test_a_record_is_written_back_as_it_was(job: Job) -> None:
    assert msgspec.json.encode(job) == RECORD


def test_its_inputs_are_references(job: Job) -> None:
    image = MediaRef(MediaKind.IMAGE, "inputs/1", 100, 50)
    video = MediaRef(MediaKind.VIDEO, "inputs/2", 100, 50, 48, 24.0)
    assert (job.request.image, job.request.video) == (image, video)
    assert job.inputs == (image, video)
    assert job.request.task == Task.IMAGE_TO_VIDEO


def test_its_files(job: Job) -> None:
    running = replace(job, seq=7, attempt=2, worker="0123456789abcdef")
    earlier = ("results/j1/look-0.png", "results/j1/look-1.png")
    own = ("results/j1/7-2-01234567-partial-0.png", "results/j1/7-2-01234567-partial-1.png")
    assert (running.partial_image_keys, running.earlier_partial_image_keys) == (own, earlier)
    assert running.files == (*own, *earlier, "inputs/1", "inputs/2")
    assert running.submitted_files == (*earlier, "inputs/1", "inputs/2")
