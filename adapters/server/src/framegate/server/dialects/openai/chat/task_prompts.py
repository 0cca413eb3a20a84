"""The prompts that chat front ends send on their own: for a chat's title, its tags, follow-up questions.

They go to the model of the chat, and a model that makes videos would make one of each. The patterns are
beginnings of a message, ``*`` stands for any text; case and white space don't count. They also hold for
system messages, of which people write their own: each says what is asked for, not only who the model is.
"""

OPEN_WEBUI = (
    "### Task: Generate a concise, 3-5 word title",
    "### Task: Generate 1-3 broad tags categorizing",
    "### Task: Suggest 3-5 relevant follow-up",
    "### Task: Analyze the chat history to determine the necessity of generating search queries",
    "### Task: Generate a detailed prompt for am image generation task",
    "### Task: Generate a detailed prompt for an image generation task",
    "### Task: You are an autocompletion system",
    # Templates that an administrator has edited or translated.
    "### Task:*<chat_history>",
    "Create a concise, 3-5 word title with an emoji",
    "Create a concise, 3-5 word phrase as a header for the following",
    "Here is the query:*Create a concise, 3-5 word phrase with an emoji as a title for the previous query",
    "Your task is to reflect the speaker's likely facial expression through a fitting emoji",
    "You have been provided with a set of responses from various models to the latest user query",
    'Available Tools:*"tool_calls"',
    "Available Tools:*Return an empty string if no tools match the query",
)

LIBRECHAT = (
    "Provide a concise, 5-word-or-less title for the conversation",
    "Please generate a concise, 5-word-or-less title for the conversation",
    "Please generate a concise title (max 40 characters) for a conversation that starts with",
    "Analyze this conversation and provide: 1. The detected language of the conversation",
    "Detect user language and write in the same language an extremely concise title",
)

NEXTCHAT = (
    "Please generate a four to five word title summarizing our conversation",
    "Summarize the discussion briefly in 200 words or less to use as a prompt for future context",
    "使用四到五个字直接返回这句话的简要主题",
    "简要总结一下对话内容，用作后续的上下文提示",
    "Use the language used by the user (e.g. en for english conversation*to generate a title",
    "Use the language used by the user (e.g. en-us for english conversation*to summarise the conversation",
    "この文の簡潔なテーマを四から五文字で返してください",
    "対話の内容を簡潔に要約し、後続のコンテキストプロンプトとして使用します",
    "네 글자에서 다섯 글자로 이 문장의 간략한 주제를 반환하세요",
    "대화 내용을 간략히 요약하여 후속 컨텍스트 프롬프트로 사용하세요",
    "Geben Sie ein kurzes Thema in vier bis fünf Wörtern zurück",
    "Fassen Sie den Gesprächsinhalt zusammen, um als Kontextaufforderung",
    "Utilisez quatre à cinq mots pour retourner le sujet succinct de cette phrase",
    "Faites un résumé succinct de la discussion, à utiliser comme prompt de contexte",
    "Devuelve un tema breve de esta frase en cuatro a cinco palabras",
    "Resume brevemente el contenido de la conversación para usar como un prompt de contexto",
    "Riporta il tema di questa frase in modo conciso con quattro o cinque parole",
    "Riassumi brevemente il contenuto della conversazione come prompt di contesto",
    "Por favor, gere um título de quatro a cinco palavras resumindo nossa conversa",
    "Resuma a discussão brevemente em 200 palavras ou menos para usar como um prompt",
    "Укажите краткую тему этого сообщения в четырех-пяти словах",
    "Кратко подведите итоги содержимого беседы для использования в качестве",
)

LOBECHAT = (
    "You are a professional conversation summarizer*title",
    "You're an assistant who's good at extracting key takeaways from conversations and summarizing them",
)

CHERRY_STUDIO = (  # LobeChat's until 2024
    "You are an assistant skilled in conversation*summarize*title",
    "你是一名擅长会话的助理*总结*标题",
)

CHATBOX = (
    "Based on the chat history, give this conversation a name",
    "Based on the chat history, give this conversation a title",
)

HUGGINGCHAT = (
    "You are a chat thread titling assistant",
    "You are a summarization AI. You'll never answer a user's question directly",
)

VERCEL_CHATBOT = ("- you will generate a short title based on the first message a user begins",)

KNOWN = (
    *OPEN_WEBUI,
    *LIBRECHAT,
    *NEXTCHAT,
    *LOBECHAT,
    *CHERRY_STUDIO,
    *CHATBOX,
    *HUGGINGCHAT,
    *VERCEL_CHATBOT,
)
