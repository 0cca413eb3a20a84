"""Paths and file names that lead out of the folders that the server reads and writes."""

from tests.security.case import OWNER, Case, Shape, each

UPWARDS = (
    "../../../../etc/passwd",
    "..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%252f..%252f..%252fetc%252fpasswd",
    "....//....//etc/passwd",
    "..\\..\\..\\etc\\passwd",
    "..%5c..%5cetc%5cpasswd",
    "%2fetc%2fpasswd",
    "/etc/passwd",
    "//etc/passwd",
    "/proc/self/environ",
    "~/.ssh/id_rsa",
    "..%c0%af..%c0%afetc/passwd",
    "..%00/etc/passwd",
    "x%00.png",
    "%ff%fe",
    "con",
    ".",
    "..",
    "a" * 2_000,
)
LOCAL_FILES = (
    "/etc/passwd",
    "../../../../etc/passwd",
    "inputs/../../../etc/passwd",
    "~/.bashrc",
    "/proc/self/environ",
    "/dev/stdin",
    "/dev/zero",
    "\\\\127.0.0.1\\share\\x.png",
    "C:\\Windows\\win.ini",
    "x\0.png",
    ".",
    "a/" * 2000 + "x.png",
    "x" * 5000 + ".png",
)
SAVED_AS = (
    "../../escaped.png",
    "/tmp/framegate-escaped.png",
    "..\\..\\escaped.png",
    "a/../../../escaped.png",
    "\0.png",
    "a\r\nX-Injected: 1.png",
    "~/escaped.png",
    "%2e%2e%2fescaped.png",
)
PLACES = {
    "/v1/files/download/{}": Shape.LIGHTX2V,
    "/v1/files/{}": Shape.OPENAI,
    "/videos/{}": Shape.WAN21,
    "/docs/{}": Shape.ANY,
    "/predict-page/{}": Shape.WAN22,
    "/v1/tasks/{}/status": Shape.LIGHTX2V,
    "/v1/videos/{}/content": Shape.OPENAI,
    "/v1/models/{}": Shape.OPENAI,
}

CASES = [
    *(
        Case(
            name=f"path out of {place}: {path[:40]}",
            method="GET",
            path=place.format(path),
            expect=(400, 403, 404, 405),
            shape=Shape.ANY,
            key=OWNER,
        )
        for place in PLACES
        for path in UPWARDS
    ),
    *each(
        LOCAL_FILES,
        lambda path: Case(
            name=f"local file as image_path: {path[:40]!r}",
            path="/v1/tasks/image",
            json={"prompt": "x", "image_path": path},
            expect=(400, 422),
            shape=Shape.LIGHTX2V,
        ),
    ),
    *each(
        LOCAL_FILES[:6],
        lambda path: Case(
            name=f"local file as image: {path[:40]!r}",
            path="/v1/images/transform",
            json={"prompt": "x", "image": path},
            expect=(400,),
        ),
    ),
    *each(
        SAVED_AS,
        lambda path: Case(
            name=f"save_result_path: {path!r}",
            path="/v1/tasks/image",
            json={"prompt": "x", "save_result_path": path, "width": 64, "height": 64},
            expect=(200, 400, 422),
            shape=Shape.LIGHTX2V,
        ),
    ),
    *each(
        SAVED_AS,
        lambda name: Case(
            name=f"upload's file name: {name!r}",
            path="/v1/videos/characters",
            data={"name": "x"},
            files={"video": (name, b"nothing", "video/mp4")},
            expect=(400,),
        ),
    ),
]
