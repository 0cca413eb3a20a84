// Call the server with OpenAI's SDK: node openai_sdk.mjs URL IMAGE. Prints one JSON object of what came.
import { createReadStream } from "node:fs";
import OpenAI, { toFile } from "openai";

const [url, image] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const found = {};

const video = await client.videos.create({
  prompt: "a boat",
  seconds: "1",
  size: "128x96",
  input_reference: createReadStream(image),
});
let state = video;
while (state.status === "queued" || state.status === "in_progress") {
  const { data, response } = await client.videos.retrieve(video.id).withResponse();
  state = data;
  const pause = Number(response.headers.get("openai-poll-after-ms") ?? 250);
  if (state.status !== "completed") await new Promise((resolve) => setTimeout(resolve, pause));
}
const content = await client.videos.downloadContent(video.id);
found.video = {
  status: state.status,
  size: state.size,
  kind: Buffer.from(await content.arrayBuffer()).subarray(4, 8).toString(),
};
found.listed = (await client.videos.list({ limit: 1 })).data.map((item) => item.id === video.id);

const drawn = await client.images.generate({ prompt: "a boat", size: "128x96" });
const edited = await client.images.edit({
  prompt: "a boat at night",
  image: await toFile(createReadStream(image), null, { type: "image/jpeg" }),
  size: "128x96",
});
found.images = [drawn, edited].map((answer) =>
  Buffer.from(answer.data[0].b64_json, "base64").subarray(1, 4).toString(),
);

const messages = [{ role: "user", content: "a boat" }];
const completion = await client.chat.completions.create({ model: "small-chat", messages, temperature: 0.7 });
found.completion = completion.choices[0].message.content;
const chunks = [];
const stream = await client.chat.completions.create({
  model: "small-chat",
  messages,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) chunks.push(chunk);
found.streamed = chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join("");
found.usage = chunks.map((chunk) => chunk.usage);

const drawing = {
  model: "gpt-image-1",
  input: "a boat",
  tools: [{ type: "image_generation", size: "128x96" }],
};
const response = await client.responses.create(drawing);
found.response = [response.status, response.output.map((item) => item.type), response.output_text];
found.events = [];
for await (const event of await client.responses.create({ ...drawing, stream: true })) {
  found.events.push(event.type);
}

try {
  await client.chat.completions.create({ model: "none", messages });
} catch (error) {
  found.error = [error.constructor.name, error.status, error.code, error.param];
}
console.log(JSON.stringify(found));
