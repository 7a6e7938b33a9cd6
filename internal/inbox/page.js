// This script keeps the page up to date. The page also works without it: then the server
// filters by number, and a reload shows new messages.
(() => {
  "use strict";

  const refreshEvery = 1500; // ms
  const byID = (id) => document.getElementById(id);
  const list = byID("messages");
  const filter = byID("to");
  const announcements = byID("announce");

  let messages = null; // the messages of the last answer, newest first; null before the first answer
  let answer = ""; // the text of that answer
  let timer = 0;
  let fetching = false;

  // The script adds data to the page only as text, never as HTML: clients of the API choose
  // the texts of messages.

  function bubble(message) {
    const item = byID("blank").content.firstElementChild.cloneNode(true);
    const to = item.querySelector(".to");
    to.textContent = message.to;
    to.href = "?to=" + encodeURIComponent(message.to);
    item.querySelector("time").dateTime = message.sent_at;
    item.querySelector(".text").textContent = message.text;
    item.querySelector(".passcode").hidden = message.code === "";
    item.querySelector("code").textContent = message.code;
    item.querySelector("button").setAttribute("aria-label", "Copy code " + message.code);
    return item;
  }

  // Messages have no id. Two messages with the same key also look the same.
  function keyOf(message) {
    return JSON.stringify([message.to, message.sent_at, message.code, message.text]);
  }

  function keyOfItem(item) {
    return keyOf({
      to: item.querySelector(".to").textContent,
      sent_at: item.querySelector("time").getAttribute("datetime"),
      code: item.querySelector("code").textContent,
      text: item.querySelector(".text").textContent,
    });
  }

  // show updates the list to the messages that match the filter. A message that is already
  // in the list keeps its focus, its selection and its position on the screen.
  function show(fresh) {
    const want = filter.value.replace(/[\s().-]/g, "");
    const shown = messages.filter((message) => message.to.includes(want));

    const read = [...list.children].find((item) => item.getBoundingClientRect().bottom > 0);
    const before = read ? read.getBoundingClientRect().top : 0;

    const wanted = new Map();
    for (const message of shown) {
      const key = keyOf(message);
      wanted.set(key, (wanted.get(key) || 0) + 1);
    }
    const kept = new Map();
    for (const item of [...list.children]) {
      const key = keyOfItem(item);
      const left = wanted.get(key) || 0;
      if (left === 0) {
        item.remove();
        continue;
      }
      wanted.set(key, left - 1);
      kept.set(key, [...(kept.get(key) || []), item]);
    }
    let next = list.firstElementChild;
    for (const message of shown) {
      const key = keyOf(message);
      const item = (kept.get(key) || []).shift();
      if (item && item === next) {
        next = next.nextElementSibling;
        continue;
      }
      const made = item || bubble(message);
      made.classList.toggle("fresh", fresh.has(message));
      list.insertBefore(made, next);
    }

    if (read && read.isConnected && window.scrollY > 0) {
      window.scrollBy({ top: read.getBoundingClientRect().top - before, behavior: "instant" });
    }
    byID("count").textContent = shown.length;
    byID("empty").hidden = messages.length > 0;
    byID("none").hidden = messages.length === 0 || shown.length > 0;
    byID("clear").hidden = filter.value === "";
    showTimes();
    announce(shown.filter((message) => fresh.has(message)));
  }

  function announce(fresh) {
    if (fresh.length === 0) {
      return;
    }
    const [newest] = fresh;
    const what = fresh.length === 1 ? "New message" : fresh.length + " new messages, the last";
    announcements.textContent = what + " to " + newest.to + ". Code: " + [...newest.code].join(" ");
  }

  const clock = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

  function showTimes() {
    for (const time of list.querySelectorAll("time")) {
      const sent = new Date(time.dateTime);
      put(time.querySelector(".ago"), ago((Date.now() - sent) / 1000));
      put(time.querySelector(".clock"), clock.format(sent));
    }
  }

  // put changes the text of an element. If the text is the same, it keeps the user's
  // selection in it.
  function put(element, text) {
    if (element.textContent !== text) {
      element.textContent = text;
    }
  }

  function ago(seconds) {
    if (seconds < 5) return "just now";
    if (seconds < 60) return Math.floor(seconds) + " s ago";
    if (seconds < 3600) return Math.floor(seconds / 60) + " min ago";
    if (seconds < 48 * 3600) return Math.floor(seconds / 3600) + " h ago";
    return Math.floor(seconds / 86400) + " days ago";
  }

  // take replaces messages by the messages of a new answer, and marks the new ones.
  function take(text) {
    const got = JSON.parse(text).messages;
    const seen = new Map();
    for (const message of messages || []) {
      const key = keyOf(message);
      seen.set(key, (seen.get(key) || 0) + 1);
    }
    const fresh = new Set();
    for (const message of messages === null ? [] : got) {
      const left = seen.get(keyOf(message)) || 0;
      if (left === 0) {
        fresh.add(message);
      }
      seen.set(keyOf(message), left - 1);
    }
    messages = got;
    answer = text;
    show(fresh);
  }

  async function refresh() {
    clearTimeout(timer);
    if (document.hidden || fetching) {
      return; // visibilitychange calls again
    }
    fetching = true;
    try {
      const reply = await fetch(location.pathname, {
        headers: { Accept: "application/json" },
        cache: "no-store",
        signal: AbortSignal.timeout(5000),
      });
      if (!reply.ok) {
        throw new Error("status " + reply.status);
      }
      const text = await reply.text();
      if (text !== answer) {
        take(text);
      }
      setLive(true);
    } catch {
      setLive(false);
    }
    fetching = false;
    showTimes();
    timer = setTimeout(refresh, refreshEvery);
  }

  function setLive(live) {
    byID("live").classList.toggle("lost", !live);
    put(byID("live"), live ? "Live" : "Server not reachable, trying again");
  }

  async function copy(button) {
    const code = button.closest(".copyable").querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      // Browsers offer the clipboard only to https and localhost. Otherwise select the text
      // and use the old command.
      getSelection().selectAllChildren(code);
      if (!document.execCommand("copy")) {
        return; // the user can copy the selection
      }
      getSelection().removeAllRanges();
    }
    button.textContent = "Copied";
    announcements.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  }

  function filterBy(to) {
    filter.value = to;
    history.replaceState(null, "", to === "" ? location.pathname : "?to=" + encodeURIComponent(to));
    if (messages !== null) {
      show(new Set());
    }
  }

  document.documentElement.classList.add("script");
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (button) {
      copy(button);
    }
  });
  filter.addEventListener("input", () => filterBy(filter.value));
  byID("filter").addEventListener("submit", (event) => event.preventDefault());
  byID("clear").addEventListener("click", (event) => {
    event.preventDefault();
    filterBy("");
    filter.focus();
  });
  document.addEventListener("visibilitychange", refresh);
  refresh();
})();
