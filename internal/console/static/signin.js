// This script uses passkeys: it asks the server for options, passes them to the browser, and
// sends the response back. An element with data-passkey="get" or "create" begins it.
(() => {
  "use strict";

  const problem = document.getElementById("passkey-problem");

  function say(text) {
    problem.textContent = text;
    problem.hidden = text === "";
  }

  async function post(path, body) {
    const response = await fetch(path, {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) {
      throw new Error(answer.error || "The server could not answer (" + response.status + "). Try again.");
    }
    return answer;
  }

  // words describes an error of navigator.credentials.
  function words(error) {
    switch (error.name) {
      case "NotAllowedError":
        return "No passkey was used. Try again, and confirm what your browser asks.";
      case "InvalidStateError":
        return "This device has a passkey for you already.";
      case "SecurityError":
        return "Passkeys do not work at this address. Open the console at the address in its setting console_url.";
      default:
        return error.message;
    }
  }

  // The secret of a one-time link is after the #. It leaves the address bar at once, and is
  // kept in case the page is loaded again.
  let link = "";
  if (document.querySelector("[data-link]")) {
    link = location.hash.slice(1);
    if (link) {
      history.replaceState({ link }, "", location.pathname);
    } else {
      link = history.state?.link ?? "";
    }
    if (!link) {
      say("The link is not complete. Open the whole link that you received.");
    }
  }

  let busy = false;

  async function run(element) {
    if (busy) {
      return;
    }
    busy = true;
    say("");
    try {
      if (!window.PublicKeyCredential?.parseRequestOptionsFromJSON) {
        throw new Error("This browser cannot use passkeys in this page. Use a current version of it, over https.");
      }
      const name = element.elements?.namedItem("name")?.value ?? "";
      const { options } = await post(element.dataset.begin, { link });
      const credential = element.dataset.passkey === "create"
        ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
        : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
      const { to } = await post(element.dataset.finish, { name, response: credential.toJSON(), back: element.dataset.back ?? "" });
      location.assign(new URL(to, location.origin));
    } catch (error) {
      say(words(error));
      busy = false;
    }
  }

  for (const element of document.querySelectorAll("[data-passkey]")) {
    element.addEventListener(element instanceof HTMLFormElement ? "submit" : "click", (event) => {
      event.preventDefault();
      run(element);
    });
  }
})();
