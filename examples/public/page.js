// What the pages do with JavaScript. Without it, everything but passkeys works.
import { authenticate, codeInput, forget, register, supported } from "/countersign.js";

const notice = document.getElementById("notice");
const texts = {
  cancelled: "No passkey was used. Try again, or use another way.",
  already_registered: "This device has a passkey for your account already.",
  unsupported: "This browser or device cannot do that. Use another way.",
};

const code = document.getElementById("code");
if (code) {
  const other = document.getElementById("other") ?? undefined; // brings the keyboard with letters
  if (other) other.hidden = false;
  codeInput(code, { sms: code.dataset.type === "sms", other });
}

if (notice.dataset.signal) forget(JSON.parse(notice.dataset.signal));

for (const element of document.querySelectorAll("[data-needs-passkeys]")) element.hidden = !supported;

for (const form of document.querySelectorAll("[data-passkey]")) {
  document.getElementById("no-script").hidden = true;
  const button = form.querySelector("button");
  button.disabled = !supported;
  if (!supported) notice.textContent = texts.unsupported;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    notice.textContent = "";
    try {
      const ceremony = form.dataset.passkey === "register" ? register : authenticate;
      ({ code: form.elements.code.value } = await ceremony(form.dataset.options));
      form.submit(); // without another event
    } catch (error) {
      notice.textContent = texts[error.kind] ?? "That did not work. Try again.";
    }
    button.disabled = false;
  });
}
