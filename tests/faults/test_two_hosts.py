"""API and worker on two hosts that share a queue and a bucket, and no folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import requests

from tests.support.listing import files_below
from tests.support.running import RunningServer, clean_environ, eventually, running_worker
from tests.support.s3_servers import S3Server, moto_server, rclone_server

StartServer = Callable[..., RunningServer]


@pytest.fixture(params=["rclone", "moto"])
def s3(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[S3Server]:
    with rclone_server(tmp_path / "bucket") if request.param == "rclone" else moto_server() as found:
        yield found


@pytest.fixture
def config(s3: S3Server, queue_url: str) -> str:
    return f'[queue]\nurl = "{queue_url}"\n{s3.config}'


@pytest.fixture
def worker_host(config: str, s3: S3Server, tmp_path: Path) -> Iterator[Path]:
    """The data folder of a host that only works."""
    folder = tmp_path / "worker-host"
    folder.mkdir()
    (folder / "framegate.toml").write_text(config)
    environ = clean_environ(s3.environ)
    with running_worker(folder / "data", "--config", folder / "framegate.toml", environ=environ) as worker:
        yield folder / "data"
        worker.terminate()
        assert worker.wait(60) == 0


def make_video(api: RunningServer, photo: Path) -> str:
    """The URL of the result."""
    with photo.open("rb") as file:
        task = requests.post(
            f"{api.url}/v1/tasks/video/form",
            data={"prompt": "waves", "width": 128, "height": 96, "video_duration": 1, "seed": 7},
            files={"image_file": ("photo.jpg", file)},
            timeout=60,
        ).json()["task_id"]

    def ended() -> bool:
        found = requests.get(f"{api.url}/v1/tasks/{task}/status", timeout=60).json()
        assert found["status"] not in ("failed", "cancelled"), found
        return found["status"] in ("succeed", "completed")

    eventually(ended, what="the end of the job")
    return f"{api.url}/v1/tasks/{task}/result"


def test_picture_goes_to_the_worker_and_video_comes_back(
    start_server: StartServer, config: str, s3: S3Server, worker_host: Path, photo: Path, tmp_path: Path
) -> None:
    api = start_server(
        config=config, environ=s3.environ, arguments=["--no-worker"], ready="/health"
    ).wait_until_ready()
    url = make_video(api, photo)
    whole = requests.get(url, timeout=60)
    film = tmp_path / "film.mp4"
    film.write_bytes(whole.content)
    with av.open(film) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert frames[0].shape == (96, 128, 3)
    assert np.abs(frames[0].astype(int) - frames[-1].astype(int)).mean() > 0.5, "it moves"
    part = requests.get(url, headers={"Range": "bytes=100-199"}, timeout=60)
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    head = requests.head(url, timeout=60)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(whole.content)))
    assert requests.get(url, headers={"If-None-Match": whole.headers["ETag"]}, timeout=60).status_code == 304
    assert not files_below(worker_host), "the worker keeps nothing"


def test_clients_are_sent_to_the_bucket(
    start_server: StartServer, config: str, s3: S3Server, worker_host: Path, photo: Path
) -> None:
    api = start_server(
        config=config + 'downloads = "redirect"\n',
        environ=s3.environ,
        arguments=["--no-worker"],
        ready="/health",
    ).wait_until_ready()
    url = make_video(api, photo)
    answer = requests.get(url, allow_redirects=False, timeout=60)
    assert answer.status_code == 307
    assert answer.headers["Location"].startswith(s3.endpoint)
    film = requests.get(url, timeout=60)
    assert film.content[4:8] == b"ftyp"
    assert requests.head(url, allow_redirects=True, timeout=60).headers["Content-Length"] == str(
        len(film.content)
    )
    assert not files_below(api.data_dir / "cache"), "nothing went through this host"


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_retention_empties_the_bucket(
    start_server: StartServer, config: str, s3: S3Server, worker_host: Path, photo: Path
) -> None:
    api = start_server(
        config=config, environ=s3.environ, arguments=["--no-worker"], ready="/health"
    ).wait_until_ready()
    url = make_video(api, photo)
    assert requests.get(url, timeout=60).ok
    api.stop()
    api.restart(config=config + 'retention = "1s"\n')

    def listed() -> int:
        return requests.get(f"{s3.endpoint}/films", timeout=60).text.count("<Key>")

    eventually(lambda: listed() == 1, what="a bucket with nothing but its mark")
    eventually(lambda: not files_below(api.data_dir / "cache"), what="an empty cache")
    assert requests.get(url, timeout=60).status_code in (404, 410)


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_a_bucket_that_is_away_is_said(
    start_server: StartServer, config: str, s3: S3Server, photo: Path
) -> None:
    away = config.replace(s3.endpoint, "http://127.0.0.1:9")
    environ = {**s3.environ, "FRAMEGATE_QUEUE__WORKER_GRACE": "forever"}
    api = start_server(config=away, environ=environ, arguments=["--no-worker"], ready="/health")
    with photo.open("rb") as file:
        answer = requests.post(
            f"{api.url}/v1/tasks/video/form",
            data={"prompt": "waves"},
            files={"image_file": ("photo.jpg", file)},
            timeout=60,
        )
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert "storage" in answer.text
    assert "127.0.0.1" not in answer.text
    done = api.run("doctor")
    assert done.returncode == 1
    assert "FAIL storage: The storage can't be reached" in done.stdout
