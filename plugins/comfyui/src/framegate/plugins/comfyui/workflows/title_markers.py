"""The markers in nodes' titles, which bind parameters and name the result.

``$param.KEY`` binds the request parameter KEY, ``$output.NAME`` marks a result; every other name follows the
ComfyKit grammar ``$[~]name[.[~]field][!][:description]``.
"""

import re

from msgspec import Struct

_MARKER = re.compile(
    r"\$(?P<early>~)?(?P<name>[\w-]+)(?:\.(?P<late>~)?(?P<field>[^\s!:~][^!:~]*?))?\s*"
    r"(?P<required>!)?\s*(?::\s*(?P<description>.*))?",
    re.DOTALL,
)


class Marker(Struct, frozen=True):
    """One marker.

    ``field`` is the input that it names, if any. ``upload``: the value is a file to be uploaded.
    ``is_param``: the name must be one of a request's parameters. ``is_output``: it marks a result.
    """

    text: str
    name: str
    field: str = ""
    required: bool = False
    upload: bool = False
    description: str = ""
    is_output: bool = False
    is_param: bool = False


def parse_title(title: str) -> list[Marker]:
    """Return the markers of ``title``, ignoring text that does not begin with ``$``.

    Raises:
        ValueError: A part begins with ``$`` but is not a marker.
    """
    parts = (part.strip() for part in title.split(","))
    return [_parse_marker(part) for part in parts if part.startswith("$")]


def _parse_marker(text: str) -> Marker:
    match = _MARKER.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is not a marker; write $param.NAME, $output.video, or $name.field, with a ! at the "
            "end if it is required"
        )
    name, field = match["name"], match["field"] or ""
    marker = Marker(
        text=text,
        name=name,
        field=field,
        required=bool(match["required"]),
        upload=bool(match["early"] or match["late"]),
        description=(match["description"] or "").strip(),
    )
    if name == "output":
        return Marker(text=text, name=field, description=marker.description, is_output=True)
    if name == "param":
        if not field:
            raise ValueError(f"{text!r} names no parameter; write $param.text, $param.image, $param.seed, …")
        return Marker(text, field, "", marker.required, marker.upload, marker.description, is_param=True)
    return marker
