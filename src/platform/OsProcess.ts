/**
 * Who this process is: its number, and the name of its host.
 *
 * The name is asked for when a marker is written and not before: on Deno it takes a permission of
 * its own, which a ledger that is only appended to should not need. Without it the name is empty.
 */
import * as os from "node:os"
import { Layer } from "effect"
import { Process } from "../store/locking/Marker.ts"

const hostname = (): string => {
  try {
    return os.hostname()
  } catch {
    return ""
  }
}

/** `Process` of the running system. */
export const layer: Layer.Layer<Process> = Layer.succeed(Process, {
  pid: process.pid,
  get host() {
    return hostname()
  }
})
