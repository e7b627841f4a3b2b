// Saves the document in the editor, unless somebody else has saved it since it was read.
"use strict";
const editor = document.getElementById("editor");
const outcome = document.getElementById("outcome");
const token = new URLSearchParams(location.search).get("token");

async function ask(method, body) {
  const headers = { "Content-Type": "application/json" };
  if (token) headers["X-Consul-Token"] = token;
  const answer = await fetch(editor.dataset.api, { method, headers, body });
  if (!answer.ok) throw new Error(answer.status + " " + (await answer.text()));
  return answer;
}

if (editor) {
  editor.addEventListener("submit", async (event) => {
    event.preventDefault();
    outcome.textContent = "saving";
    try {
      const value = editor.elements.value.value;
      await ask("PUT", JSON.stringify({ value, version: editor.dataset.version }));
      editor.dataset.version = (await (await ask("GET")).json()).version;
      outcome.textContent = "saved";
    } catch (error) {
      outcome.textContent = String(error.message || error);
    }
  });
}
