"""Requests that are refused, of every route: wrong bodies, fields, paths, methods, keys and headers."""

from collections.abc import Iterable, Mapping
from typing import Any

from tests.compatibility.wire.exchanges import Exchange, Step, form, get, post

USER = [{"role": "user", "content": "a boat on a lake"}]
REMIX = "s_" + "0" * 32
WAN21 = {"prompt": "a boat on a lake", "image_url": "{media}/png.png", "num_frames": 24, "infer_steps": 20}

# A good body for each route that takes JSON, with the fields that are set to wrong values one by one.
BODIES: Mapping[str, Mapping[str, Any]] = {
    "/v1/tasks/video": {
        "prompt": "a boat",
        "task_id": "x",
        "negative_prompt": "rain",
        "image_path": "{png}",
        "infer_steps": 4,
        "seed": 7,
        "height": 48,
        "width": 64,
        "target_shape": [48, 64],
        "save_result_path": "a.mp4",
        "use_prompt_enhancer": False,
        "last_frame_path": "{png}",
        "num_fragments": 1,
        "video_duration": 1.0,
        "target_video_length": 9,
        "target_fps": 8,
        "aspect_ratio": "16:9",
        "video_path": "",
        "image_mask_path": "",
        "presigned_url": "",
        "reuse": False,
        "lora_name": "",
        "lora_strength": 1.0,
        "data_bootstrap_room": None,
        "sr_ratio": 2.0,
        "audio_path": "",
        "talk_objects": None,
        "resize_mode": "adaptive",
    },
    "/v1/tasks/image": {
        "prompt": "a boat",
        "image_path": "{png}",
        "seed": 7,
        "height": 48,
        "width": 64,
        "aspect_ratio": "1:1",
        "i2i_denoise_strength": 0.5,
    },
    "/v1/tasks/image/sync?timeout_seconds=0.01": {"prompt": "a boat", "height": 48, "width": 64},
    "/predict": {
        "prompt": "a boat",
        "negative_prompt": "rain",
        "height": 64,
        "width": 64,
        "num_frames": 25,
        "num_inference_steps": 1,
        "guidance_scale": 5.0,
        "fps": 24,
        "seed": 7,
        "image_url": None,
        "image_base64": None,
    },
    "/video/submit": {
        **WAN21,
        "model": "Wan2.1-I2V-14B-480P",
        "negative_prompt": "rain",
        "image_size": "auto",
        "guidance_scale": 3.0,
        "seed": 7,
    },
    "/video/status": {"requestId": "0" * 32},
    "/video/cancel": {"requestId": "0" * 32},
    "/v1/videos": {
        "prompt": "a boat",
        "model": "sora-2",
        "negative_prompt": "rain",
        "seed": 7,
        "num_frames": 5,
        "num_inference_steps": 2,
        "steps": 2,
        "guidance_scale": 2.0,
        "webhook_url": "{media}/hook",
        "seconds": "1",
        "size": "128x96",
        "fps": 8.0,
        "input_reference": None,
        "image_url": None,
        "characters": None,
    },
    "/v1/videos/none/remix": {"prompt": "a boat", "seconds": "1", "size": "64x48"},
    "/v1/videos/edits": {"prompt": "a boat", "video": {"id": "none"}},
    "/v1/videos/extensions": {"prompt": "a boat", "seconds": "1", "video": {"id": "none"}},
    "/v1/images/generations": {
        "prompt": "a boat",
        "model": "gpt-image-2",
        "n": 1,
        "size": "64x48",
        "response_format": "b64_json",
        "user": "me",
        "safety_identifier": "me",
        "seed": 7,
        "negative_prompt": "rain",
        "num_inference_steps": 2,
        "steps": 2,
        "guidance_scale": 1.0,
        "output_format": "png",
        "output_compression": 50,
        "background": "opaque",
        "quality": "low",
        "moderation": "low",
        "partial_images": 0,
        "style": "vivid",
    },
    "/v1/chat/completions": {
        "model": "sora2-landscape-10s",
        "messages": USER,
        "stream": False,
        "seed": 7,
        "image": None,
        "video": None,
        "remix_target_id": None,
        "style": "anime",
        "timestamps": "0,3",
    },
    "/v1/images/generate": {
        "prompt": "a boat",
        "model": "gpt-image",
        "async_mode": True,
        "stream": True,
        "seed": 7,
    },
    "/v1/images/transform": {"prompt": "a boat", "image": "{png}", "async_mode": True},
    "/v1/videos/generate": {
        "prompt": "a boat",
        "model": "sora2-landscape-10s",
        "style": "anime",
        "async_mode": True,
        "seed": 7,
    },
    "/v1/videos/transform": {"prompt": "a boat", "image": "{png}", "async_mode": True},
    "/v1/videos/remix": {"prompt": "a boat", "remix_target_id": REMIX, "async_mode": True},
    "/v1/videos/storyboard": {"prompt": "[1.0s]a boat", "async_mode": True},
    "/v1/characters/create": {"video": "{mp4}", "timestamps": "0,3", "stream": True},
    "/v1/characters/generate": {
        "prompt": "a boat",
        "video": "{mp4}",
        "model": "sora2-landscape-10s",
        "stream": True,
    },
}
WRONG: tuple[Any, ...] = (
    None, "", " ", "x", "x\0y", "é" * 600, 0, 5, -1, 1.5, 10**9, 10**30, True, False,
    [], ["x"], [1], [{}], {}, {"x": 1},
)  # fmt: skip
SPECIAL: tuple[tuple[str, Mapping[str, Any]], ...] = (
    *(("/v1/tasks/video", {"prompt": "a boat", "image_path": path}) for path in (
        "x.png", "../x.png", "/etc/passwd", "~/x.png", "file:///etc/passwd", "ftp://x/y",
        "data:image/png;base64,!!", "data:image/png;base64,AAAA", "https://10.0.0.1/x.png",
        "http://localhost:1/x.png", "{media}/none", "{media}/text", "{media}/empty", "{media}/broken",
        "{media}/mp4.mp4", "http://", "{broken64}", "{text64}",
    )),
    *(("/v1/tasks/video", {"prompt": "a boat", "save_result_path": path}) for path in (
        "/x.mp4", "../x.mp4", "a/../b", "~/x", "a\\b", "a%2fb", ".", "x" * 600, "c:/x", "a\nb",
    )),
    ("/v1/tasks/video", {"prompt": "a boat", "last_frame_path": "{png}"}),
    ("/v1/tasks/video", {"prompt": "a boat", "video_path": "{png}"}),
    ("/v1/tasks/video", {"prompt": "a boat", "image_path": "{png}", "video_path": "{mp4}"}),
    ("/v1/tasks/video", {"prompt": "a boat", "video_duration": 600, "target_fps": 120}),
    ("/v1/tasks/video", {"prompt": "a boat", "width": 4096, "height": 4096, "target_video_length": 7200}),
    ("/v1/tasks/image", {"prompt": "a boat", "i2i_denoise_strength": 0.5}),
    ("/v1/tasks/image/sync?timeout_seconds=x&poll_interval_seconds=-1", {"prompt": "a boat"}),
    ("/v1/tasks/image/sync?timeout_seconds=0", {"prompt": "a boat"}),
    *(("/predict", {"prompt": "a boat", "image_url": url}) for url in (
        "{media}/none", "{media}/text", "http://10.0.0.1/x", "ftp://x", "data:image/png;base64,AAAA", "http://[::1",
    )),
    ("/predict", {"prompt": "a boat", "image_base64": "!!!"}),
    ("/predict", {"prompt": "a boat", "image_base64": "{text64}"}),
    ("/predict", {"prompt": "a boat", "image_base64": "{png}", "image_url": "{media}/png"}),
    ("/predict", {"prompt": "a boat", "num_frames": 26, "fps": 61, "width": 31}),
    *(("/video/submit", {**WAN21, "image_url": url}) for url in (
        "{media}/none", "{media}/text", "{media}/broken", "http://10.0.0.1/x", "ftp://x", "{png}", "http://no.invalid/x",
    )),
    ("/video/submit", {**WAN21, "image_size": "832x832", "num_frames": 121, "infer_steps": 19}),
    ("/video/submit", {**WAN21, "model": "gpt-image"}),
    ("/video/submit", {key: value for key, value in WAN21.items() if key != "image_url"}),
    ("/v1/videos", {"prompt": "a boat", "input_reference": {"file_id": "x"}}),
    ("/v1/videos", {"prompt": "a boat", "input_reference": {"image_url": "{png}"}, "image_url": "{png}"}),
    ("/v1/videos", {"prompt": "a boat", "input_reference": {"image_url": "{mp4}"}}),
    ("/v1/videos", {"prompt": "a boat", "image_url": "{media}/none"}),
    ("/v1/videos", {"prompt": "a boat", "image_url": "data:image/png;base64,AAAA"}),
    ("/v1/videos", {"prompt": "a boat", "image_url": "{png}", "characters": [{"id": "x"}]}),
    ("/v1/videos", {"prompt": "a boat", "characters": [{"id": "x"}]}),
    ("/v1/videos", {"prompt": "a boat", "characters": [{"id": "x"}, {"id": "y"}]}),
    ("/v1/videos", {"prompt": "a boat", "steps": 2, "num_inference_steps": 3}),
    ("/v1/videos", {"prompt": "a boat", "model": "gpt-image"}),
    ("/v1/videos", {"prompt": "a boat", "model": "sora2pro-landscape-10s"}),
    ("/v1/videos", {"prompt": "a boat", "seconds": "4000", "size": "99999x2"}),
    *(("/v1/videos", {"prompt": "a boat", "webhook_url": url}) for url in (
        "x", "ftp://x", "http://10.0.0.1/x", "http://elsewhere.invalid/x", "http://user:password@127.0.0.1/x",
    )),
    ("/v1/videos/edits", {"prompt": "a boat"}),
    ("/v1/videos/extensions", {"prompt": "a boat", "seconds": "1"}),
    ("/v1/images/generations", {"prompt": "a boat", "model": "sora-2"}),
    ("/v1/images/generations", {"prompt": "a boat", "partial_images": 1}),
    ("/v1/images/generations", {"prompt": "a boat", "stream": True, "response_format": "url"}),
    ("/v1/images/generations", {"prompt": "a boat", "stream": True, "n": 2}),
    ("/v1/images/generations", {"prompt": "a boat", "size": "auto", "background": "transparent"}),
    ("/v1/images/generations", {"prompt": "a boat", "size": "1x1"}),
    ("/v1/chat/completions", {"model": "ltx2_landscape", "messages": []}),
    ("/v1/chat/completions", {"model": "ltx2_landscape", "messages": [{"role": "system", "content": "x"}]}),
    ("/v1/chat/completions", {"model": "no-such-model", "messages": USER, "stream": True}),
    ("/v1/chat/completions", {"model": "gpt-image-2", "messages": USER}),
    ("/v1/chat/completions", {"model": "Wan2.1-I2V-14B-480P", "messages": USER}),
    *(("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": content}]})
      for model in ("ltx2_landscape", "sora2-landscape-10s") for content in (
        None, "", " ", [], [{"type": "text"}], [{"type": "audio"}], [{"type": "image_url"}],
        [{"type": "text", "text": 5}],
        [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "x"}],
        [{"type": "image_url", "image_url": {"url": "{media}/none"}}, {"type": "text", "text": "x"}],
        [{"type": "image_url", "image_url": {"url": "{png}"}}],
        [{"type": "video_url", "video_url": {"url": "{text64}"}}, {"type": "text", "text": "x"}],
    )),
    ("/v1/chat/completions", {"model": "sora2-landscape-10s", "messages": USER, "remix_target_id": REMIX}),
    ("/v1/chat/completions", {"model": "sora2-landscape-10s", "messages": USER, "remix_target_id": "x"}),
    ("/v1/chat/completions", {"model": "sora2-landscape-10s", "messages": USER, "style": "baroque"}),
    ("/v1/images/generate", {"prompt": "a boat", "model": "sora2-landscape-10s", "async_mode": True}),
    ("/v1/videos/generate", {"prompt": "a boat", "model": "gpt-image", "async_mode": True}),
    ("/v1/videos/generate", {"prompt": "a boat", "model": "no-such-model", "stream": True}),
    ("/v1/videos/generate", {"prompt": "a boat", "style": "baroque", "stream": True}),
    ("/v1/videos/storyboard", {"prompt": "no shots", "async_mode": True}),
    ("/v1/videos/storyboard", {"prompt": "[50.0s]a boat [50.0s]the sea", "async_mode": True}),
    ("/v1/videos/storyboard", {"prompt": "[0.0s]a boat [x]the sea", "async_mode": True}),
    ("/v1/characters/create", {"video": "{mp4}"}),
    ("/v1/characters/create", {"video": "{png}", "stream": True}),
    ("/v1/characters/create", {"video": "!!", "stream": True}),
    *(("/v1/characters/create", {"video": "{mp4}", "stream": True, "timestamps": text})
      for text in ("3,0", "x", "50,60", "1", "0,1,2", "-1,2")),
    ("/v1/characters/generate", {"prompt": "a boat", "video": "{mp4}"}),
    ("/v1/characters/generate", {"prompt": "a boat", "video": "{media}/none", "stream": True}),
)  # fmt: skip
FORMS = (
    "/v1/tasks/video/form",
    "/v1/tasks/image/form",
    "/v1/videos",
    "/v1/videos/edits",
    "/v1/videos/extensions",
    "/v1/videos/characters",
    "/v1/images/edits",
    "/v1/images/variations",
)
PATHS = (
    *(path.partition("?")[0] for path in BODIES),
    *FORMS,
    "/v1/tasks",
    "/v1/tasks/",
    "/v1/tasks/none",
    "/v1/tasks/task_none",
    "/v1/tasks/none/status",
    "/v1/tasks/none/result",
    "/v1/tasks/queue/status",
    "/v1/tasks/all/running",
    "/v1/service/status",
    "/v1/service/metadata",
    "/v1/files/none",
    "/v1/files/" + "0" * 32 + "_1.mp4",
    "/v1/files/download/outputs/videos/none.mp4",
    "/v1/videos/none",
    "/v1/videos/none/content",
    "/v1/videos/characters/none",
    "/v1/images/files/none.png",
    "/v1/models",
    "/v1/models/none",
    "/videos/none.mp4",
    "/view",
    "/view?filename=none.mp4",
    "/view?filename=none.mp4&type=input",
    "/view?type=output",
    "/health",
    "/ready",
    "/docs",
    "/docs/",
    "/docs/docs.js",
    "/docs/none",
    "/docs/schema",
    "/docs/schema/openapi.json",
    "/openapi.json",
    "/",
    "/predict-page/page.js",
    "/nothing",
    "/v1",
    "/v1/nothing",
    "/v1/tasks/a/b/c",
    "/v1/videos/a/b/c",
    "/video/none",
    "/v1/tasks/%00",
    "/v1/tasks/" + "x" * 300 + "/status",
    "/v1/videos/" + "x" * 300,
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def every_method(paths: Iterable[str] = PATHS) -> list[Step]:
    """Every method of every path, without a body."""
    return [Exchange(method=method, path=path) for path in dict.fromkeys(paths) for method in METHODS]


def bodies() -> list[Step]:
    """Bodies that are wrong as a whole: not JSON, broken forms, other content types."""
    raws = (
        b"",
        b"{",
        b"[]",
        b"null",
        b"5",
        b'"x"',
        b"{}",
        b'{"prompt": "\xff"}',
        b"[" * 5000,
        b'{"prompt": 1, "zz": 2}',
    )
    kinds = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x")
    json_steps = [Exchange(method="POST", path=path, raw=raw) for path in BODIES for raw in raws] + [
        Exchange(method="POST", path=path, raw=b'{"prompt": "a boat", "seed": "x"}', content_type=kind)
        for path in BODIES
        for kind in kinds
    ]
    part = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n'
    broken = (
        b"",
        b"--x\r\n",
        b"--x--\r\n",
        part,
        part + b"a\xff\r\n--x--\r\n",
        b"--x\r\nContent-Disposition: x\r\n\r\na\r\n--x--",
    )
    many = (
        part
        + b"a\r\n"
        + (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' * 2000)
        + b"--x--\r\n"
    )
    multipart = "multipart/form-data; boundary=x"
    form_steps = (
        [
            Exchange(method="POST", path=path, raw=raw, content_type=multipart)
            for path in FORMS
            for raw in (*broken, many)
        ]
        + [
            Exchange(method="POST", path=path, raw=raw, content_type="application/x-www-form-urlencoded")
            for path in FORMS
            for raw in (b"", b"prompt=", b"prompt=a&prompt=b&seed=x", b"a[b=1", b"a[b]=1&a=2", b"%ff=%ff")
        ]
        + [
            Exchange(method="POST", path=path, raw=b"{}", content_type=kind)
            for path in FORMS
            for kind in ("", "text/plain")
        ]
    )
    return [*json_steps, *form_steps]


def forms() -> list[Step]:
    """Forms with wrong fields and files."""
    image, text = ("image", "a.png", "png"), ("image", "a.png", "text")
    steps: list[Step] = []
    for path in FORMS:
        name = {"/v1/tasks/video/form": "image_file", "/v1/tasks/image/form": "image_file"}.get(path, "")
        name = name or (
            "image" if "images" in path else "input_reference" if path == "/v1/videos" else "video"
        )
        good, wrong, empty = (name, "a", "png"), (name, "a", "text"), (name, "a", "empty")
        uploads = ((), (wrong,), (empty,), (good, good), (("other", "a", "png"), image), (text,))
        bad = {"prompt": "a boat", "seconds": "x", "seed": "y", "name": "n" * 81, "zz": "1"}
        steps += [form(path, *files, **bad) for files in uploads]
        steps.append(form(path, wrong, prompt="a boat", seconds="1", name="n"))
        steps.append(form(path, **{name: "not a file"}, prompt="a boat"))
        steps.append(
            form(path, good, width="1.5", height="", n="99", size="axb", model="none", **{"a[": "1"})
        )
        steps.append(
            form(path, good, prompt="a boat", **{"video[id]": "x", "input_reference[image_url]": "x"})
        )
    return steps


def fields(paths: Iterable[str] = BODIES) -> list[Step]:
    """Every field of every body with every wrong value, left out, and one field too many."""
    steps: list[Step] = []
    for path in paths:
        good = dict(BODIES[path])
        for name in good:
            steps.append(post(path, **{key: value for key, value in good.items() if key != name}, zz=1))
            steps += [
                post(
                    path,
                    **{**good, name: value},
                    **({"zz": 1} if _would_stay_open(path, name, value) else {}),
                )
                for value in WRONG
            ]
    return steps


def _would_stay_open(path: str, name: str, value: Any) -> bool:
    return path == "/v1/images/generations" and name == "stream" and value is True


def special() -> list[Step]:
    """Bodies whose values are of the right type, but wrong in themselves or together."""
    return [post(path, **body) for path, body in SPECIAL]


def authorization() -> list[Step]:
    """Every route without a key, with a wrong one and with a malformed header."""
    values = (
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic c2VjcmV0",
        "secret",
        "bearer alice-secret",
        "Bearer é",
    )
    headers: list[dict[str, str]] = [{}, *({"Authorization": value} for value in values)]
    steps: list[Step] = [
        Exchange(
            method="POST" if path in BODIES or path in FORMS else "GET", path=path, key="", headers=header
        )
        for path in dict.fromkeys(PATHS)
        for header in (headers if "openapi" not in path and "schema" not in path else headers[:1])
    ]
    return [
        *steps,
        *(Exchange(method="DELETE", path=path, key="") for path in ("/v1/videos/none", "/v1/tasks/none")),
    ]


def browsers(*origins: str) -> list[Step]:
    """What browsers send: preflights, origins, and a foreign Host."""
    paths = (
        "/predict",
        "/v1/videos",
        "/v1/tasks/none",
        "/v1/chat/completions",
        "/health",
        "/nothing",
        "/videos/none.mp4",
    )
    steps: list[Step] = []
    for path in paths:
        for origin in origins:
            preflight = {
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type,x-other",
            }
            steps.append(Exchange(method="OPTIONS", path=path, headers=preflight, key=""))
            steps.append(
                Exchange(
                    method="OPTIONS", path=path, headers={**preflight, "Access-Control-Request-Method": "PUT"}
                )
            )
            steps.append(get(path, headers={"Origin": origin}))
            steps.append(Exchange(method="POST", path=path, headers={"Origin": origin}, body={}))
        hosts = ("evil.example", "localhost:1", "x.localhost", "[::1]", "127.0.0.2", "a b")
        steps += [get(path, headers={"Host": host}) for host in hosts]
    return steps
