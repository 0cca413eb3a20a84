"""What chat front ends send on their own gets a text; what people write gets a video."""

import json
from typing import Any

import pytest
import requests
from openai import OpenAI

from framegate.core.errors import ConfigError
from framegate.server.dialects.openai.chat.schemas import ChatMessage
from framegate.server.dialects.openai.chat.task_prompts import KNOWN
from framegate.server.dialects.openai.chat.tasks import TaskPatterns
from tests.support.event_stream import SoraTold, Told
from tests.support.http_stand import Stand, StandMaker, own_dialects
from tests.support.openai_types import check_completion

MODELS = ("ltx2_landscape", "sora2-landscape-10s", "gpt-image")
HISTORY = "\nUSER: a white cat on a surfboard, at sunset\nASSISTANT: ```html\n<video></video>\n```\n"


def open_webui(instructions: str, output: str) -> str:
    """A prompt as Open WebUI builds it from its templates."""
    return (
        f"### Task:\n{instructions}\n### Guidelines:\n- Be short.\n### Output:\nJSON format: {output}\n"
        f"### Chat History:\n<chat_history>{HISTORY}</chat_history>"
    )


TITLE = open_webui(
    "Generate a concise, 3-5 word title with an emoji summarizing the chat history.",
    '{ "title": "your concise title here" }',
)
SUBJECT = "A white cat on a surfboard"
OPEN_WEBUI: list[tuple[str, Any]] = [
    (TITLE, {"title": SUBJECT}),
    (
        open_webui(
            "Generate 1-3 broad tags categorizing the main themes of the chat history.",
            '{ "tags": ["tag1", "tag2", "tag3"] }',
        ),
        {"tags": []},
    ),
    (
        open_webui(
            "Suggest 3-5 relevant follow-up questions or prompts that the user might ask next.",
            '{ "follow_ups": ["Question 1?", "Question 2?", "Question 3?"] }',
        ),
        {"follow_ups": []},
    ),
    (
        open_webui(
            "Analyze the chat history to determine the necessity of generating search queries, in the given "
            'language. If none is needed, return: { "queries": [] }.',
            'Strictly return in JSON format: \n{\n  "queries": ["query1", "query2"]\n}',
        ),
        {"queries": []},
    ),
    (
        open_webui(
            "Generate a detailed prompt for am image generation task based on the given language.",
            '{\n    "prompt": "Your detailed description here."\n}',
        ),
        {"prompt": SUBJECT},
    ),
    (
        open_webui(
            "You are an autocompletion system. Continue the text in `<text>`.",
            '`{ "text": "<your_completion>" }`',
        ),
        {"text": ""},
    ),
    # An administrator's own template, in another language.
    (open_webui("Erzeuge einen kurzen Titel.", '{ "title": "Titel" }'), {"title": SUBJECT}),
]
CONVERSATION = [
    {"role": "user", "content": "a white cat on a surfboard, at sunset"},
    {"role": "assistant", "content": "Successfully generated video for: a white cat …"},
]
TEXTS: list[tuple[list[dict[str, Any]], str]] = [
    (  # LibreChat
        [
            {
                "role": "user",
                "content": "Provide a concise, 5-word-or-less title for the conversation, using title case "
                "conventions. Only return the title itself.\n\nConversation:\n"
                "User: a white cat on a surfboard, at sunset\nAI: …",
            }
        ],
        SUBJECT,
    ),
    (
        [
            {
                "role": "system",
                "content": "Detect user language and write in the same language an extremely concise title "
                'for this conversation.\n\n||>User:\n"a white cat on a surfboard, at sunset"\n||>Response:\n'
                '"…"\n\n||>Title:',
            }
        ],
        SUBJECT,
    ),
    (  # NextChat
        [
            *CONVERSATION,
            {
                "role": "user",
                "content": "Please generate a four to five word title summarizing our conversation without "
                "any lead-in, punctuation, quotation marks, periods, symbols, bold text, or additional text.",
            },
        ],
        SUBJECT,
    ),
    (
        [
            *CONVERSATION,
            {
                "role": "user",
                "content": "使用四到五个字直接返回这句话的简要主题，不要解释、不要标点、不要语气词",
            },
        ],
        SUBJECT,
    ),
    (
        [
            *CONVERSATION,
            {
                "role": "system",
                "content": "Summarize the discussion briefly in 200 words or less to use as a prompt for "
                "future context.",
            },
        ],
        SUBJECT,
    ),
    (  # LobeChat
        [
            {
                "role": "system",
                "content": "You are a professional conversation summarizer. Make a title.",
            },
            {"role": "user", "content": "user: a white cat on a surfboard, at sunset\nassistant: …"},
        ],
        SUBJECT,
    ),
    (
        [
            {
                "role": "system",
                "content": "You are a professional conversation summarizer.\n"
                '- Return one JSON object with a single "title" string',
            },
            {
                "role": "user",
                "content": "<task>\nGenerate a concise title\n</task>\n<user>\na white cat on a surfboard, "
                "at sunset\n</user>",
            },
        ],
        f'{{"title":"{SUBJECT}"}}',
    ),
    (  # Cherry Studio
        [
            {
                "role": "system",
                "content": "You are an assistant skilled in conversation. You need to summarize the user's "
                "conversation into a title within 10 words.",
            },
            {"role": "user", "content": "a white cat on a surfboard, at sunset"},
        ],
        SUBJECT,
    ),
    (  # Chatbox
        [
            {
                "role": "user",
                "content": [
                    {
                        "type": "text",
                        "text": "Based on the chat history, give this conversation a name.\nKeep it short.\n"
                        "Here's it:\n\n```\na white cat on a surfboard, at sunset\n\n---\n…\n```",
                    }
                ],
            }
        ],
        SUBJECT,
    ),
    (  # Open WebUI until 0.3
        [
            {
                "role": "user",
                "content": "Here is the query:\na white cat on a surfboard, at sunset\n\nCreate a concise, "
                "3-5 word phrase with an emoji as a title for the previous query. RESPOND ONLY WITH IT.",
            }
        ],
        SUBJECT,
    ),
    (  # LibreChat
        [
            {
                "role": "user",
                "content": "Please generate a concise title (max 40 characters) for a conversation that "
                "starts with:\nUser: a white cat on a surfboard, at sunset\nAssistant: …\n\nTitle:",
            }
        ],
        SUBJECT,
    ),
    (
        [
            {
                "role": "user",
                "content": "Analyze this conversation and provide:\n1. The detected language of the "
                "conversation\n2. A concise title in the detected language (5 words or less, no punctuation "
                "or quotation)\n\nUser: a white cat on a surfboard, at sunset\nAI: …",
            }
        ],
        SUBJECT,
    ),
    (  # HuggingChat
        [
            {
                "role": "system",
                "content": "You are a chat thread titling assistant.\nGoal: Produce a very short, "
                "descriptive title (2-4 words) that names the topic of the user's first message.",
            },
            {"role": "user", "content": 'User message: "a white cat on a surfboard, at sunset"'},
        ],
        SUBJECT,
    ),
    (  # Vercel's chatbot
        [
            {
                "role": "system",
                "content": "\n\n    - you will generate a short title based on the first message a user "
                "begins a conversation with\n    - ensure it is not more than 80 characters long",
            },
            {"role": "user", "content": "a white cat on a surfboard, at sunset"},
        ],
        SUBJECT,
    ),
    (
        [
            {
                "role": "user",
                "content": "Your task is to reflect the speaker's likely facial expression through a fitting "
                "emoji.\n\nMessage: ```hello```",
            }
        ],
        "🎬",
    ),
]
PROMPTS = [
    "Generate a title sequence for a film",
    "Generate a concise, 3-5 word title",
    "### Task:\nGenerate a video of a white cat",
    "### Task:\nRespond to the user query using the provided context.\n<context>…</context>\na white cat",
    'A man reads aloud: "### Task:\nGenerate a concise, 3-5 word title with an emoji"',
    f"A cat reads this: {TITLE}",
    "Summarize the discussion briefly, as an animation",
    "Provide a concise, 5-word-or-less title card for a film",
    "Create a concise video",
    "Available tools: a hammer, a saw; a carpenter at work",
    "You are a professional dancer",
]
OWN_SYSTEM_PROMPTS = [
    "You make videos.",
    "You are an assistant skilled in conversation and in films.",
    "你是一名擅长会话的助理，也会拍电影",
    "You are a professional conversation summarizer and a film director.",
    "Use the language used by the user (e.g. en for english conversation) for what is said in videos.",
    "You're an assistant who's good at extracting key takeaways from conversations for short films.",
]


