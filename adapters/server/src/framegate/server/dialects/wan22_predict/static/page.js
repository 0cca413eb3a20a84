"use strict";

const $ = (id) => document.getElementById(id);
const KEY = "framegate-api-key";
const LABELS = {
  prompt: "Prompt",
  negative_prompt: "Negative prompt",
  width: "Width",
  height: "Height",
  num_frames: "Frames",
  num_inference_steps: "Steps",
  guidance_scale: "Guidance",
  fps: "Frames per second",
  seed: "Seed",
  image_url: "Picture",
  image_base64: "Picture",
};
const NUMBERS = ["width", "height", "num_frames", "num_inference_steps", "guidance_scale", "fps"];

let pictureUrl = null;
let videoUrl = null;
let running = null;

function show(...ids) {
  for (const id of ["empty", "working", "error", "done"]) $(id).hidden = !ids.includes(id);
}

function showErrors(messages) {
  $("error_list").replaceChildren(
    ...messages.map((message) => {
      const item = document.createElement("li");
      item.textContent = message;
      return item;
    }),
  );
  show("error");
}

function showPicture(address) {
  $("preview_box").hidden = !address;
  if (address) $("preview").src = address;
  else $("preview").removeAttribute("src");
}

function forgetFile() {
  $("image_file").value = "";
  if (pictureUrl) URL.revokeObjectURL(pictureUrl);
  pictureUrl = null;
}

$("image_file").addEventListener("change", () => {
  const [file] = $("image_file").files;
  if (pictureUrl) URL.revokeObjectURL(pictureUrl);
  pictureUrl = file ? URL.createObjectURL(file) : null;
  if (file) $("image_url").value = "";
  showPicture(pictureUrl);
});

$("image_url").addEventListener("change", () => {
  const address = $("image_url").value.trim();
  if (address) forgetFile();
  showPicture(/^https?:\/\//i.test(address) ? address : pictureUrl);
});

$("image_clear").addEventListener("click", () => {
  forgetFile();
  $("image_url").value = "";
  showPicture(null);
});

$("preview").addEventListener("error", () => { $("preview_box").hidden = true; });

function showLength() {
  const seconds = Number($("num_frames").value) / Number($("fps").value);
  $("length").textContent = Number.isFinite(seconds) ? `${seconds.toFixed(1)} s of video` : "";
}
for (const id of ["num_frames", "fps"]) $(id).addEventListener("input", showLength);
showLength();

try {
  $("api_key").value = sessionStorage.getItem(KEY) ?? "";
} catch { /* storage may be switched off */ }
$("api_key").addEventListener("input", () => {
  try {
    sessionStorage.setItem(KEY, $("api_key").value);
  } catch { /* as above */ }
});

function asDataUri(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error("The picture can't be read."));
    reader.readAsDataURL(file);
  });
}

/** The request as the form has it, or null where a field is wrong (it is marked and focused). */
async function requestBody() {
  const fields = [...$("form").elements].filter((field) => field.willValidate);
  for (const field of fields) field.setAttribute("aria-invalid", String(!field.validity.valid));
  const wrong = fields.filter((field) => !field.validity.valid);
  if (wrong.length) {
    showErrors(wrong.map((field) => `${LABELS[field.id] ?? field.id}: ${field.validationMessage}`));
    wrong[0].focus();
    return null;
  }
  const body = { prompt: $("prompt").value };
  const negative = $("negative_prompt").value.trim();
  if (negative) body.negative_prompt = negative;
  for (const name of NUMBERS) body[name] = Number($(name).value);
  body.seed = $("seed").value === "" ? null : Number($("seed").value);
  const [file] = $("image_file").files;
  const address = $("image_url").value.trim();
  if (file) body.image_base64 = await asDataUri(file);
  else if (address) body.image_url = address;
  return body;
}

function startClock() {
  const started = performance.now();
  const seconds = () => Math.floor((performance.now() - started) / 1000);
  const tick = () => {
    const now = seconds();
    $("clock").textContent = `${Math.floor(now / 60)}:${String(now % 60).padStart(2, "0")}`;
  };
  tick();
  const timer = setInterval(tick, 250);
  return { stop: () => clearInterval(timer), seconds };
}

async function messagesOf(response) {
  try {
    const body = await response.json();
    if (Array.isArray(body.errors) && body.errors.length) {
      return body.errors.map((error) => (error.field ? `${LABELS[error.field] ?? error.field}: ${error.message}` : error.message));
    }
    if (body.error) return [body.error];
  } catch { /* no JSON: the status has to do */ }
  return [`The server answered ${response.status} ${response.statusText}.`];
}

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index += 1) bytes[index] = text.charCodeAt(index);
  return bytes;
}

function showVideo(answer, seconds) {
  if (videoUrl) URL.revokeObjectURL(videoUrl);
  videoUrl = URL.createObjectURL(new Blob([bytesOf(answer.video_base64)], { type: "video/mp4" }));
  $("video").src = videoUrl;
  $("download").href = videoUrl;
  $("download").download = `wan22-${answer.details.seed}.mp4`;
  $("took").textContent = `made in ${seconds} s`;
  $("details").replaceChildren(
    ...Object.entries(answer.details).filter(([, value]) => value !== "").flatMap(([name, value]) => {
      const term = document.createElement("dt");
      const text = document.createElement("dd");
      term.textContent = LABELS[name] ?? name;
      text.textContent = String(value);
      return [term, text];
    }),
  );
  show("done");
  $("video").play().catch(() => { /* the browser wants a click first */ });
}

$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (running) return;
  running = new AbortController();
  $("generate").disabled = true;
  let clock = null;
  try {
    const body = await requestBody();
    if (!body) return;
    show("working");
    $("cancel").hidden = false;
    clock = startClock();
    const headers = { "Content-Type": "application/json" };
    const key = $("api_key").value.trim();
    if (key) headers.Authorization = `Bearer ${key}`;
    const response = await fetch("predict", {
      method: "POST",
      headers,
      body: JSON.stringify(body),
      signal: running.signal,
    });
    if (response.ok) showVideo(await response.json(), clock.seconds());
    else showErrors(await messagesOf(response));
  } catch (error) {
    if (error.name === "AbortError") show("empty");
    else showErrors([error instanceof TypeError ? "The server can't be reached." : error.message]);
  } finally {
    clock?.stop();
    running = null;
    $("generate").disabled = false;
    $("cancel").hidden = true;
  }
});

$("cancel").addEventListener("click", () => running?.abort());
