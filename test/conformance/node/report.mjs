// What a run found, as lines of JSON on standard output:
//
//   {"library", "version", "step", "ok", "detail"}   the outcome of a step
//   {"secrets": [...]}                               values that no log may hold
//
// A step that does not apply has "skipped": true and says why in its detail. One
// that was given a picture of a QR code adds it as "qr_code", a data URI, with
// what it must say as "text".

// A Skip says that a step does not apply, and why.
export class Skip extends Error {}

export class Report {
  #library;
  #version;
  #failed = 0;

  constructor(library, version) {
    this.#library = library;
    this.#version = version;
  }

  // step runs run and reports how it ended. run returns the detail of its success,
  // or an object with that and more for the line, or nothing. A failure does not
  // end the run: later steps tell more.
  async step(name, run) {
    const outcome = { library: this.#library, version: this.#version, step: name, ok: true, detail: "" };
    try {
      const said = await run();
      Object.assign(outcome, typeof said === "string" ? { detail: said } : said);
    } catch (error) {
      if (error instanceof Skip) {
        Object.assign(outcome, { skipped: true, detail: error.message });
      } else {
        this.#failed++;
        Object.assign(outcome, { ok: false, detail: explain(error) });
      }
    }
    print(outcome);
  }

  // secrets makes values known that went through the server.
  secrets(...values) {
    print({ secrets: values });
  }

  // end makes the run fail if a step has.
  end() {
    process.exitCode = this.#failed > 0 ? 1 : 0;
  }
}

function print(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

// explain says what was thrown: the stack has the message and the place, and the
// rest is what a library put into the error.
function explain(error) {
  if (!(error instanceof Error)) {
    return "threw " + JSON.stringify(error);
  }
  const cause = error.cause === undefined ? "" : "\ncaused by " + explain(error.cause);
  return error.stack + "\n" + JSON.stringify(error) + cause;
}