def ask(stand: Stand, messages: Any, model: str = MODELS[0], **fields: Any) -> requests.Response:
    body = {"model": model, "messages": messages, **fields}
    return requests.post(f"{stand.url}/v1/chat/completions", json=body, timeout=20, stream=True)


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(("prompt", "wanted"), OPEN_WEBUI)
@pytest.mark.parametrize("model", MODELS)
def test_open_webui_gets_the_json_that_it_asks_for(
    shared_stand: Stand, model: str, prompt: str, wanted: Any
) -> None:
    completion = check_completion(ask(shared_stand, user(prompt), model).json())
    assert json.loads(completion.choices[0].message.content or "") == wanted
    stream = (Told if model == MODELS[0] else SoraTold)(ask(shared_stand, user(prompt), model, stream=True))
    assert (json.loads(stream.content), stream.progress) == (wanted, "")
    assert not shared_stand.jobs()


@pytest.mark.parametrize(("messages", "wanted"), TEXTS)
def test_others_get_a_text(shared_stand: Stand, messages: list[dict[str, Any]], wanted: str) -> None:
    for model in MODELS:
        completion = check_completion(ask(shared_stand, messages, model).json())
        assert completion.choices[0].message.content == wanted
    assert not shared_stand.jobs()


def test_the_sdk_gets_a_title(shared_stand: Stand) -> None:
    with OpenAI(base_url=f"{shared_stand.url}/v1", api_key="x", max_retries=0, timeout=10) as client:
        completion = client.chat.completions.create(
            model=MODELS[0], messages=[{"role": "user", "content": TITLE}], max_completion_tokens=1000
        )
        assert json.loads(completion.choices[0].message.content or "") == {"title": SUBJECT}
        [chunk] = client.chat.completions.create(
            model=MODELS[0], messages=[{"role": "user", "content": TITLE}], stream=True
        )
    assert (chunk.choices[0].delta.role, chunk.choices[0].finish_reason) == ("assistant", "stop")
    assert not shared_stand.jobs()


