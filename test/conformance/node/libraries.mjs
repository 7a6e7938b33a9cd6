// The tested generations of the library @workos-inc/node, by the names under which
// package.json installs them, and their differences. steps/ checks the common behavior.
import { readFile } from "node:fs/promises";

const upTo8 = {
  mfa: (workos) => workos.mfa,
  enrollForUser: (workos, options) => workos.userManagement.enrollAuthFactor(options),
  listOfUser: (workos, options) => workos.userManagement.listAuthFactors(options),
  hasVerifyFactor: true,
  readsRequestID: false, // it reads a property of a Headers object that does not exist
  retries: false,
  lostReplyError: "Error",
  tooManyRequestsError: "RateLimitExceededException",
  listsOnlyTOTP: true,
  sendsSecret: true,
  verifiesBytes: false, // it checks the signature over the output of JSON.stringify
  knowsEvents: true,
};

const from9 = {
  mfa: (workos) => workos.multiFactorAuth,
  enrollForUser: (workos, options) => workos.multiFactorAuth.createUserAuthFactor(options),
  listOfUser: (workos, options) => workos.multiFactorAuth.listUserAuthFactors(options),
  hasVerifyFactor: false,
  readsRequestID: true,
  retries: true,
  lostReplyError: null, // it tries again
  tooManyRequestsError: "RateLimitExceededException",
  listsOnlyTOTP: false,
  sendsSecret: true,
  verifiesBytes: true,
  knowsEvents: true,
};

const generations = {
  "workos-oldest": {
    ...upTo8,
    readsRequestID: true,
    lostReplyError: "TypeError",
    tooManyRequestsError: "GenericServerException",
    sendsSecret: false, // it has no option totpSecret
    knowsEvents: false, // events of authentication
  },
  "workos-7": upTo8,
  "workos-8": { ...upTo8, hasVerifyFactor: false },
  "workos-10": from9,
  "workos-newest": from9,
};

// load returns a generation of the library, with its version and exports.
export async function load(name) {
  const generation = generations[name];
  if (!generation) {
    throw new Error(`there is no library ${name}; there are ${Object.keys(generations).join(", ")}`);
  }
  const description = await readFile(new URL(`node_modules/${name}/package.json`, import.meta.url), "utf8");
  const { name: library, version } = JSON.parse(description);
  return { ...generation, library, version, exports: await import(name) };
}
