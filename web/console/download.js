// Downloads of what the API returns; a refusal is said beside the button.

import { Problem, send } from "./api.js";
import { h } from "./dom.js";

/** Return a button that saves a response as a file. */
export function downloadButton(text, address, name) {
  const problem = h("span", { class: "problem", role: "alert" });
  const button = h("button", { type: "button" }, text);
  button.addEventListener("click", async () => {
    button.disabled = true;
    problem.textContent = "";
    try {
      const response = await send("GET", address, { headers: { Accept: "*/*" } });
      save(await response.blob(), name);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      problem.textContent = `${error.message}.`;
    } finally {
      button.disabled = false;
    }
  });
  return [problem, button];
}

/** Save what the browser has made as a file. */
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