def test_what_people_write_is_a_prompt(stand: Stand) -> None:
    chats = [
        *map(user, PROMPTS),
        [*user(TITLE), {"role": "assistant", "content": "{}"}, *user("a white cat")],
        *([{"role": "system", "content": text}, *user("a white cat")] for text in OWN_SYSTEM_PROMPTS),
    ]
    for model in MODELS[:2]:
        with stand.working():
            for messages in chats:
                assert ask(stand, messages, model).status_code == 200
    cats = ["a white cat"] * (1 + len(OWN_SYSTEM_PROMPTS))
    assert [job.request.prompt for job in stand.jobs()] == 2 * [*PROMPTS, *cats]


def test_the_model_must_exist_even_for_a_title(shared_stand: Stand, make_stand: StandMaker) -> None:
    answer = ask(shared_stand, user(TITLE), "none")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    alone = make_stand(dialects={"sora2api": own_dialects()["sora2api"]})
    assert ask(alone, user(TITLE), "none").json()["error"]["message"] == "Invalid model: none"
    assert ask(alone, user(TITLE), MODELS[1]).status_code == 200


@pytest.mark.parametrize("dialect", ["openai-chat", "sora2api"])
def test_more_patterns(make_stand: StandMaker, dialect: str) -> None:
    """Those of one dialect hold for all models of the endpoint."""
    patterns = ["Name this  CHAT:", "*reply with a title*only*"]
    stand = make_stand({dialect: {"task_patterns": patterns}})
    for model in MODELS[:2]:
        for prompt in ("name\nthis chat: x", "\n Please REPLY with a title, and\nonly that"):
            messages = [*CONVERSATION, *user(prompt)]
            completion = check_completion(ask(stand, messages, model).json())
            assert completion.choices[0].message.content == SUBJECT
    assert not stand.jobs()
    with stand.working():
        for prompt in ("Do name this chat: x", "only reply with a title", "Name this chat"):
            assert ask(stand, user(prompt)).status_code == 200
    assert len(stand.jobs()) == 3


def test_tasks_can_be_made_into_videos(make_stand: StandMaker) -> None:
    stand = make_stand({"openai-chat": {"answer_tasks": False, "task_patterns": ["name it"]}})
    with stand.working():
        for prompt in (TITLE, "name it"):
            assert ask(stand, user(prompt)).status_code == 200
    assert [job.request.prompt for job in stand.jobs()] == [TITLE, "name it"]
    completion = check_completion(ask(stand, user(TITLE), MODELS[1]).json())
    assert json.loads(completion.choices[0].message.content or "") == {"title": SUBJECT}


@pytest.mark.parametrize("pattern", ["", " ", "*", " * *"])
def test_a_pattern_for_everything_is_refused(make_stand: StandMaker, pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"dialects\.openai-chat\.task_patterns\[1\]"):
        make_stand({"openai-chat": {"task_patterns": ["fine", pattern]}})


def test_each_known_prompt_is_recognised() -> None:
    patterns = TaskPatterns()
    for known in KNOWN:
        assert patterns.match("\n" + known.upper().replace(" ", "\r\n").replace("*", " any text "))
        assert not patterns.match(f"A cat says: {known}")


@pytest.mark.parametrize(
    ("conversation", "title"),
    [
        ("", "New video"),
        ("USER: \nASSISTANT: …", "New video"),
        ("USER: [5.0s]a cat [5.0s]a dog", "[5.0s]a cat [5.0s]a dog"),
        ('USER: "a cat"\n', "A cat"),
        ("USER: " + "猫" * 100, "猫" * 48),
        ("user: one two three four five six seven", "One two three four five six"),
        ("\n\n# a cat, by night", "A cat, by night"),
    ],
)
def test_titles(conversation: str, title: str) -> None:
    prompt = f'### Task:\nA title: {{ "title": "…" }}\n<chat_history>\n{conversation}\n</chat_history>'
    answer = TaskPatterns().answer_to([ChatMessage("user", prompt)])
    assert answer is not None
    assert json.loads(answer) == {"title": title}


@pytest.mark.parametrize("content", [None, 5, [], ["x"], [{"type": "text"}], [{"text": 5}], {"text": "x"}])
def test_whatever_else_is_no_task(content: Any) -> None:
    assert TaskPatterns().answer_to([ChatMessage("system", content), ChatMessage("user", content)]) is None
