/**
 * Internal: the text in which a signature stands in a row, base64url of RFC 4648 without padding.
 *
 * Reading takes the 64 characters `A-Z a-z 0-9 - _` and nothing else: no `=`, no white space, no
 * `+` or `/`, no single character left over at the end. The bits of the last character that belong
 * to no byte are not looked at, as the original's reader does not, so several texts may say the
 * same bytes; `encode` writes zeros there.
 */

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

/** By character code: the six bits of a character of the alphabet, -1 for any other. */
const sextets = new Int8Array(128).fill(-1)
for (let i = 0; i < ALPHABET.length; i++) sextets[ALPHABET.charCodeAt(i)] = i

/** The one text that is written for these bytes. */
export const encode = (bytes: Uint8Array): string => {
  let text = ""
  let bits = 0
  let bitCount = 0
  for (const byte of bytes) {
    bits = (bits << 8) | byte
    bitCount += 8
    while (bitCount >= 6) {
      bitCount -= 6
      text += ALPHABET.charAt((bits >>> bitCount) & 63)
    }
    bits &= 63
  }
  return bitCount === 0 ? text : text + ALPHABET.charAt((bits << (6 - bitCount)) & 63)
}

/** The bytes that `text` says; undefined where it is no base64url. */
export const decode = (text: string): Uint8Array | undefined => {
  if (text.length % 4 === 1) return undefined
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4))
  let at = 0
  let bits = 0
  let bitCount = 0
  for (let i = 0; i < text.length; i++) {
    const sextet = sextets[text.charCodeAt(i)] ?? -1
    if (sextet < 0) return undefined
    bits = ((bits & 255) << 6) | sextet
    bitCount += 6
    if (bitCount >= 8) {
      bitCount -= 8
      bytes[at++] = (bits >>> bitCount) & 255
    }
  }
  return bytes
}
