// This script adds to the pages of the console what HTML cannot do: charts, copying, live
// events and times that stay right. The pages also work without it.
(() => {
  "use strict";

  // htmx parses the fragments that the server sends. They come from the templates of the
  // console, which escape all data. If one of them had a script in it nevertheless, this
  // policy would remove it. Trusted Types refuse all other ways from a text to HTML or to a
  // script, and the policy has no other method.
  if (window.trustedTypes) {
    let inside = false;
    window.trustedTypes.createPolicy("default", {
      createHTML(text) {
        if (inside) {
          return text;
        }
        inside = true;
        try {
          const fragment = new DOMParser().parseFromString("<body><template>" + text + "</template></body>", "text/html");
          return clean(fragment.querySelector("template"));
        } finally {
          inside = false;
        }
      },
    });
  }

  // clean removes scripts, handlers and addresses that run scripts, and returns the HTML.
  function clean(template) {
    const walk = (root) => {
      for (const element of root.querySelectorAll("*")) {
        if (/^(script|iframe|object|embed|base|meta|link|style)$/i.test(element.localName)) {
          element.remove();
          continue;
        }
        for (const { name, value } of [...element.attributes]) {
          if (/^(on|hx-on)/i.test(name) || name === "srcdoc" || /^\s*javascript:/i.test(value)) {
            element.removeAttribute(name);
          }
        }
        if (element.content instanceof DocumentFragment) {
          walk(element.content);
        }
      }
    };
    walk(template.content);
    return template.innerHTML;
  }

  const announcements = document.getElementById("announce");

  // Times.

  function relative(seconds) {
    if (seconds < 0) {
      const ahead = -seconds;
      if (ahead < 60) return "in " + Math.ceil(ahead) + " s";
      if (ahead < 3600) return "in " + Math.floor(ahead / 60) + " min";
      if (ahead < 48 * 3600) return "in " + Math.floor(ahead / 3600) + " h";
      return "in " + Math.floor(ahead / 86400) + " days";
    }
    if (seconds < 5) return "just now";
    if (seconds < 60) return Math.floor(seconds) + " s ago";
    if (seconds < 3600) return Math.floor(seconds / 60) + " min ago";
    if (seconds < 48 * 3600) return Math.floor(seconds / 3600) + " h ago";
    return Math.floor(seconds / 86400) + " days ago";
  }

  const here = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

  function showTimes() {
    for (const time of document.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      const ago = time.querySelector(".ago");
      if (ago) {
        const text = relative((Date.now() - at) / 1000);
        if (ago.textContent !== text) {
          ago.textContent = text;
        }
      }
      if (!time.title) {
        time.title = here.format(at);
      }
    }
  }

  // Copying.

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

  // Charts: each is drawn from the table that follows it.

  function color(name) {
    const probe = document.createElement("span");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  const charts = new Map();
  const dayOf = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", day: "numeric", month: "short" });
  const hourOf = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", hour: "2-digit", minute: "2-digit" });

  // axisTime names a time of the axis: the hour, or the day at midnight.
  function axisTime(seconds) {
    const at = new Date(seconds * 1000);
    return (seconds % 86400 === 0 ? dayOf : hourOf).format(at);
  }

  function draw(box) {
    const target = box.querySelector(".chart");
    const table = box.querySelector(".table table");
    if (!target || !table || typeof uPlot === "undefined") {
      return;
    }
    const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
    const rows = [...table.tBodies[0].rows].map((row) => [...row.cells]).reverse();
    const times = rows.map((cells) => new Date(cells[0].querySelector("time").dateTime) / 1000);
    const data = [times, ...names.map((_, i) => rows.map((cells) => Number(cells[i + 1].dataset.value)))];
    if (charts.has(box)) {
      charts.get(box).destroy();
    }
    const axis = { stroke: color("--quiet"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
    charts.set(box, new uPlot({
      width: target.clientWidth,
      height: 208,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      cursor: { y: false, points: { size: 7 } },
      legend: { show: false },
      scales: { y: { range: (_, low, high) => [0, Math.max(high * 1.1, 4)] } },
      series: [{}, ...names.map((label, i) => ({
        label,
        stroke: color("--chart-" + (i + 1)),
        fill: i === 0 ? color("--tint") : undefined,
        width: 2,
        dash: i % 2 ? [6, 4] : undefined, // colors alone do not tell the lines apart
        points: { show: times.length < 3 },
      }))],
      axes: [{ ...axis, size: 34, values: (_, splits) => splits.map(axisTime) }, { ...axis, size: 52, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7, 1e8] }],
    }, data, target));
    target.setAttribute("aria-hidden", "true");
  }

  function drawAll() {
    document.querySelectorAll(".chart-box[data-chart]").forEach(draw);
  }

  // Live events.

  const maxRows = 200;

  function follow(list) {
    const state = document.getElementById("live");
    const say = (text, mode) => {
      state.textContent = text;
      state.className = "live-state " + mode;
    };
    let source = null;
    const start = () => {
      source = new EventSource(list.dataset.live);
      source.addEventListener("open", () => say("Live", "on"));
      source.addEventListener("error", () => say("Connection lost, trying again", "lost"));
      source.addEventListener("entry", (message) => {
        htmx.swap(list, message.data, { swapStyle: "afterbegin" });
        const first = list.firstElementChild;
        first.classList.add("fresh");
        const empty = document.getElementById("empty");
        if (empty) {
          empty.hidden = true;
        }
        list.closest("[data-hidden-while-empty]")?.removeAttribute("hidden");
        while (list.children.length > maxRows) {
          list.lastElementChild.remove();
        }
        announcements.textContent = "New event: " + first.querySelector("[data-announce]").textContent;
        showTimes();
      });
    };
    const button = document.getElementById("pause");
    button.addEventListener("click", () => {
      if (source) {
        source.close();
        source = null;
        say("Paused", "");
        button.textContent = "Continue";
      } else {
        // A page that is loaded again has the events that arrived during the pause.
        location.reload();
      }
    });
    start();
  }

  document.documentElement.classList.add("script");
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (button) {
      copy(button);
    }
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]")) {
      event.target.form.requestSubmit();
    }
  });
  document.addEventListener("htmx:afterSwap", () => {
    showTimes();
    drawAll();
  });
  let resizing = 0;
  addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(drawAll, 150);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  setInterval(showTimes, 10_000);
  showTimes();
  drawAll();
  document.querySelectorAll("[data-live]").forEach(follow);
})();
