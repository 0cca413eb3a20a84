"""OpenAI's videos: characters, which prompts call by ``@id``."""

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from framegate.core.errors import InvalidMedia, NotFound
from framegate.core.ports import BytesSource
from framegate.server.auth.keys import client_of
from framegate.server.dialects.openai.videos.convert import character_object
from framegate.server.dialects.openai.videos.schemas import CharacterFields, CharacterObject
from framegate.server.dialects.openai.videos.studio import Studio
from framegate.server.requests.bodies import MULTIPART, HTTPRequest, documents, read_form
from framegate.server.responses.waiting import while_connected

_FILES = {"video": True}
_LOOKED_AT = 10.0
"""Seconds from the video's beginning in which the character is looked for."""


def character_routes(studio: Studio) -> list[HTTPRouteHandler]:
    @post(
        "/v1/videos/characters",
        status_code=200,
        summary="Keep who (or what) a video shows as a character",
        opt=documents(CharacterFields, content_type=MULTIPART, files=_FILES),
    )
    async def create_character(request: HTTPRequest) -> CharacterObject:
        fields, files = await read_form(request, CharacterFields, _FILES)
        creation = studio.services.characters.create(
            BytesSource(await studio.upload(files["video"], "video")),
            start=0.0,
            end=_LOOKED_AT,
            owner=client_of(request.scope).name,
            display_name=fields.name,
        )
        try:
            return character_object(await while_connected(request.receive, creation))
        except InvalidMedia as error:
            error.param = "video"
            raise

    @get("/v1/videos/characters/{character_id:str}", summary="A character")
    async def get_character(request: HTTPRequest, character_id: FromPath[str]) -> CharacterObject:
        try:
            character = await studio.services.characters.get(character_id, client_of(request.scope).name)
        except NotFound as error:
            error.param = "character_id"
            raise
        return character_object(character)

    return [create_character, get_character]
