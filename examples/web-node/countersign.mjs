// Checks the settings when the application starts. Without this, the first sign-in would fail.

// browserModule returns the browser module of Countersign, or ends the program with one line that says what to do.
export async function browserModule(url, key) {
  if (!url || !key) stop("Set COUNTERSIGN_URL and COUNTERSIGN_API_KEY: 'make run' prints both.");
  const { status } = await get(url, "/user_management/users/user_1/auth_factors", { Authorization: "Bearer " + key });
  if (status === 401) stop("Countersign does not accept COUNTERSIGN_API_KEY. Use the key that 'make run' prints.");
  const module = await get(url, "/js/countersign.js");
  if (status !== 200 || module.status !== 200) stop(`Countersign at ${url} answers with status ${status === 200 ? module.status : status}. Correct COUNTERSIGN_URL.`);
  return module.text();
}

async function get(url, path, headers = {}) {
  try {
    return await fetch(new URL(path, url), { headers, signal: AbortSignal.timeout(10_000) });
  } catch {
    stop(`Countersign does not answer at ${url}. Start it with 'make run', or correct COUNTERSIGN_URL.`);
  }
}

function stop(text) {
  console.error(text);
  process.exit(1);
}
