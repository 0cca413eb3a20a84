// Call the server with the AI SDK: node ai_sdk.mjs URL. Prints one JSON object of what came.
import { createOpenAI } from "@ai-sdk/openai";
import { experimental_generateImage as generateImage, generateText, streamText } from "ai";

const [url] = process.argv.slice(2);
const provider = createOpenAI({ baseURL: `${url}/v1`, apiKey: "none" });
const found = {};

const { image } = await generateImage({ model: provider.image("gpt-image-1"), prompt: "a boat", size: "128x96" });
found.image = Buffer.from(image.uint8Array).subarray(1, 4).toString();

const { text, finishReason } = await generateText({ model: provider.chat("small-chat"), prompt: "a boat" });
found.text = [text, finishReason];

const stream = streamText({ model: provider.chat("small-chat"), prompt: "a boat" });
found.streamed = "";
for await (const part of stream.textStream) found.streamed += part;
found.reason = await stream.finishReason;

// Without .chat() the provider speaks the responses API.
const drawn = await generateText({
  model: provider("gpt-image-1"),
  prompt: "a boat",
  tools: { image_generation: provider.tools.imageGeneration({ size: "1024x1024" }) },
});
const [output] = drawn.staticToolResults ?? drawn.toolResults;
found.drawn = Buffer.from(output.output.result, "base64").subarray(1, 4).toString();

try {
  await generateText({ model: provider.chat("none"), prompt: "a boat", maxRetries: 0 });
} catch (error) {
  found.error = [error.name, error.statusCode, error.message];
}
console.log(JSON.stringify(found));
