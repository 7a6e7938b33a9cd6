// The generations of the library @workos-inc/node that are driven here, by the
// names under which package.json installs them, and where they differ. What is the
// same in all is what steps/ checks.
import { readFile } from "node:fs/promises";

const upTo8 = {
  mfa: (workos) => workos.mfa,
  enrollForUser: (workos, options) => workos.userManagement.enrollAuthFactor(options),
  listOfUser: (workos, options) => workos.userManagement.listAuthFactors(options),
  hasVerifyFactor: true,
  readsRequestID: false, // it looks for a property of a Headers object, and finds none
  retries: false,
  lostReplyError: "Error",
  tooManyRequestsError: "RateLimitExceededException",
  listsOnlyTOTP: true,
  sendsSecret: true,
  verifiesBytes: false, // it signs what JSON.stringify makes of a webhook
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
    sendsSecret: false, // it knows no totpSecret
    knowsEvents: false, // of authentication
  },
  "workos-7": upTo8,
  "workos-8": { ...upTo8, hasVerifyFactor: false },
  "workos-10": from9,
  "workos-newest": from9,
};

// load returns a generation with its version and its exports.
export async function load(name) {
  const generation = generations[name];
  if (!generation) {
    throw new Error(`there is no library ${name}; there are ${Object.keys(generations).join(", ")}`);
  }
  const description = await readFile(new URL(`node_modules/${name}/package.json`, import.meta.url), "utf8");
  const { name: library, version } = JSON.parse(description);
  return { ...generation, library, version, exports: await import(name) };
}
