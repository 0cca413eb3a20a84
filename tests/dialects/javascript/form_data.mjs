// Send forms as the package form-data and Node's own FormData write them: node form_data.mjs URL IMAGE.
import { createReadStream, readFileSync } from "node:fs";
import FormData from "form-data";

const [url, image] = process.argv.slice(2);

function submit(path, form) {
  return new Promise((resolve, reject) => {
    form.submit(`${url}${path}`, (error, response) => {
      if (error) return reject(error);
      let text = "";
      response.on("data", (data) => (text += data));
      response.on("end", () => resolve([response.statusCode, JSON.parse(text)]));
    });
  });
}

function lightx2v(append) {
  const form = new FormData();
  form.append("prompt", "a boat");
  form.append("video_duration", 1);
  form.append("infer_steps", 2);
  form.append("width", "128");
  form.append("height", "96");
  append(form);
  return submit("/v1/tasks/video/form", form);
}

const found = {
  // A stream is sent in chunks, with its file's name and type.
  stream: await lightx2v((form) => form.append("image_file", createReadStream(image))),
  // A buffer has no name: the part has only a type, or not even that.
  typed: await lightx2v((form) => form.append("image_file", readFileSync(image), { contentType: "image/jpeg" })),
  named: await lightx2v((form) => form.append("image_file", readFileSync(image), { filepath: "a/b ü.jpg" })),
};

const own = new globalThis.FormData();
own.append("prompt", "a boat");
own.append("size", "128x96");
own.append("image[]", new Blob([readFileSync(image)]));
const response = await fetch(`${url}/v1/images/edits`, { method: "POST", body: own });
found.own = [response.status, (await response.json()).size];
console.log(JSON.stringify(found));
