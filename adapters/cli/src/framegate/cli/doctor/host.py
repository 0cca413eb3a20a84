"""This machine: what it can encode, how much room it has, and whether the server's port is free."""

import errno
import http.client
import importlib.metadata
import io
import json
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path

from framegate.cli.devices import Device, find_gpus
from framegate.cli.doctor.findings import Finding, check, warn
from framegate.core.errors import ConfigError, FramegateError
from framegate.core.hub_cache import cache_folder
from framegate.core.settings import Settings

LOW_BYTES, LOW_SHARE = 2 * 2**30, 0.05
"""Less free room than this is little: a download or some videos may fill it."""
_PROBE_SECONDS = 2.0


def check_host(settings: Settings) -> list[Finding]:
    """Return what can be said without the queue and the models."""
    version = f"{platform.python_version()} on {platform.platform()}"
    gpus = find_gpus()
    return [
        Finding("python", sys.version_info >= (3, 11), version),
        Finding("device", ok=True, detail=_devices(gpus)),
        check("video encoder", _encode),
        *_card_encoders(settings, gpus),
        *_disks(settings),
    ]


def check_port(settings: Settings) -> Finding:
    """Return whether the server could listen, or does already."""
    return check("port", lambda: _port(settings.server.host, settings.server.port))


def _devices(gpus: Sequence[Device]) -> str:
    named = [
        " ".join(
            part
            for part in (gpu.name, gpu.description, gpu.memory and f"({gpu.memory / 2**30:.0f} GiB)")
            if part
        )
        for gpu in gpus
    ]
    return ", ".join(named) or "no GPU; workers use the CPU"


def _encode() -> str:
    """Encode one frame and some silence, as results are encoded."""
    import av

    with av.open(io.BytesIO(), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=24)
        audio = container.add_stream("aac", rate=48_000)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        silence = av.AudioFrame(format="fltp", layout="stereo", samples=1024)
        silence.sample_rate = 48_000
        for plane in silence.planes:
            plane.update(bytes(plane.buffer_size))
        for stream, frame in ((video, av.VideoFrame(64, 64, "yuv420p")), (audio, silence)):
            container.mux(stream.encode(frame))  # type: ignore[arg-type]  # each stream with its own frame
            container.mux(stream.encode(None))
    return f"PyAV {importlib.metadata.version('av')} with libx264 and aac"


def _card_encoders(settings: Settings, gpus: Sequence[Device]) -> Iterator[Finding]:
    """Return for each GPU what would encode the videos of its worker, and why."""
    from framegate.media.video.codecs import choose_codec

    for gpu in gpus:
        codec, reason = choose_codec(gpu.name, settings.worker.video_encoder)
        yield Finding(f"video encoder of {gpu.name}", ok=True, detail=f"{codec.name}: {reason}")


def _disks(settings: Settings) -> Iterator[Finding]:
    """Return the free room of each file system that files are written to."""
    folders = {
        "data folder": settings.server.data_path,
        "temporary files": Path(tempfile.gettempdir()),
        "hub cache": cache_folder(),
    }
    seen: set[int] = set()
    for name, folder in folders.items():
        existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        device = existing.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        total, _, free = shutil.disk_usage(existing)
        shown = f"{free / 2**30:.1f} GiB of {total / 2**30:.1f} GiB are free for the {name} ({folder})"
        if free < LOW_BYTES or free < total * LOW_SHARE:
            yield warn("disk", f"only {shown}")
        else:
            yield Finding("disk", ok=True, detail=shown)


def _port(host: str, port: int) -> str:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigError(f"can't listen on {host}:{port}: {error.strerror}") from None
        else:
            return f"{host}:{port} is free"
    if not _is_framegate(host, port):
        raise FramegateError(f"{host}:{port} is used by another program; set server.port, or stop that one")
    return f"a framegate server answers on {host}:{port}"


def _is_framegate(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(_reachable(host), port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", "/health", headers={"Host": f"localhost:{port}"})
        answer: object = json.loads(connection.getresponse().read(1000))
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return answer == {"status": "ok"}


def _reachable(host: str) -> str:
    """Return the address at which this machine reaches a server that listens on ``host``."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"
