// CRC-32C, the Castagnoli polynomial of iSCSI and ext4 (RFC 3720, appendix B.4): reflected
// polynomial 82F63B78, initial value and final XOR FFFFFFFF. In a row it stands as eight
// upper-case hex digits; changing either would make every stored row look damaged. It finds
// accidents only: anyone can compute a matching one.

/** The checksum of `bytes` from `start` up to, not including, `end`: 0 to 2^32 - 1. */
export const of = (bytes: Uint8Array, start = 0, end = bytes.length): number => {
  if (!(start >= 0 && start <= end && end <= bytes.length)) {
    throw new RangeError(`no such range: ${start} to ${end} of ${bytes.length} bytes`)
  }
  let crc = -1
  let at = start
  for (; at + 8 <= end; at += 8) {
    const low =
      crc ^
      (byte(bytes, at) |
        (byte(bytes, at + 1) << 8) |
        (byte(bytes, at + 2) << 16) |
        (byte(bytes, at + 3) << 24))
    crc =
      entry(7, low & 255) ^
      entry(6, (low >>> 8) & 255) ^
      entry(5, (low >>> 16) & 255) ^
      entry(4, low >>> 24) ^
      entry(3, byte(bytes, at + 4)) ^
      entry(2, byte(bytes, at + 5)) ^
      entry(1, byte(bytes, at + 6)) ^
      entry(0, byte(bytes, at + 7))
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ entry(0, (crc ^ byte(bytes, at)) & 255)
  return ~crc >>> 0
}

/** Eight upper-case hex digits. */
export const hex8 = (crc: number): string => crc.toString(16).toUpperCase().padStart(8, "0")

const POLYNOMIAL_REFLECTED = 0x82f63b78

// Slicing-by-8: tables[256 k + b] is what byte b does to the checksum once k more bytes follow,
// so that eight bytes are eight independent look-ups instead of a chain of eight.
const tables = new Int32Array(8 * 256)
for (let i = 0; i < 256; i++) {
  let crc = i
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL_REFLECTED : crc >>> 1
  tables[i] = crc
}
for (let i = 256; i < tables.length; i++) {
  const crc = entry(0, i - 256)
  tables[i] = (crc >>> 8) ^ entry(0, crc & 255)
}

// Both are only asked for what is there; the engine drops the zero and the call.
function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0
}
function entry(table: number, index: number): number {
  return tables[table * 256 + index] ?? 0
}
