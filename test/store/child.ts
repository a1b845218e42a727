/**
 * A process of its own for the tests of a ledger: says one line of JSON on standard output.
 *
 *   hold DIR            open the ledger, say how, hold it until the input ends
 *   append DIR UMASK    with that umask, make the ledger, append two segments, cut a torn tail
 *   read FILE BYTES     verify the file, lines of BYTES at most, say how much memory that took
 *   as-nobody DIR       open the ledger as the user nobody, say how, try to append
 */
import * as fs from "node:fs"
import { Effect, Exit } from "effect"
import * as SealogNode from "../../src/platform/SealogNode.ts"
import * as LedgerModule from "../../src/store/Ledger.ts"
import { Ledger } from "../../src/store/Ledger.ts"

const [command = "", target = "", extra = ""] = process.argv.slice(2)

const say = (value: unknown) => Effect.sync(() => console.log(JSON.stringify(value)))

const inputEnd = Effect.callback<void>((resume) => {
  process.stdin.once("end", () => resume(Effect.void)).resume()
})

const open = { directory: target, segmentBytesMax: 600 }

const draft = (text: string) => ({ type: "a.v1", payload: text })

const hold = Effect.gen(function* () {
  const ledger = yield* Ledger
  const receipt = yield* ledger.append(draft("held"))
  yield* say({ opened: ledger.opened._tag, seq: receipt.seq })
  yield* inputEnd
}).pipe(Effect.provide(SealogNode.layer(open)))

const append = Effect.gen(function* () {
  process.umask(Number.parseInt(extra, 8))
  const session = Effect.gen(function* () {
    const ledger = yield* Ledger
    yield* ledger.append(draft("one"))
    yield* ledger.append(draft("two"))
    return ledger.opened._tag
  }).pipe(Effect.provide(SealogNode.layer(open)))
  yield* session
  fs.appendFileSync(`${target}/segments/0000000000000002.jsonl`, '{"id":', { mode: 0o600 })
  yield* say(yield* session)
})

const read = Effect.gen(function* () {
  const before = process.memoryUsage().rss
  let peak = before
  const timer = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage().rss)
  }, 20)
  const lineBytesMax = extra === "" ? undefined : Number(extra)
  const report = yield* LedgerModule.verify({ file: target }, { lineBytesMax, failuresMax: 3 })
  clearInterval(timer)
  peak = Math.max(peak, process.memoryUsage().rss)
  const kinds = report._tag === "Damaged" ? report.failures.map(({ reason }) => reason.kind) : []
  yield* say({ tag: report._tag, rows: report.rows, kinds, grownBytes: peak - before })
}).pipe(Effect.provide(SealogNode.layerPlatform))

const asNobody = Effect.gen(function* () {
  process.setgid?.(65534)
  process.setuid?.(65534)
  const opened = yield* Effect.exit(
    Effect.gen(function* () {
      const ledger = yield* Ledger
      const appended = yield* Effect.result(ledger.append(draft("nobody")))
      const report = yield* ledger.verify()
      return { opened: ledger.opened._tag, append: appended, verify: report._tag }
    }).pipe(Effect.provide(SealogNode.layer({ directory: target })))
  )
  yield* say(Exit.isSuccess(opened) ? opened.value : String(opened.cause))
})

const commands: { readonly [name: string]: Effect.Effect<void, unknown> } = {
  hold,
  append,
  read,
  "as-nobody": asNobody
}

await Effect.runPromise(
  (commands[command] ?? Effect.void).pipe(
    Effect.catch((error) => say({ error: String(error), tag: Reflect.get(Object(error), "_tag") }))
  )
)
