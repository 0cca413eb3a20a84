"""Empty query parameters."""

from urllib.parse import unquote_to_bytes

from framegate.server.requests.bodies import HTTPRequest


async def drop_empty_parameters(request: HTTPRequest) -> None:
    """Let optional parameters without a value count as omitted: ``?after=&limit=5``.

    That is how many clients write a null. Litestar calls this before it parses the parameters.
    """
    if not request.scope["query_string"]:
        return
    parameters = request.route_handler.parsed_fn_signature.parameters.items()
    required = {name.encode() for name, parameter in parameters if not parameter.has_default}
    pairs = [pair.partition(b"=") for pair in request.scope["query_string"].split(b"&")]
    request.scope["query_string"] = b"&".join(
        b"".join(pair) for pair in pairs if pair[2] or unquote_to_bytes(pair[0]) in required
    )
