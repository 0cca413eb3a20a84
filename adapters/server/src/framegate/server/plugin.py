"""Contribute this distribution's dialects and the command ``framegate serve`` to Framegate."""

from collections.abc import Sequence

from framegate.core.command import CommandSpec
from framegate.core.dialect import DialectSpec
from framegate.core.plugins import hookimpl
from framegate.server.dialects.lightx2v import catalogue as lightx2v
from framegate.server.dialects.openai_chat import catalogue as openai_chat
from framegate.server.dialects.openai_videos import catalogue as openai_videos
from framegate.server.dialects.sora2api import catalogue as sora2api
from framegate.server.dialects.wan21_submit import catalogue as wan21_submit
from framegate.server.dialects.wan22_predict import catalogue as wan22_predict


@hookimpl
def framegate_dialects() -> Sequence[DialectSpec]:
    """Contribute the seven dialects."""
    return [
        DialectSpec(
            name="framegate",
            summary="The server's own jobs API, with everything it can do; the command line uses it",
            factory="framegate.server.dialects.framegate.dialect:create",
            prefix="/api/v1",
        ),
        DialectSpec(
            name="lightx2v",
            summary="Task API of LightX2V: submit, poll, fetch the file",
            factory="framegate.server.dialects.lightx2v.dialect:create",
            catalogue=lightx2v.CATALOGUE,
        ),
        DialectSpec(
            name="wan22-predict",
            summary="One call of a Wan2.2 TI2V deployment that responds with the video, and its web page",
            factory="framegate.server.dialects.wan22_predict.dialect:create",
            catalogue=wan22_predict.CATALOGUE,
        ),
        DialectSpec(
            name="openai-videos",
            summary="OpenAI's videos and images: create, poll, remix, edit, extend; their SDKs run unchanged",
            factory="framegate.server.dialects.openai_videos.dialect:create",
            catalogue=openai_videos.CATALOGUE,
            catalogue_order=1,
        ),
        DialectSpec(
            name="wan21-submit",
            summary="Image to video by request id, as a Wan2.1 I2V service offers it: submit, status, cancel",
            factory="framegate.server.dialects.wan21_submit.dialect:create",
            catalogue=wan21_submit.CATALOGUE,
        ),
        DialectSpec(
            name="sora2api",
            summary="One endpoint per feature: images, videos, remixes, storyboards, characters; tasks, chat",
            factory="framegate.server.dialects.sora2api.dialect:create",
            catalogue=sora2api.CATALOGUE,
            catalogue_order=1,
        ),
        DialectSpec(
            name="openai-chat",
            summary="Image (or text) to video as an OpenAI chat completion",
            factory="framegate.server.dialects.openai_chat.dialect:create",
            catalogue=openai_chat.CATALOGUE,
        ),
    ]


@hookimpl
def framegate_commands() -> Sequence[CommandSpec]:
    """Contribute ``serve``."""
    return [
        CommandSpec(
            name="serve",
            summary="Start the server with its queue and a worker.",
            command="framegate.server.command:serve",
        )
    ]


@hookimpl
def framegate_config_checks() -> Sequence[str]:
    """Contribute the check that builds the app."""
    return ["framegate.server.config_check:check_config"]
