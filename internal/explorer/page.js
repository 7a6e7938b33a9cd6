// This script sends the requests. Without it, the page shows commands for a terminal.
(() => {
  "use strict";

{{template "copy.js"}}
  const quote = (text) => "'" + text.replaceAll("'", "'\\''") + "'";

  // request returns what a form asks for. An empty parameter is left out, but one of the path
  // has its example, so the command is never without it.
  function request(form) {
    const { method, path, key } = form.dataset;
    const query = new URLSearchParams();
    const headers = new Headers();
    let target = path;
    for (const input of form.querySelectorAll("input[data-in]")) {
      if (input.dataset.in === "path") {
        target = target.replace(`{${input.name}}`, encodeURIComponent(input.value || input.placeholder));
      } else if (input.value !== "") {
        input.dataset.in === "query" ? query.append(input.name, input.value) : headers.set(input.name, input.value);
      }
    }
    if (query.size > 0) {
      target += "?" + query;
    }
    const body = form.querySelector("textarea.body")?.value.trim();
    if (body) {
      headers.set("Content-Type", "application/json");
    }
    return { method, target, headers, body, key };
  }

  // command returns the request as a command. The key stays in a variable, so a command can be
  // shown to others.
  function command({ method, target, headers, body, key }) {
    const lines = [(method === "GET" ? "curl " : `curl -X ${method} `) + quote(location.origin + target)];
    if (key) {
      lines.push(`-H "Authorization: Bearer $${key === "api" ? "COUNTERSIGN_API_KEY" : "COUNTERSIGN_OPERATOR_KEY"}"`);
    }
    headers.forEach((value, name) => lines.push("-H " + quote(`${name}: ${value}`)));
    if (body) {
      lines.push("-d " + quote(body));
    }
    return lines.join(" \\\n  ");
  }

  const show = (form) => (form.querySelector(".curl").textContent = command(request(form)));

  // remember puts the ids of a reply into the empty inputs of other requests whose example is an
  // id of the same kind: a challenge follows an enrollment, and a verification a challenge.
  function remember(text) {
    const newest = new Map();
    for (const [id, kind] of text.matchAll(/\b([a-z]+(?:_[a-z]+)*)_[0-9A-Za-z]{16,}\b/g)) {
      if (!kind.startsWith("sk_") && !newest.has(kind)) {
        newest.set(kind, id);
      }
    }
    for (const input of document.querySelectorAll('input[data-in="path"]')) {
      const kind = input.placeholder.replace(/_[0-9A-Za-z]{16,}$/, "");
      if (newest.has(kind) && input.placeholder !== kind) {
        input.value = newest.get(kind);
        show(input.form);
      }
    }
  }

  const pretty = (text) => {
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  };

  async function send(form) {
    const [reply, stop, button] = [".reply", ".stop", ".send"].map((name) => form.querySelector(name));
    const [status, list, content] = [".status", ".headers", ".content"].map((name) => reply.querySelector(name));
    const finish = (text, bad) => {
      status.textContent = text;
      status.classList.toggle("bad", bad);
      announce(text);
    };
    const abort = new AbortController();
    stop.onclick = () => abort.abort();
    stop.hidden = false;
    button.disabled = true;
    reply.hidden = false;
    status.textContent = "Waiting for the reply";
    status.classList.remove("bad");
    list.textContent = content.textContent = "";
    const start = performance.now();
    try {
      const { method, target, headers, body, key } = request(form); // an error for a character that a header cannot have
      if (key) {
        headers.set("Authorization", "Bearer " + document.getElementById("key-" + key).value.trim());
      }
      const answer = await fetch(target, { method, headers, body: body || undefined, signal: abort.signal, cache: "no-store", redirect: "manual" });
      finish(`${answer.status} ${answer.statusText}, after ${Math.round(performance.now() - start)} ms`, !answer.ok);
      list.textContent = Array.from(answer.headers, ([name, value]) => `${name}: ${value}`).join("\n");
      let text = "";
      if (answer.body) {
        // A stream of events has no end, so its parts are shown as they arrive.
        for await (const part of chunks(answer.body)) {
          text += part;
          content.textContent = text;
        }
      }
      content.textContent = pretty(text) || "(no body)";
      if (answer.ok && form.dataset.method === "POST") {
        remember(text);
      }
    } catch (error) {
      if (error.name !== "AbortError") {
        finish("No reply: " + error.message, true);
      }
    } finally {
      stop.hidden = true;
      button.disabled = false;
    }
  }

  async function* chunks(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      yield value;
    }
  }

  // find shows only the requests that have all words.
  function find(text) {
    const words = text.toLowerCase().split(/\s+/);
    let found = 0;
    for (const group of document.querySelectorAll(".group")) {
      let any = false;
      for (const operation of group.querySelectorAll(".operation")) {
        const summary = operation.querySelector("summary").textContent.toLowerCase();
        operation.hidden = !words.every((word) => summary.includes(word));
        found += !operation.hidden;
        any ||= !operation.hidden;
      }
      group.hidden = !any;
    }
    announce(text === "" ? "" : `${found} requests`);
  }

  document.addEventListener("input", ({ target }) => {
    if (target.id === "search") {
      find(target.value);
      return;
    }
    if (target.matches("select.example")) {
      target.form.querySelector("textarea.body").value = target.value;
    }
    if (target.form) {
      show(target.form);
    }
  });
  document.addEventListener("submit", (event) => {
    event.preventDefault();
    send(event.target);
  });
  document.querySelectorAll(".operation form").forEach(show);

  // A link to a request opens it.
  const open = () => {
    const operation = document.getElementById(location.hash.slice(1));
    if (operation?.matches("details")) {
      operation.open = true;
    }
  };
  addEventListener("hashchange", open);
  open();
})();
