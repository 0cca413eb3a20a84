"""What titles of nodes mean."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framegate.plugins.comfyui.workflows.title_markers import Marker, parse_title


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("$param.image", [("image", "", False, False, "")]),
        ("$param.format.codec!", [("format.codec", "", True, False, "")]),
        ("$~param.clip", [("clip", "", False, True, "")]),
        ("$param.~clip", [("clip", "", False, True, "")]),
        ("$seed", [("seed", "", False, False, "")]),
        ("$prompt.text!", [("prompt", "text", True, False, "")]),
        ("$~input_image", [("input_image", "", False, True, "")]),
        ("$img.~image!: A photograph: yours", [("img", "image", True, True, "A photograph: yours")]),
        ("$codec.format.codec", [("codec", "format.codec", False, False, "")]),
        (
            "Canvas Size, $width!, $height!, $batch_size",
            [
                ("width", "", True, False, ""),
                ("height", "", True, False, ""),
                ("batch_size", "", False, False, ""),
            ],
        ),
        ("LENGTH (frames, 8n+1)", []),
        ("It costs 5 $, or more", []),
        ("", []),
        ("$提示词.text", [("提示词", "text", False, False, "")]),
    ],
)
def test_markers(title: str, expected: list[tuple[str, str, bool, bool, str]]) -> None:
    found = [(m.name, m.field, m.required, m.upload, m.description) for m in parse_title(title)]
    assert found == expected


@pytest.mark.parametrize(("title", "name"), [("$output.video", "video"), ("Save, $output.cover", "cover")])
def test_results(title: str, name: str) -> None:
    [marker] = parse_title(title)
    assert (marker.is_output, marker.name) == (True, name)


@pytest.mark.parametrize("title", ["$", "$!", "$.text", "$param.", "$5 each", "$a b", "$param"])
def test_what_begins_like_a_marker_and_is_none_is_an_error(title: str) -> None:
    with pytest.raises(ValueError, match=r"\$param"):
        parse_title(title)


_names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True).filter(
    lambda name: name not in ("param", "output")
)
_fields = st.lists(_names, min_size=1, max_size=3).map(".".join)


@given(
    _names,
    st.none() | _fields,
    st.booleans(),
    st.booleans(),
    st.none() | st.from_regex(r"[a-z :$!~.]*", fullmatch=True),
)
def test_what_the_grammar_allows_is_read_back(
    name: str, field: str | None, required: bool, upload: bool, description: str | None
) -> None:
    text = f"${name}" + (f".{'~' if upload else ''}{field}" if field else "")
    text += ("!" if required else "") + (f":{description}" if description is not None else "")
    [marker] = parse_title(text)
    assert marker == Marker(
        text=text.strip(),
        name=name,
        field=field or "",
        required=required,
        upload=upload and field is not None,
        description=(description or "").strip(),
    )


@given(st.text())
def test_any_title_is_read_or_refused(title: str) -> None:
    with suppress(ValueError):
        assert len(parse_title(title)) <= title.count("$")
