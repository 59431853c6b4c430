// The API operations that need the token: data sets, trainings, models.
import { Problem } from "./api.js";
import { readEvents } from "./sse.js";
import { sendAsAdmin, withToken } from "./token.js";

const get = async (url) => (await sendAsAdmin(url)).json();
const post = async (url, body) =>
  (
    await sendAsAdmin(url, {
      method: "POST",
      ...(body && { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
    })
  ).json();
const remove = (url) => sendAsAdmin(url, { method: "DELETE" });

export const listDataSets = async () => (await get("/api/datasets")).datasets;
export const getDataSet = (id) => get(`/api/datasets/${id}`);
export const addFolder = (folder) => post("/api/datasets", { folder });
export const addCorrections = () => post("/api/datasets", { corrections: true });
export const deleteDataSet = (id) => remove(`/api/datasets/${id}`);

export const listTrainings = async () => (await get("/api/trainings")).trainings;
export const getTraining = (id) => get(`/api/trainings/${id}`);
export const startTraining = (body) => post("/api/trainings", body);
export const cancelTraining = (id) => post(`/api/trainings/${id}/cancel`);
export const resumeTraining = (id) => post(`/api/trainings/${id}/resume`);
export const deleteTraining = (id) => remove(`/api/trainings/${id}`);
export const getLog = async (id) => (await sendAsAdmin(`/api/trainings/${id}/log`)).text();

export const listModels = async () => (await get("/api/models")).models;
export const getComparison = (version) => get(`/api/models/${version}/comparison`);
export const promote = (version) => post(`/api/models/${version}/promote`);
export const rollBack = () => post("/api/models/rollback");
export const rollBackTranslator = (language) =>
  sendAsAdmin(`/api/models/rollback?${new URLSearchParams({ language })}`, { method: "POST" });
export const deleteModel = (version) => remove(`/api/models/${version}`);
export const downloadModel = async (version) => (await sendAsAdmin(`/api/models/${version}/bundle.zip`)).blob();

/** Follow a training until it ends. onChange(document). */
export async function followTraining(id, onChange) {
  const response = await sendAsAdmin(`/api/trainings/${id}/events`);
  for await (const { event, data } of readEvents(response.body)) {
    if (event === "training") onChange(data);
  }
}

/** Upload a zip. onSent(fraction): progress, which fetch does not report. query: options by name. */
export const sendZip = (url, file, onSent, query = {}, signal = null) =>
  withToken(
    (headers) =>
      new Promise((resolve, reject) => {
        const request = new XMLHttpRequest();
        request.open("POST", `${url}?${new URLSearchParams({ name: nameOf(file), ...query })}`);
        for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
        request.setRequestHeader("Content-Type", "application/zip");
        request.upload.addEventListener("progress", (event) => onSent(event.loaded / event.total));
        request.addEventListener("load", () => {
          const answer = parseJson(request.responseText);
          if (request.status < 300) resolve(answer);
          else reject(new Problem(request.status, answer?.detail ?? `The service answered with ${request.status}.`));
        });
        const message = "The connection was lost during the upload. Nothing was stored: send it again.";
        request.addEventListener("error", () => reject(new Problem(0, message)));
        request.addEventListener("abort", () => reject(signal.reason));
        signal?.addEventListener("abort", () => request.abort());
        request.send(file);
      }),
  );

function nameOf(file) {
  return file.name.replace(/\.zip$/i, "").replace(/[/\\]/g, " ").trim().slice(0, 60) || "upload";
}

function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const pictures = new Map(); // URL -> promise of its object URL

/** Show a picture that needs the token. */
export async function showPicture(image, url) {
  if (!pictures.has(url)) pictures.set(url, sendAsAdmin(url).then((answer) => answer.blob()).then(URL.createObjectURL));
  try {
    image.src = await pictures.get(url);
  } catch {
    pictures.delete(url); // the picture is optional
  }
}
