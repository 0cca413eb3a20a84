"""Read the http(s) URLs that clients give, so that they are requested byte for byte as given.

A signed link is valid in one spelling only: ``%2F`` is not ``/`` there, nor ``%7e`` ``%7E``, and ``?`` at the
end counts. So nothing is normalised but the host, and only characters that no request line may hold are
encoded, as browsers do. The authority is read strictly: one that programs read in different ways is refused.
"""

import re
from ipaddress import IPv4Address, IPv6Address

from yarl import URL

MAX_URL = 16_384
"""Characters of a URL."""
MAX_SHOWN = 200

_PARTS = re.compile(r"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE | re.ASCII)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE | re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PORT = re.compile(r":[0-9]{0,5}", re.ASCII)
_NUMERIC = re.compile(r"[0-9.]+", re.ASCII)
_NOT_IN_AUTHORITY = re.compile(r"[\s%\\]")
_NOT_IN_TARGET = re.compile(r'[^!-~]+|["<>\\^`{}]+')


class InvalidUrl(ValueError):
    """A text is not an http(s) URL; the message is a predicate, such as "is not an http(s) URL"."""


class UrlHasCredentials(InvalidUrl):
    """A URL has a user name or a password."""


def parse_url(text: str) -> URL:
    """Return the URL of a text, without blanks around it and without fragment.

    Its ``raw_path_qs`` is what to request, its ``raw_host`` what to resolve.

    Raises:
        InvalidUrl: It is not an http(s) URL, or one that not every program reads in the same way.
        UrlHasCredentials: It has a user name or a password.
    """
    if len(text) > 2 * MAX_URL or len(text := text.strip()) > MAX_URL:
        raise InvalidUrl(f"has {len(text):,} characters; at most {MAX_URL:,} are accepted")
    parts = _PARTS.match(text)
    if parts is None:
        raise InvalidUrl("is not an http(s) URL")
    scheme, authority, target = parts.groups()
    if "@" in authority:
        raise UrlHasCredentials("carries a user name or password")
    try:
        if _CONTROL.search(text) or not _is_unambiguous(authority):
            raise ValueError
        origin = URL(f"{scheme.lower()}://{authority}")
        host, port = origin.raw_host, origin.port
        if host and _NUMERIC.fullmatch(host):
            IPv4Address(host)  # ``127.1`` and ``2130706433`` are addresses to some programs only
        if "[" in authority:
            IPv6Address(host or "")  # yarl takes more in brackets than addresses, and then loses the brackets
        target = _NOT_IN_TARGET.sub(_percent_encoded, target)
    except ValueError:
        raise InvalidUrl("is not a valid http(s) URL") from None
    if not host or not port:
        raise InvalidUrl("is not an http(s) URL")
    path = target if target.startswith("/") else f"/{target}"
    # The query is part of the path here: yarl would drop an empty one.
    return URL.build(scheme=origin.scheme, authority=origin.raw_authority, path=path, encoded=True)


def join_url(base: URL, reference: str) -> URL:
    """Return the URL that a ``Location`` header names, relative to the one that was requested.

    Raises:
        InvalidUrl, UrlHasCredentials: As for `parse_url`; also if the reference is empty.
    """
    reference = reference.strip()
    if not reference:
        raise InvalidUrl("is not an http(s) URL")
    if _SCHEME.match(reference):
        return parse_url(reference)
    if reference.startswith("//"):
        return parse_url(f"{base.scheme}:{reference}")
    path = base.raw_path_qs.partition("?")[0]
    if reference.startswith("#"):
        target = base.raw_path_qs
    elif reference.startswith("?"):
        target = path + reference
    elif reference.startswith("/"):
        target = reference
    else:
        relative, mark, query = reference.partition("#")[0].partition("?")
        target = _merge(path, relative) + mark + query
    return parse_url(f"{base.scheme}://{base.raw_authority}{target}")


def _is_unambiguous(authority: str) -> bool:
    """Return whether all programs agree on where the authority's host and port begin and end."""
    rest = authority[authority.rfind("]") + 1 :]  # an IPv6 address has colons of its own
    port = rest[rest.find(":") :] if ":" in rest else ""
    return not _NOT_IN_AUTHORITY.search(authority) and (not port or bool(_PORT.fullmatch(port)))


def _percent_encoded(characters: re.Match[str]) -> str:
    # A Location header may have bytes that are not UTF-8, which stand in its text as surrogates.
    return "".join(f"%{byte:02X}" for byte in characters[0].encode("utf-8", "surrogateescape"))


def _merge(base: str, relative: str) -> str:
    """Return the path that ``relative`` names beside ``base`` (RFC 3986, 5.2)."""
    segments = base.split("/")[:-1]
    parts = relative.split("/")
    for part in parts:
        if part == ".." and len(segments) > 1:
            segments.pop()
        elif part not in (".", ".."):
            segments.append(part)
    if parts[-1] in (".", ".."):
        segments.append("")
    return "/".join(segments)


def shown_url(url: str) -> str:
    """Return the URL as messages show it: printable, without credentials or query, of limited length."""
    text = re.split(r"[?#]", url[: 2 * MAX_URL].strip(), maxsplit=1)[0]
    text = re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*:)?([\\/]*)[^\\/]*@", r"\1\2", text)
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
