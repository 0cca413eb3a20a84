"""What a stranger's key may not do with the owner's jobs, files and characters."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from tests.security.case import OWNER, STRANGER, Case, Shape

Route: TypeAlias = tuple[str, str, dict[str, Any] | None, Shape]
"""Method, path, body, and the form of its errors."""

_READS: tuple[Route, ...] = (
    ("GET", "/api/v1/jobs/{video}", None, Shape.FRAMEGATE),
    ("GET", "/api/v1/jobs/{video}/events", None, Shape.FRAMEGATE),
    ("GET", "/api/v1/jobs/{video}/results/0", None, Shape.FRAMEGATE),
    ("HEAD", "/api/v1/jobs/{video}/results/0", None, Shape.ANY),
    ("GET", "/api/v1/jobs/{video}/thumbnail", None, Shape.FRAMEGATE),
    ("GET", "/api/v1/jobs/{video}/partial/0", None, Shape.FRAMEGATE),
    ("POST", "/api/v1/jobs/{video}/cancel", None, Shape.FRAMEGATE),
    ("POST", "/api/v1/jobs/{video}/retry", None, Shape.FRAMEGATE),
    ("DELETE", "/api/v1/jobs/{video}", None, Shape.FRAMEGATE),
    ("DELETE", "/api/v1/characters/{character}", None, Shape.FRAMEGATE),
    ("GET", "/v1/videos/{video}", None, Shape.OPENAI),
    ("GET", "/v1/videos/{video}/content", None, Shape.OPENAI),
    ("GET", "/v1/videos/{video}/content?variant=thumbnail", None, Shape.OPENAI),
    ("GET", "/v1/videos/{video}/content?variant=spritesheet", None, Shape.OPENAI),
    ("HEAD", "/v1/videos/{video}/content", None, Shape.ANY),
    ("DELETE", "/v1/videos/{video}", None, Shape.OPENAI),
    ("POST", "/v1/videos/{video}/remix", {"prompt": "mine"}, Shape.OPENAI),
    ("POST", "/v1/videos/edits", {"prompt": "mine", "video": {"id": "{video}"}}, Shape.OPENAI),
    (
        "POST",
        "/v1/videos/extensions",
        {"prompt": "x", "seconds": "1", "video": {"id": "{video}"}},
        Shape.OPENAI,
    ),
    ("GET", "/v1/videos?after={video}", None, Shape.OPENAI),
    ("GET", "/v1/videos/characters/{character}", None, Shape.OPENAI),
    ("POST", "/v1/videos", {"prompt": "x", "characters": [{"id": "{character}"}]}, Shape.OPENAI),
    ("GET", "/v1/tasks/{task}/status", None, Shape.LIGHTX2V),
    ("GET", "/v1/tasks/{task}/result", None, Shape.LIGHTX2V),
    ("HEAD", "/v1/tasks/{task}/result", None, Shape.ANY),
    ("GET", "/v1/tasks/{own_task}/status", None, Shape.LIGHTX2V),
    ("GET", "/v1/tasks/{own_task}/result", None, Shape.LIGHTX2V),
    ("GET", "/v1/files/download/{task}.png", None, Shape.LIGHTX2V),
    ("GET", "/v1/files/download/{own_task}.png", None, Shape.LIGHTX2V),
    ("GET", "/v1/files/download/chosen-name.png", None, Shape.LIGHTX2V),
    ("GET", "/v1/tasks/{sora_task}", None, Shape.OPENAI),
    ("POST", "/video/status", {"requestId": "{request}"}, Shape.WAN21),
    ("POST", "/video/cancel", {"requestId": "{request}"}, Shape.WAN21),
)
"""Each of the owner's, by every route that takes its id."""

_ELSEWHERE: tuple[Route, ...] = (
    ("GET", "/v1/videos/{task}", None, Shape.OPENAI),
    ("GET", "/v1/videos/{request}/content", None, Shape.OPENAI),
    ("DELETE", "/v1/videos/{request}", None, Shape.OPENAI),
    ("GET", "/v1/tasks/{video}/status", None, Shape.LIGHTX2V),
    ("GET", "/v1/tasks/{request}/result", None, Shape.LIGHTX2V),
    ("POST", "/video/status", {"requestId": "{video}"}, Shape.WAN21),
    ("POST", "/video/cancel", {"requestId": "{task}"}, Shape.WAN21),
)
"""By the routes of other dialects."""

