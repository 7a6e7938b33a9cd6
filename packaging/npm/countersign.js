#!/usr/bin/env node
// Starts the program of this platform, which is in a package of its own.
"use strict";

const { spawn } = require("node:child_process");

const name = `@countersign-mfa/${process.platform}-${process.arch}`;
let program;
try {
  program = require.resolve(`${name}/bin/countersign`);
} catch {
  console.error(`countersign: the package ${name} is not installed. There are packages for linux and darwin on x64 and arm64; ` +
    "npm leaves them out with --omit=optional.");
  process.exit(1);
}

const child = spawn(program, process.argv.slice(2), { stdio: "inherit" });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => child.kill(signal)); // ends the program, which then ends this process
}
child.on("error", (error) => {
  console.error(`countersign: ${error.message}`);
  process.exit(1);
});
child.on("exit", (code, signal) => {
  process.exit(code ?? 128 + (require("node:os").constants.signals[signal] ?? 0));
});
