"""The dialects of this distribution, as data; the plugin behind its entry point."""

from collections.abc import Sequence

from framegate.core.dialect import DialectSpec
from framegate.core.plugins import hookimpl


@hookimpl
def framegate_dialects() -> Sequence[DialectSpec]:
    return [
        DialectSpec(
            name="lightx2v",
            summary="Task API of LightX2V: submit, ask for the state, fetch the file",
            factory="framegate.adapters.http.lightx2v.routes:create",
        ),
        DialectSpec(
            name="wan22-predict",
            summary="One call of a Wan2.2 TI2V deployment that answers with the video, and its web page",
            factory="framegate.adapters.http.wan22_predict.routes:create",
        ),
        DialectSpec(
            name="openai-videos",
            summary="OpenAI's videos and images: create, poll, remix, edit, extend; their SDKs run unchanged",
            factory="framegate.adapters.http.openai_videos.routes:create",
        ),
        DialectSpec(
            name="wan21-submit",
            summary="Image to video by request id, as a Wan2.1 I2V service offers it: submit, status, cancel",
            factory="framegate.adapters.http.wan21_submit.routes:create",
        ),
        DialectSpec(
            name="sora2api",
            summary="One endpoint per feature: images, videos, remixes, storyboards, characters; tasks, chat",
            factory="framegate.adapters.http.sora2api.routes:create",
        ),
        DialectSpec(
            name="openai-chat",
            summary="Image (or text) to video as an OpenAI chat completion",
            factory="framegate.adapters.http.openai_chat.routes:create",
        ),
    ]
