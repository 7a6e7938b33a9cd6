// One-time codes as an authenticator app computes them (RFC 6238). This file shares no
// code with the server, so an error in one cannot hide an error in the other.
import { createHmac } from "node:crypto";

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const period = 30_000; // ms

// codeAt returns the code of the time step that is steps after the current one.
export function codeAt(secret, steps = 0, now = Date.now()) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(now / period) + steps));
  const mac = createHmac("sha1", decode(secret)).update(counter).digest();
  const offset = mac[mac.length - 1] & 0x0f;
  const number = mac.readUInt32BE(offset) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

// wrongFor returns a code that is wrong for the secret at all times near now.
export function wrongFor(secret) {
  const near = new Set([-3, -2, -1, 0, 1, 2, 3].map((steps) => codeAt(secret, steps)));
  return ["000000", "111111", "222222", "333333", "444444", "555555", "666666", "777777"].find((code) => !near.has(code));
}

// otherThan returns a code other than the given one.
export function otherThan(code) {
  return String((Number(code) + 1) % 1_000_000).padStart(6, "0");
}

function decode(base32) {
  const bytes = [];
  let bits = 0;
  let value = 0;
  for (const letter of base32) {
    const digit = alphabet.indexOf(letter);
    if (digit < 0) {
      throw new Error("not base32: " + letter);
    }
    value = (value << 5) | digit;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((value >> bits) & 0xff);
    }
    value &= 0xff;
  }
  return Buffer.from(bytes);
}