_KEYLESS: tuple[Route, ...] = (
    ("GET", "/api/v1/jobs", None, Shape.FRAMEGATE),
    ("POST", "/api/v1/jobs", {"prompt": "x"}, Shape.FRAMEGATE),
    ("GET", "/api/v1/models", None, Shape.FRAMEGATE),
    ("GET", "/api/v1/me", None, Shape.FRAMEGATE),
    ("GET", "/api/v1/characters", None, Shape.FRAMEGATE),
    ("GET", "/api/v1/admin/keys", None, Shape.FRAMEGATE),
    ("GET", "/v1/videos", None, Shape.OPENAI),
    ("POST", "/v1/videos", {"prompt": "x"}, Shape.OPENAI),
    ("GET", "/v1/tasks/", None, Shape.LIGHTX2V),
    ("DELETE", "/v1/tasks/all/running", None, Shape.LIGHTX2V),
    ("GET", "/v1/tasks/queue/status", None, Shape.LIGHTX2V),
    ("GET", "/v1/service/status", None, Shape.LIGHTX2V),
    ("GET", "/v1/service/metadata", None, Shape.LIGHTX2V),
    ("GET", "/v1/models", None, Shape.OPENAI),
    ("POST", "/v1/images/generations", {"prompt": "x"}, Shape.OPENAI),
    ("POST", "/v1/responses", {"input": "x"}, Shape.OPENAI),
    ("POST", "/v1/chat/completions", {"model": "small", "messages": []}, Shape.OPENAI),
    ("POST", "/v1/images/generate", {"prompt": "x"}, Shape.OPENAI),
    ("POST", "/v1/characters/create", {"video": "x", "stream": True}, Shape.OPENAI),
    ("POST", "/v1/tasks/video", {"prompt": "x"}, Shape.LIGHTX2V),
    ("POST", "/video/submit", {"prompt": "A cat on a sofa"}, Shape.WAN21),
    ("POST", "/video/status", {"requestId": "{request}"}, Shape.WAN21),
    ("POST", "/predict", {"prompt": "x"}, Shape.WAN22),
)

_NOT_KEYS: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "an empty one": {"Authorization": ""},
    "no key behind Bearer": {"Authorization": "Bearer "},
    "a wrong one": {"Authorization": "Bearer wrong-0123456789abcdef"},
    "a digest": {"Authorization": "Bearer {digest}"},
    "another scheme": {"Authorization": "Basic {key}"},
    "a beginning": {"Authorization": "Bearer {beginning}"},
    "two at once": {"Authorization": "Bearer wrong-0123456789abcdef, Bearer {key}"},
    "100 kB of one": {"Authorization": "Bearer " + "k" * 50_000},
    "letters of no alphabet": {"Authorization": "Bearer \xff\xfe\x80"},
    "the name of one": {"Authorization": f"Bearer {OWNER}"},
    "in another header": {"X-Api-Key": "{key}"},
    "in a cookie": {"Cookie": "Authorization=Bearer {key}"},
    "as a proxy's": {"Proxy-Authorization": "Bearer {key}"},
}

CASES = [
    *(
        Case(
            name=f"the owner's by {method} {path}",
            method=method,
            path=path,
            json=body,
            expect=(404, 400) if method == "POST" else (404,),
            shape=shape,
            key=STRANGER,
        )
        for method, path, body, shape in (*_READS, *_ELSEWHERE)
    ),
    *(
        Case(
            name=f"without a key: {method} {path}",
            method=method,
            path=path,
            json=body,
            expect=(401,),
            shape=shape,
            key="",
        )
        for method, path, body, shape in (*_KEYLESS, *_READS)
    ),
    *(
        Case(
            name=f"a key that is {what}",
            method="GET",
            path="/v1/videos",
            headers=headers,
            expect=(401, 400, 431),
            shape=Shape.ANY,
            key="",
        )
        for what, headers in _NOT_KEYS.items()
    ),
    Case(
        name="a stranger's task with the owner's id is the stranger's own",
        path="/v1/tasks/image",
        json={"prompt": "x", "task_id": "{own_task}", "width": 64, "height": 64},
        expect=(200,),
        shape=Shape.LIGHTX2V,
    ),
    Case(
        name="a stranger's stop leaves the owner's task",
        method="DELETE",
        path="/v1/tasks/{task}",
        expect=(200,),
        shape=Shape.ANY,
        says="do_nothing",
    ),
    Case(
        name="the owner's video in a stranger's list",
        method="GET",
        path="/v1/videos?limit=100",
        expect=(200,),
        shape=Shape.ANY,
        lacks="{video}",
    ),
    Case(
        name="the owner's jobs in a stranger's list of this server's own API",
        method="GET",
        path="/api/v1/jobs?limit=100",
        expect=(200,),
        shape=Shape.ANY,
        lacks="{video}",
    ),
    Case(
        name="everybody's jobs for a stranger",
        method="GET",
        path="/api/v1/jobs?owner=*",
        expect=(403,),
        shape=Shape.FRAMEGATE,
    ),
    Case(
        name="the owner's video as a stranger's input",
        path="/api/v1/jobs",
        json={"prompt": "x", "video": {"job": "{video}"}, "model": "small"},
        expect=(422,),
        shape=Shape.FRAMEGATE,
    ),
    Case(
        name="the administration for a stranger",
        method="GET",
        path="/api/v1/admin/keys",
        expect=(403,),
        shape=Shape.FRAMEGATE,
    ),
    Case(
        name="the owner's tasks in a stranger's list",
        method="GET",
        path="/v1/tasks/",
        expect=(200,),
        shape=Shape.ANY,
        lacks="{task}",
    ),
    Case(
        name="a stranger's mention of the owner's character",
        path="/v1/videos/generate",
        json={"prompt": "@{character} dances", "async_mode": True, "model": "small"},
        expect=(200, 400, 404),
        shape=Shape.ANY,
    ),
]
