// Writes the results of a run as lines of JSON on standard output:
//
//   {"library", "version", "step", "ok", "detail"}   the result of a step
//   {"secrets": [...]}                               values that no log may contain
//
// A step that does not apply has "skipped": true and gives the reason in its detail. A
// step that received a picture of a QR code adds it as "qr_code", a data URI, and the
// text that the code must contain as "text".

// A Skip says that a step does not apply, and gives the reason.
export class Skip extends Error {}

export class Report {
  #library;
  #version;
  #failed = 0;

  constructor(library, version) {
    this.#library = library;
    this.#version = version;
  }

  // step calls run and reports the result. run returns the detail of its success, or an
  // object with the detail and further keys of the line, or nothing. A failure does not
  // end the program: later steps give more information.
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

  // secrets reports values that went through the server and that no log may contain.
  secrets(...values) {
    print({ secrets: values });
  }

  // end makes the run fail if a step failed.
  end() {
    process.exitCode = this.#failed > 0 ? 1 : 0;
  }
}

function print(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

// explain describes an error: the stack contains the message and the place, and the rest
// shows the properties that a library added to the error.
function explain(error) {
  if (!(error instanceof Error)) {
    return "threw " + JSON.stringify(error);
  }
  const cause = error.cause === undefined ? "" : "\ncaused by " + explain(error.cause);
  return error.stack + "\n" + JSON.stringify(error) + cause;
}
