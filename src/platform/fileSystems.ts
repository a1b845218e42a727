/**
 * Internal: which file system a path lies on, and what a ledger may expect of its kind.
 *
 *   local     fsync, locks and shared memory are the kernel's own
 *   memory    survives no power cut
 *   layered   what lies below decides
 *   network   another machine answers: its locks and its fsync are its word, so it is refused
 *
 * Linux tells the kind by a magic number (linux/magic.h and the file systems' own headers), and
 * name and options of a mount in `/proc/self/mountinfo`. Elsewhere numbers are given out anew at
 * each start or not at all, so there only what a path tells by itself is known.
 */
import * as fs from "node:fs"

/** What may be expected of a kind of file system. */
export type Nature = "local" | "memory" | "layered" | "network" | "unknown"

/** A file system by name. `flushes` is false where a mount option keeps fsync from the drive. */
export interface FileSystemKind {
  readonly name: string
  readonly nature: Nature
  readonly flushes: boolean
}

type Table = { readonly [magic: number]: readonly [name: string, nature: Nature] }

const FUSE = 0x65735546

const byMagic: Table = {
  0xef53: ["ext2/3/4", "local"],
  0x58465342: ["XFS", "local"],
  0x9123683e: ["Btrfs", "local"],
  0xf2f52010: ["F2FS", "local"],
  0x2fc12fc1: ["ZFS", "local"],
  0xca451a4e: ["bcachefs", "local"],
  0x3153464a: ["JFS", "local"],
  0x3434: ["NILFS2", "local"],
  0x24051905: ["UBIFS", "local"],
  0x01021994: ["tmpfs", "memory"],
  0x858458f6: ["ramfs", "memory"],
  0x794c7630: ["overlay", "layered"],
  0xf15f: ["eCryptfs", "layered"],
  0x6969: ["NFS", "network"],
  0x517b: ["SMB", "network"],
  0xff534d42: ["CIFS", "network"],
  0xfe534d42: ["SMB2", "network"],
  0x5346414f: ["AFS (OpenAFS)", "network"],
  0x6b414653: ["AFS", "network"],
  0x00c36400: ["Ceph", "network"],
  0x01021997: ["9p", "network"],
  0x0bd00bd0: ["Lustre", "network"],
  0x7461636f: ["OCFS2", "network"],
  0x01161970: ["GFS2", "network"],
  0x19830326: ["BeeGFS", "network"],
  0x73757245: ["Coda", "network"],
  0x564c: ["NCP", "network"],
  0x47504653: ["GPFS", "network"],
  0xaad7aaea: ["PanFS", "network"],
  0x013111a8: ["IBRIX", "network"],
  0xbacbacbc: ["VMware shared folder", "network"],
  0x786f4256: ["VirtualBox shared folder", "network"],
  0x7c7c6673: ["Parallels shared folder", "network"],
  [FUSE]: ["FUSE", "unknown"]
}

/** FUSE file systems whose bytes lie on another machine, or with a virtual machine's host. */
const networkFuse: ReadonlySet<string> = new Set(
  (
    "sshfs s3fs s3ql mount-s3 gcsfuse goofys blobfuse blobfuse2 rclone glusterfs ceph ceph-fuse " +
    "curlftpfs davfs smbnetfs juicefs weedfs seaweedfs mfs moosefs lizardfs hdfs afuse grpcfuse " +
    "vmhgfs-fuse osxfs"
  )
    .split(" ")
    .map((name) => `fuse.${name}`)
)

/** A mount as `/proc/self/mountinfo` tells it. */
export interface Mount {
  readonly at: string
  readonly type: string
  readonly options: ReadonlyArray<string>
}

const unescaped = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8))
  )

/** The mount that a real path lies on; of two at one place the later one, which hides the other. */
export const mountOf = (mountinfo: string, realPath: string): Mount | undefined => {
  let found: Mount | undefined
  for (const line of mountinfo.split("\n")) {
    const [own = "", rest] = line.split(" - ", 2)
    if (rest === undefined) continue
    const [, , , , at = "", mountOptions = ""] = own.split(" ")
    const [type = "", , superOptions = ""] = rest.split(" ")
    const place = unescaped(at)
    const holds = place === "/" || realPath === place || realPath.startsWith(`${place}/`)
    if (!holds || (found !== undefined && place.length < found.at.length)) continue
    found = { at: place, type, options: `${mountOptions},${superOptions}`.split(",") }
  }
  return found
}

/** The kind that Linux's magic number and mount tell. */
export const kindOf = (magic: bigint, mount: Mount | undefined): FileSystemKind => {
  // The field is signed and as wide as a pointer, so some numbers come out negative.
  const number = Number(BigInt.asUintN(32, magic))
  const flushes = !["nobarrier", "barrier=0"].some((option) => mount?.options.includes(option))
  const known = byMagic[number]
  if (number === FUSE) {
    const name = mount?.type ?? "FUSE"
    return { name, nature: networkFuse.has(name) ? "network" : "unknown", flushes }
  }
  const hex = `type 0x${number.toString(16)}`
  const [name, nature]: readonly [string, Nature] = known ?? [mount?.type ?? hex, "unknown"]
  return { name, nature, flushes }
}

const readText = (path: string): string | undefined => {
  try {
    return fs.readFileSync(path, "utf8")
  } catch {
    // Deno without the permission, or a kernel without it: names are then less exact.
    return undefined
  }
}

/** The kind of file system that an existing real path lies on. */
export const kindAt = (realPath: string, platform: string = process.platform): FileSystemKind => {
  if (platform === "win32" && /^[\\/]{2}[^?.]|^[\\/]{2}\?[\\/]UNC/i.test(realPath)) {
    return { name: "a network share", nature: "network", flushes: true }
  }
  if (platform !== "linux") return { name: "not told here", nature: "unknown", flushes: true }
  const mountinfo = readText("/proc/self/mountinfo")
  const mount = mountinfo === undefined ? undefined : mountOf(mountinfo, realPath)
  return kindOf(fs.statfsSync(realPath, { bigint: true }).type, mount)
}

/** How many bytes this user may still write there. */
export const freeBytesAt = (realPath: string): number => {
  const { bavail, bsize } = fs.statfsSync(realPath, { bigint: true })
  return Math.min(Number(bavail * bsize), Number.MAX_SAFE_INTEGER)
}
